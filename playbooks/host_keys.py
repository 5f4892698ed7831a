"""Show the hosts' SSH keys beside the recorded ones. A person compares them before they are recorded."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import paramiko

from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.errors import ControllerError, ExitStatus, Unreachable
from playbooks.core.surroundings import at_home
from playbooks.core.unreached import in_words
from playbooks.environments.environment import Environment
from playbooks.fleet import ssh_config
from playbooks.fleet.address import Address
from playbooks.fleet.connection import Ways
from playbooks.fleet.dialing import dial
from playbooks.fleet.endpoint import Endpoint
from playbooks.fleet.fanout import Job, by_host, run_jobs
from playbooks.fleet.hostkeys import Recorded, fingerprint, is_hash, read_known
from playbooks.fleet.progress import Progress
from playbooks.fleet.transport import Transport

# A known_hosts line of a single host: no pattern, list, marker or comment (sshd(8)).
_PLAIN = re.compile(r"[^\s*?!,#@|][^\s*?!,]*")


KeyState = Literal["recorded", "unknown", "CHANGED", "added", "replaced"]


@dataclass(frozen=True)
class HostKey:
    """The key of one host.

    Args:
        shown: the fingerprint of the key that the host shows now.
        recorded: the recorded fingerprints of the host.
        state: recorded, unknown, CHANGED, or the action taken: added, replaced.
        file: the file of recorded keys.
    """

    host: str
    shown: str
    recorded: tuple[str, ...]
    state: KeyState
    file: str


@dataclass(frozen=True)
class HostKeys:
    """The keys of an environment's hosts."""

    schema: ClassVar[str] = "slipway.host-keys/1"
    environment: str
    keys: tuple[HostKey, ...]
    unreachable: Mapping[str, HostFailure]
    flag: str = ""

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a key has changed or a host is unreachable, which needs a person."""
        bad = self.unreachable or any(key.state == "CHANGED" for key in self.keys)
        return ExitStatus.PERSON_NEEDED if bad else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "keys": [asdict(key) for key in self.keys],
            "unreachable": failures_told(self.unreachable),
            "exit_status": int(self.exit_status),
        }


def host_keys(env: Environment, progress: Progress, *, record: bool, replace: bool) -> HostKeys:
    """Ask every host of the inventory for its key, without logging in.

    Args:
        env: the environment: all hosts of the inventory; with --limit, the application's.
        progress: receives what to show a person.
        record: add the keys of hosts that have none recorded.
        replace: put the shown key in place of a recorded one that differs.
    """
    names = [target.name for target in env.targets] if env.limited else list(env.inventory.hosts)
    addresses = {name: env.target(name).address for name in names}
    ways = Ways(ssh_config.endpoints(list(addresses.values())))
    jobs = [Job(name, "key", partial(_ask, address, ways)) for name, address in addresses.items()]
    results = by_host(jobs, run_jobs(jobs, forks=env.settings.forks, progress=progress))
    found = []
    for name, key in results.ok.items():
        endpoint = ways.endpoints[name]
        file = _file(endpoint)
        known = [one for one in read_known([str(file)]).of(endpoint.known_as) if not one.revoked]
        shown = Recorded(key.get_name(), key.asbytes())
        state: KeyState = "recorded" if shown in known else "CHANGED" if known else "unknown"
        if (state == "unknown" and record) or (state == "CHANGED" and replace):
            _write(name, file, endpoint.known_as, key)
            state = "added" if state == "unknown" else "replaced"
        prints = tuple(one.fingerprint for one in known)
        found.append(HostKey(name, fingerprint(key), prints, state, str(file)))
    return HostKeys(env.name, tuple(found), failures(results.failed), env.flag)


def _ask(address: Address, ways: Ways) -> paramiko.PKey:
    """Return the key that a host shows.

    Raises:
        Unreachable: it does not answer, or needs a jump host.
    """
    endpoint = ways.endpoints[address.name]
    if endpoint.jump or endpoint.command:
        raise Unreachable(
            "it is behind another host; its key can only be read from there",
            host=address.name,
            hint=f"on that host: ssh-keyscan -t ed25519 {endpoint.hostname}",
        )
    try:
        with dial(endpoint, address.connect_timeout) as sock:
            transport = Transport(sock)
            # Ask for the recorded kind, or else the kind that OpenSSH prefers and would record.
            options = transport.get_security_options()
            kinds = sorted(options.key_types, key=lambda kind: kind != "ssh-ed25519")
            options.key_types = ways.wanted(endpoint).kinds(kinds)
            try:
                transport.start_client(timeout=address.connect_timeout)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        reason = in_words(error)
        raise Unreachable(f"no key from {endpoint.hostname}: {reason}", host=address.name) from None


def _file(endpoint: Endpoint) -> Path:
    """Return the file to record keys in: the first that ssh reads."""
    return Path(endpoint.known_hosts[0] if endpoint.known_hosts else at_home("~/.ssh/known_hosts"))


def _write(host: str, file: Path, name: str, key: paramiko.PKey) -> None:
    """Rewrite the file by one rename, and keep every line of other hosts.

    Raises:
        ControllerError: the file cannot be written, or a line is for other hosts too.
    """
    if not _PLAIN.fullmatch(name):
        raise ControllerError(
            f"its key would be recorded for '{name}', which is no name of one host; nothing was recorded",
            host=host,
            hint="correct HostKeyAlias, in ansible_ssh_common_args or in ~/.ssh/config",
        )
    try:
        file = file.resolve()  # rewrite the target of a link
        lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        kept = [line for line in lines if not _is_for(line.decode("utf-8", "surrogateescape"), name)]
        kept.append(f"{name} {key.get_name()} {key.get_base64()}\n".encode())
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, coming = tempfile.mkstemp(dir=file.parent, prefix=".known_hosts.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.writelines(kept)
            Path(coming).replace(file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(coming).unlink()
    except OSError as error:
        raise ControllerError(f"cannot write {file}: {error.strerror}", host=host) from None


def _is_for(line: str, name: str) -> bool:
    """Return whether a line of known_hosts is for this host alone; hashed names are compared by hash (sshd(8))."""
    names = "".join(line.split()[:1]).split(",")
    if line.startswith(("#", "@")) or len(names) != 1:
        return False
    return names[0] == name or is_hash(name, names[0])
