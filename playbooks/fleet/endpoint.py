"""Read ssh's settings for a host. A setting that Slipway cannot follow is a problem; it is never ignored."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from playbooks.core.surroundings import account_name, at_home, local_host, local_user, ssh_home
from playbooks.fleet.hostkeys import known_as

# The output of `ssh -G`: the values of each keyword, in small letters.
SshAnswer = Mapping[str, tuple[str, ...]]

# Slipway uses these settings.
_USED = """
    host hostname port user hostkeyalias userknownhostsfile globalknownhostsfile identityfile certificatefile
    identitiesonly identityagent pubkeyauthentication passwordauthentication kbdinteractiveauthentication
    preferredauthentications proxycommand proxyjump addressfamily bindaddress compression requiredrsasize ciphers
    macs kexalgorithms hostkeyalgorithms pubkeyacceptedalgorithms
"""
USED = frozenset(_USED.split())
# These settings change neither the host nor the connection, or Slipway is stricter: it always checks host keys
# (StrictHostKeyChecking, CheckHostIP, VerifyHostKeyDNS, host certificates), never forwards the agent, opens no
# terminal, and has its own settings for keepalive and timeouts.
_HARMLESS = """
    addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots
    canonicalizepermittedcnames casignaturealgorithms challengeresponseauthentication checkhostip
    clearallforwardings connectionattempts connecttimeout controlmaster controlpath controlpersist dynamicforward
    enableescapecommandline enablesshkeysign escapechar exitonforwardfailure fingerprinthash
    forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports
    gssapiauthentication gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange
    gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hashknownhosts hostbasedacceptedalgorithms
    hostbasedauthentication ignoreunknown ipqos localcommand localforward loglevel logverbose
    nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming permitlocalcommand
    permitremoteopen rekeylimit remotecommand remoteforward requesttty securitykeyprovider sendenv
    serveralivecountmax serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink
    stricthostkeychecking syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys usekeychain
    verifyhostkeydns visualhostkey warnweakcrypto xauthlocation
"""
HARMLESS = frozenset(_HARMLESS.split())
# ssh's keywords and paramiko's names for them.
ALGORITHMS = {
    "ciphers": "ciphers",
    "macs": "macs",
    "kexalgorithms": "kex",
    "hostkeyalgorithms": "keys",
    "pubkeyacceptedalgorithms": "pubkeys",
}
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_NO = ("no", "false")


@dataclass(frozen=True)
class Endpoint:
    """The destination that ssh would connect to for a host of the inventory, and how.

    Args:
        hostname, port, user: the destination and the login user.
        known_as: the name under which its keys are recorded.
        known_hosts: the files of host keys.
        keys: the files of private keys and certificates to try, in this order.
        agent: the agent's socket; None asks no agent.
        only_keys: try only those of the agent's keys that are also in the files.
        pubkey, password: whether these ways to log in are allowed.
        compress: whether to compress the connection.
        family: an address family of `socket`.
        bind: the local address to connect from.
        algorithms: the allowed algorithms by paramiko's kinds ("ciphers", "kex", …); a missing kind is not limited.
        rsa_bits: the minimum length of an RSA host key.
        command: the ProxyCommand, for a shell.
        jump: the jump host.
    """

    hostname: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    agent: str | None = None
    only_keys: bool = False
    pubkey: bool = True
    password: bool = True
    compress: bool = False
    family: int = socket.AF_UNSPEC
    bind: str | None = None
    algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rsa_bits: int = 0
    command: str | None = None
    jump: Endpoint | None = None

    def __str__(self) -> str:
        """Return user@host:port, as a person types it."""
        return f"{self.user}@{self.hostname}:{self.port}"

    def by_way_of(self, jump: Endpoint) -> Endpoint:
        """Return the same endpoint, through a jump host."""
        return replace(self, jump=jump)


def judge(answer: SshAnswer, defaults: SshAnswer, destination: str) -> tuple[Endpoint, list[str]]:
    """Read ssh's settings for a host.

    Args:
        answer: the output of `ssh -G` for it.
        defaults: the output without any configuration. Only a difference can be a problem.
        destination: the name that ssh was given, before any alias.

    Returns:
        The endpoint without its jump host, and the settings that Slipway cannot follow.
    """
    reader = _Reader(answer, defaults)
    problems = [
        f"ssh's setting {key} is nothing that Slipway can do"
        for key in sorted(answer)
        if key not in USED | HARMLESS and answer[key] != defaults.get(key)
    ]
    hostname, port = reader.one("hostname", destination), int(reader.one("port", "22"))
    user, alias = reader.one("user", local_user()), reader.one("hostkeyalias")
    reader.tokens = {
        "%": "%",
        "h": hostname,
        "n": destination,
        "p": str(port),
        "r": user,
        "d": ssh_home(),
        "i": str(os.getuid()),
        "k": alias or destination,
        "l": local_host(),
        "L": local_host().partition(".")[0],
        "u": account_name() or local_user(),
        "j": reader.one("proxyjump"),
    }
    ways = reader.one("preferredauthentications").split(",")
    endpoint = Endpoint(
        hostname=hostname,
        port=port,
        user=user,
        known_as=alias or known_as(hostname, port),
        known_hosts=(*reader.files("userknownhostsfile"), *reader.files("globalknownhostsfile")),
        keys=(*reader.paths("identityfile"), *reader.paths("certificatefile")),
        agent=_agent(reader),
        only_keys=reader.yes("identitiesonly"),
        pubkey=not reader.no("pubkeyauthentication") and (ways == [""] or "publickey" in ways),
        password=(not reader.no("passwordauthentication") or not reader.no("kbdinteractiveauthentication"))
        and (ways == [""] or bool({"password", "keyboard-interactive"} & set(ways))),
        compress=reader.yes("compression"),
        family=_FAMILIES.get(reader.one("addressfamily"), socket.AF_UNSPEC),
        bind=reader.one("bindaddress") or None,
        algorithms=reader.algorithms(problems),
        rsa_bits=int(reader.one("requiredrsasize", "0")),
        command=reader.fill(command, "hnpr%") if (command := reader.one("proxycommand")) else None,
    )
    return endpoint, problems + reader.problems


def _agent(reader: _Reader) -> str | None:
    said = reader.one("identityagent") or "SSH_AUTH_SOCK"
    if said == "SSH_AUTH_SOCK" or said.startswith("$"):
        return os.environ.get(said.strip("${}")) or None
    return at_home(reader.fill(said))


class _Reader:
    def __init__(self, answer: SshAnswer, defaults: SshAnswer) -> None:
        self._answer, self._defaults = answer, defaults
        self.tokens: dict[str, str] = {}
        self.problems: list[str] = []

    def one(self, key: str, default: str = "") -> str:
        """Return a setting's value; "none" counts as empty."""
        value = self._answer.get(key, ("",))[0]
        return default if value in ("", "none") else value

    def yes(self, key: str) -> bool:
        return self.one(key) in ("yes", "true")

    def no(self, key: str) -> bool:
        return self.one(key) in _NO

    def paths(self, key: str) -> tuple[str, ...]:
        """Return the paths of a keyword that has one line for each path."""
        values = [value for value in self._answer.get(key, ()) if value != "none"]
        return tuple(dict.fromkeys(at_home(self.fill(value)) for value in values))

    def files(self, key: str) -> tuple[str, ...]:
        """Return the paths of a keyword that has all paths on one line."""
        return tuple(at_home(self.fill(path)) for path in split_paths(self.one(key)))

    def fill(self, text: str, allowed: str = "") -> str:
        """Fill in what ssh fills in at the time of use: tokens (``%h``) and variables (``${HOME}``).

        Args:
            text: the setting.
            allowed: the tokens' letters; if empty, those of file names, with variables too.
        """

        def filled(found: re.Match[str]) -> str:
            letter, variable = found[1], found[2]
            if variable is not None:
                if not allowed and variable not in os.environ:
                    self.problems.append(f"one of ssh's settings needs the variable {variable}, which is not set")
                return found[0] if allowed else os.environ.get(variable, "")
            if letter in (allowed or self.tokens) and letter in self.tokens:
                return self.tokens[letter]
            self.problems.append(f"one of ssh's settings holds %{letter}, which Slipway cannot fill in")
            return found[0]

        return re.sub(r"%(.)|\$\{([^}]*)\}", filled, text, flags=re.DOTALL)

    def algorithms(self, problems: list[str]) -> dict[str, tuple[str, ...]]:
        """Return the allowed algorithms, if they differ from ssh's defaults."""
        import paramiko

        allowed = {}
        for key, kind in ALGORITHMS.items():
            if key not in self._answer or self._answer[key] == self._defaults.get(key):
                continue
            names = self._answer[key][0].split(",")
            ours: Sequence[str] = getattr(paramiko.Transport, f"_preferred_{kind}")
            # Two names stand for the same key exchange.
            also = [f"{name}@libssh.org" for name in names if name == "curve25519-sha256"]
            allowed[kind] = tuple(name for name in ours if name in [*names, *also])
            if not allowed[kind] and not (kind == "macs" and any("gcm" in one for one in allowed.get("ciphers", ()))):
                problems.append(f"ssh's setting {key} allows {', '.join(names)} only: Slipway has none of these")
        return allowed


def split_paths(text: str) -> list[str]:
    """Split a line of paths, which ssh prints without quotes, so that a blank may be inside a path or between two.

    A blank before the beginning of a path (``/``, ``~``, ``%``, ``$``) counts as a separator.
    """
    if not text.startswith(("/", "~", "%", "$")):
        return text.split()
    return re.split(r" (?=[/~%$])", text)
