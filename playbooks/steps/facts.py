"""What a host has and runs, read in one round trip."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from playbooks.fleet.lock import Holder, read_holder
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import Answer

Stand = Literal["partial", "staged", "proven", "failed"]


@dataclass(frozen=True)
class Disk:
    """A file system's room.

    Args:
        size, free: kilobytes.
        inodes, inodes_free: counts; 0 where the file system has no fixed number.
    """

    path: str
    size: int
    free: int
    writable: bool
    inodes: int = 0
    inodes_free: int = 0

    @property
    def used_percent(self) -> float:
        """Share of the file system that is used, in percent."""
        return 100.0 * (self.size - self.free) / self.size if self.size else 0.0


@dataclass(frozen=True)
class Unit:
    """A systemd unit of the running release."""

    name: str
    active: str
    sub: str
    restarts: int
    since: str


@dataclass(frozen=True)
class ReleaseOnHost:
    """A release folder on a host.

    Args:
        id: the folder's name.
        stand: partial (never finished staging), staged, proven (was healthy), failed (was not).
        predecessor: what ran when it was switched to.
        about: its release.json.
    """

    id: str
    stand: Stand
    predecessor: str | None
    about: dict[str, Any]

    @property
    def version(self) -> str:
        """The version it was made from."""
        return str(self.about.get("version", "?"))


@dataclass(frozen=True)
class Facts:
    """One host, as it is now.

    Args:
        systemd: its version.
        manager: what `systemctl is-system-running` says.
        clock, since: seconds since 1970: the host's time, and when ``current`` was switched.
        memory, memory_free: kilobytes.
        backups: records of the backups that the host keeps.
        verified: what the last restore drill found.
        lock: who holds the lock, if somebody does.
        last_record: the ledger's last line.
    """

    host: str
    system: str
    systemd: int
    manager: str
    clock: int
    memory: int
    memory_free: int
    disks: tuple[Disk, ...]
    tools: dict[str, bool]
    current: str | None
    since: int | None
    releases: dict[str, ReleaseOnHost]
    units: tuple[Unit, ...]
    backups: tuple[dict[str, Any], ...]
    verified: dict[str, Any] | None
    lock: Holder | None
    last_record: str | None = field(default=None)

    @property
    def running(self) -> ReleaseOnHost | None:
        """The release that ``current`` names."""
        return self.releases.get(self.current) if self.current else None

    @property
    def version(self) -> str | None:
        """The version that ``current`` names."""
        return self.running.version if self.running else None


def read_facts(remote: Remote, home: str, state: str, *, timeout: float = 60.0) -> Facts:
    """Read what a host has and runs. Changes nothing.

    Args:
        remote: the host.
        home: the application's folder there.
        state: the application's state folder there.
        timeout: seconds.

    Raises:
        BadAnswer: the host's answer makes no sense.
    """
    answer = remote.run("facts", [home, state], timeout=timeout)
    system, systemd, clock = answer.one("system", 3)
    memory, memory_free = answer.one("memory", 2)
    current = answer.maybe("current", 2)
    verified = answer.maybe("verified", 1)
    lock = answer.maybe("lock", 1)
    ledger = answer.maybe("ledger", 1)
    return Facts(
        host=remote.name,
        system=system,
        systemd=answer.number(systemd),
        manager=answer.one("manager", 1)[0],
        clock=answer.number(clock),
        memory=answer.number(memory),
        memory_free=answer.number(memory_free),
        disks=_disks(answer),
        tools={name: found == "yes" for name, found in answer.all("tool", 2)},
        current=current[0] if current else None,
        since=answer.number(current[1]) if current else None,
        releases=_releases(answer),
        units=tuple(
            Unit(name, active, sub, answer.number(restarts), since)
            for name, active, sub, restarts, since in answer.all("unit", 5)
        ),
        backups=tuple(_document(text) for (text,) in answer.all("backup", 1)),
        verified=_document(verified[0]) if verified else None,
        lock=read_holder(lock[0]) if lock else None,
        last_record=ledger[0] if ledger else None,
    )


def _releases(answer: Answer) -> dict[str, ReleaseOnHost]:
    found = {}
    for name, stand, predecessor, about in answer.all("release", 4):
        if stand not in ("partial", "staged", "proven", "failed"):
            raise answer.bad(f"release {name} is '{stand}'")
        found[name] = ReleaseOnHost(name, cast(Stand, stand), predecessor or None, _document(about))
    return found


def _disks(answer: Answer) -> tuple[Disk, ...]:
    inodes = {path: (answer.number(total), answer.number(free)) for path, total, free in answer.all("inodes", 3)}
    return tuple(
        Disk(path, answer.number(size), answer.number(free), writable == "yes", *inodes.get(path, (0, 0)))
        for path, size, free, writable in answer.all("disk", 4)
    )


def _document(text: str) -> dict[str, Any]:
    """A JSON object a host keeps; a damaged one is empty, so that one bad file does not hide the host."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(text)
        if isinstance(document, dict):
            return document
    return {}
