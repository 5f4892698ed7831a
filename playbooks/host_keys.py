"""The hosts' SSH keys beside the recorded ones. Looking is free; recording is a person's decision, after comparing."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paramiko

from playbooks.environment import Environment
from playbooks.errors import ExitStatus, SlipwayError, Unreachable
from playbooks.fleet.address import Address
from playbooks.fleet.fanout import Job, by_host, run_jobs
from playbooks.fleet.hostkeys import USER_FILE, fingerprint
from playbooks.fleet.progress import Progress


@dataclass(frozen=True)
class HostKey:
    """One host's key.

    Args:
        shown: fingerprint of the key that the host shows now.
        recorded: fingerprints that are recorded for it.
        state: recorded, unknown, CHANGED, or what was done: added, replaced.
        file: where keys are recorded.
    """

    host: str
    shown: str
    recorded: tuple[str, ...]
    state: str
    file: str


@dataclass(frozen=True)
class HostKeys:
    """The environment's keys."""

    environment: str
    keys: tuple[HostKey, ...]
    unreachable: Mapping[str, str]
    flag: str = ""

    @property
    def exit_status(self) -> ExitStatus:
        """A changed key, or a host that cannot be asked, needs a person."""
        bad = self.unreachable or any(key.state == "CHANGED" for key in self.keys)
        return ExitStatus.PERSON_NEEDED if bad else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "keys": [asdict(key) for key in self.keys],
            "unreachable": dict(self.unreachable),
            "exit_status": int(self.exit_status),
        }


def host_keys(env: Environment, progress: Progress, *, record: bool, replace: bool) -> HostKeys:
    """Ask every host of the inventory for its key, without logging in.

    Args:
        env: whose hosts: all of the inventory's; with --limit, those of the application's.
        progress: who watches.
        record: add the keys of hosts that have none recorded.
        replace: put the shown key in place of a recorded one that differs.
    """
    names = [target.name for target in env.targets] if env.limited else list(env.inventory.hosts)
    addresses = {name: env.target(name).address for name in names}
    jobs = [Job(name, "key", lambda address=address: _ask(address)) for name, address in addresses.items()]  # type: ignore[misc]
    results = by_host(jobs, run_jobs(jobs, forks=env.settings.forks, progress=progress))
    found = []
    for name, key in results.ok.items():
        file = _file(addresses[name])
        known = _recorded(file, addresses[name])
        state = "recorded" if key in known else "CHANGED" if known else "unknown"
        if (state == "unknown" and record) or (state == "CHANGED" and replace):
            _write(file, addresses[name], key)
            state = "added" if state == "unknown" else "replaced"
        prints = tuple(fingerprint(one) for one in known)
        found.append(HostKey(name, fingerprint(key), prints, state, str(file)))
    return HostKeys(env.name, tuple(found), {name: error.message for name, error in results.failed.items()}, env.flag)


def _ask(address: Address) -> paramiko.PKey:
    """The key a host shows.

    Raises:
        Unreachable: it does not answer, or can only be reached through another host.
    """
    if address.proxy_jump or address.proxy_command:
        raise Unreachable(
            "it is behind another host; its key can only be read from there",
            host=address.name,
            hint=f"on that host: ssh-keyscan -t ed25519 {address.hostname}",
        )
    try:
        with socket.create_connection((address.hostname, address.port or 22), timeout=address.connect_timeout) as sock:
            transport = paramiko.Transport(sock)
            # The kind that OpenSSH prefers and that its own known_hosts would have.
            options = transport.get_security_options()
            options.key_types = sorted(options.key_types, key=lambda kind: kind != "ssh-ed25519")
            try:
                transport.start_client(timeout=address.connect_timeout)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"no key from {address.hostname}: {reason}", host=address.name) from None


def _file(address: Address) -> Path:
    return Path(address.known_hosts[0] if address.known_hosts else USER_FILE).expanduser()


def _name(address: Address) -> str:
    return address.hostname if address.port in (None, 22) else f"[{address.hostname}]:{address.port}"


def _recorded(file: Path, address: Address) -> list[paramiko.PKey]:
    if not file.is_file():
        return []
    found = paramiko.HostKeys(str(file)).lookup(_name(address))
    return list(found.values()) if found else []


def _write(file: Path, address: Address, key: paramiko.PKey) -> None:
    """Rewrite the file by one rename; every line but this host's stays as it is.

    Raises:
        SlipwayError: it cannot be written.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        kept = [line for line in lines if not _is_for(line, _name(address))]
        kept.append(f"{_name(address)} {key.get_name()} {key.get_base64()}\n")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, coming = tempfile.mkstemp(dir=file.parent, prefix=".known_hosts.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.writelines(kept)
            Path(coming).replace(file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(coming).unlink()
    except OSError as error:
        raise SlipwayError(f"cannot write {file}: {error.strerror}", host=address.name) from None


def _is_for(line: str, name: str) -> bool:
    """Whether a line of known_hosts is this host's alone; hashed names are compared by their hash (sshd(8))."""
    names = line.split(" ")[0].split(",")
    if line.startswith(("#", "@")) or len(names) != 1:
        return False
    if names[0].startswith("|1|"):
        return bool(paramiko.HostKeys.hash_host(name, names[0]) == names[0])
    return names[0] == name
