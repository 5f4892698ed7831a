"""Host keys are checked strictly: an unknown or changed key ends the connection before anything is sent."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import paramiko

from playbooks.core.errors import HostKeyRefused

SSH_PORT = 22
RSA = "ssh-rsa"
_HASHED = "|1|"
_MARKS = ("@cert-authority", "@revoked")


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as ssh-keygen(1) prints it, e.g. ``ED25519 SHA256:…``."""
    return _print(key.get_name(), key.asbytes())


def _print(kind: str, blob: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind.removeprefix('ssh-').removeprefix('ecdsa-sha2-').upper()} SHA256:{digest}"


def known_as(hostname: str, port: int) -> str:
    """Return the name under which a host's keys are recorded."""
    return hostname if port == SSH_PORT else f"[{hostname}]:{port}"


@dataclass(frozen=True)
class Recorded:
    """A recorded host key.

    Args:
        kind: as the file has it, e.g. "ssh-ed25519".
        blob: the public key, as SSH sends it.
        revoked: whether the file marks it as revoked.
    """

    kind: str
    blob: bytes
    revoked: bool = False

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen(1) prints it."""
        return _print(self.kind, self.blob)

    @cached_property
    def bits(self) -> int:
        """Return the length of an RSA key's modulus; do not use it for other kinds."""
        message = paramiko.Message(self.blob)
        try:
            message.get_text(), message.get_mpint()
            return int(message.get_mpint()).bit_length()
        except (ValueError, IndexError, paramiko.SSHException):
            return 0


@dataclass
class KnownHosts:
    """The keys in some files, for look-up by a host's name.

    Lines that name one host have an index, because comparing hundreds of hosts with thousands of lines would take
    most of the controller's time.
    """

    _exact: dict[str, list[Recorded]] = field(default_factory=dict)
    _hashed: list[tuple[str, Recorded]] = field(default_factory=list)
    _patterns: list[tuple[Sequence[str], Recorded]] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Add a line. A line that ssh cannot read is ignored, as ssh does."""
        found = _parse(line)
        if found is None:
            return
        names, recorded = found
        if names[0].startswith(_HASHED):
            self._hashed.append((names[0], recorded))
        elif any(one.startswith("!") or "*" in one or "?" in one for one in names):
            self._patterns.append((names, recorded))
        else:
            for name in names:
                self._exact.setdefault(name.lower(), []).append(recorded)

    def of(self, name: str) -> list[Recorded]:
        """Return the keys recorded for a host, each once.

        Args:
            name: see `known_as`.
        """
        name = name.lower()
        found = [
            *self._exact.get(name, ()),
            *(recorded for hashed, recorded in self._hashed if is_hash(name, hashed)),
            *(recorded for patterns, recorded in self._patterns if matches(name, patterns)),
        ]
        return list(dict.fromkeys(found))


def _parse(line: bytes) -> tuple[list[str], Recorded] | None:
    words = line.decode("utf-8", "surrogateescape").split()
    mark = words.pop(0) if words and words[0] in _MARKS else ""
    if mark == "@cert-authority" or len(words) < 3 or words[0].startswith(("#", "@")):
        return None
    try:
        blob = base64.b64decode(words[2].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    kind = words[1].encode("utf-8", "surrogateescape")
    if blob[:4] != len(kind).to_bytes(4) or blob[4 : 4 + len(kind)] != kind:
        return None
    names = [name for name in words[0].split(",") if name]
    return (names, Recorded(words[1], blob, mark == "@revoked")) if names else None


def is_hash(name: str, hashed: str) -> bool:
    """Return whether this is a hashed name: ``|1|SALT|HASH`` (sshd(8))."""
    if not hashed.startswith(_HASHED):
        return False
    try:
        salt, digest = (binascii.a2b_base64(part) for part in hashed.removeprefix(_HASHED).split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode("utf-8", "surrogateescape"), "sha1"), digest)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches by OpenSSH's rules: ``*`` and ``?``; a match with ``!`` excludes the name."""
    found = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!").lower()
        if re.fullmatch("".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in wanted), name, re.DOTALL):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def read_known(files: Iterable[str]) -> KnownHosts:
    """Read the recorded keys. A missing or unreadable file has no keys, as with ssh.

    Args:
        files: the files' paths.
    """
    known = KnownHosts()
    for path in files:
        for line in _read(Path(path)):
            known.add(line)
    return known


def _read(file: Path) -> Iterator[bytes]:
    try:
        return iter(file.read_bytes().splitlines() if file.is_file() else ())
    except (OSError, ValueError):
        return iter(())


@dataclass(frozen=True)
class ExpectedKeys:
    """The keys that a host may show.

    Args:
        name: the name under which its keys are recorded.
        recorded: the keys recorded for this name.
        without_port: the keys recorded for the name without the port. ssh uses them if none is recorded for the name
            with its port, and so does Slipway.
        rsa_bits: shorter RSA keys are refused (RequiredRSASize).
    """

    name: str
    recorded: tuple[Recorded, ...]
    without_port: tuple[Recorded, ...] = ()
    rsa_bits: int = 0

    def kinds(self, supported: Sequence[str]) -> tuple[str, ...]:
        """Return the kinds of keys to ask a host for: recorded kinds first, so that the host shows a comparable key.

        Args:
            supported: the signature algorithms, e.g. "rsa-sha2-512".
        """
        has = {one.kind for one in self.recorded or self.without_port if not one.revoked}
        return tuple(
            sorted(supported, key=lambda kind: kind not in has and not (kind.startswith("rsa-") and RSA in has))
        )


class Strict(paramiko.MissingHostKeyPolicy):
    """Refuses every key that is not recorded. paramiko asks it about every key, because its own table stays empty.

    Fabric sets AutoAddPolicy on each client, which would silently trust any key.

    Args:
        host: the host's inventory name, for the message.
        wanted: the keys that it may show.
    """

    def __init__(self, host: str, wanted: ExpectedKeys) -> None:
        self._host, self._wanted = host, wanted

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Check the key that a host shows.

        Raises:
            HostKeyRefused: the key is unknown, revoked or too short, or differs from the recorded one.
        """
        wanted, blob, shown = self._wanted, key.asbytes(), fingerprint(key)
        if any(one.revoked and one.blob == blob for one in wanted.recorded + wanted.without_port):
            self._refuse(
                f"the host key {shown} is marked @revoked in a known_hosts file. Nothing was sent.",
                "somebody may have its private half: let the host have a new key, then record that",
            )
        if key.get_name() == RSA and key.get_bits() < wanted.rsa_bits:
            self._refuse(
                f"the host key {shown} has {key.get_bits()} bits; ssh's RequiredRSASize is {wanted.rsa_bits}. "
                "Nothing was sent.",
                "give the host a longer key, or an ED25519 one",
            )
        known = [one for one in wanted.recorded if not one.revoked]
        if any(one.blob == blob for one in known):
            return
        if not known and any(one.blob == blob for one in wanted.without_port):
            return
        if known:
            same = next((one for one in known if one.kind == key.get_name()), known[0])
            self._refuse(
                f"the host key has CHANGED: recorded is {same.fingerprint}, the host shows {shown}. "
                "Somebody may intercept the connection, or the host was reinstalled. Nothing was sent.",
                f"if you know why it changed: invoke host-keys --env=… --replace --limit={self._host}",
            )
        self._refuse(
            f"no host key is recorded for {wanted.name}; it shows {shown}. Nothing was sent.",
            "compare it with what the host's console shows, then: invoke host-keys --env=… --record "
            f"--limit={self._host}",
        )

    def _refuse(self, message: str, hint: str) -> None:
        raise HostKeyRefused(message, host=self._host, hint=hint)
