"""Host keys are checked strictly: an unknown or changed key ends the connection before anything is sent."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import paramiko

from playbooks.errors import HostKeyRefused

USER_FILE = "~/.ssh/known_hosts"
SYSTEM_FILE = "/etc/ssh/ssh_known_hosts"
SSH_PORT = 22


def fingerprint(key: paramiko.PKey) -> str:
    """A key's fingerprint as ssh-keygen(1) prints it, e.g. ``ED25519 SHA256:…``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    kind = key.get_name().removeprefix("ssh-").removeprefix("ecdsa-sha2-").upper()
    return f"{kind} SHA256:{digest}"


def read_known(files: tuple[str, ...]) -> paramiko.HostKeys:
    """The keys that are recorded.

    Args:
        files: which files have them; empty means the user's own and the system's.
    """
    known = paramiko.HostKeys()
    for path in files or (USER_FILE, SYSTEM_FILE):
        expanded = Path(path).expanduser()
        if expanded.is_file():
            known.load(str(expanded))
    return known


def strict(client: paramiko.SSHClient, name: str, known: paramiko.HostKeys, host: str, port: int) -> None:
    """Make a client refuse every key that is not recorded.

    Fabric sets paramiko's AutoAddPolicy on each client it makes, which would trust any key silently.

    Args:
        client: the client, not yet connected.
        name: the host's inventory name, for the message.
        known: see `read_known`. The client gets what is recorded for this host, no more: to read all of the file for
            each of hundreds of hosts would be most of what the controller does.
        host, port: what will be connected to.
    """
    recorded = host if port == SSH_PORT else f"[{host}]:{port}"
    for kind, key in (known.lookup(recorded) or {}).items():
        client.get_host_keys().add(recorded, kind, key)
    client.set_missing_host_key_policy(_Refuse(name))


def changed(name: str, error: paramiko.BadHostKeyException) -> HostKeyRefused:
    """The error for a key that differs from the recorded one."""
    return HostKeyRefused(
        f"the host key has CHANGED: recorded is {fingerprint(error.expected_key)}, the host shows "
        f"{fingerprint(error.key)}. Somebody may be listening in, or the host was built anew. Nothing was sent.",
        host=name,
        hint="if you know why it changed: invoke host-keys --env=… --replace --limit=" + name,
    )


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, name: str) -> None:
        self._name = name

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        raise HostKeyRefused(
            f"no host key is recorded for {hostname}; it shows {fingerprint(key)}. Nothing was sent.",
            host=self._name,
            hint="compare it with what the host's console shows, then: invoke host-keys --env=… --record --limit="
            + self._name,
        )
