"""What a host has and runs, read in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from playbooks.fleet.holder import Holder, read_holder
from playbooks.fleet.host_json import read_object
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import Answer
from playbooks.ledger.heads import Head
from playbooks.ledger.seal import NO_LINE, head_of
from playbooks.steps.chain import read_record

LAST_MOMENT = 253402300800  # the end of the year 9999

Stand = Literal["partial", "staged", "proven", "failed"]

NOTHING = "-"  # as a release's predecessor


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
        predecessor: what ran when it was switched to, or NOTHING; None where that is not known.
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

    @property
    def slot(self) -> str | None:
        """The slot that it runs in, if it runs in one."""
        name = self.about.get("slot")
        return name if isinstance(name, str) else None


@dataclass(frozen=True)
class Idle:
    """A release that is kept in the slot beside the current one.

    Args:
        slot: its name.
        release: which one.
        until: when its units are stopped, in seconds since 1970; None: nobody has said.
        units: its units.
    """

    slot: str
    release: str
    until: int | None
    units: tuple[Unit, ...]

    @property
    def runs(self) -> bool:
        """Whether it would be there at once."""
        return bool(self.units) and all(unit.active == "active" for unit in self.units)


@dataclass(frozen=True)
class Guard:
    """A guard that waits on a host, or could not do its work.

    Args:
        stand: armed, firing or stuck.
        id: of the deploy that it guards.
        target: the release that it goes back to; None for none.
        seconds: of silence after which it does.
        why: what kept it from its work.
    """

    stand: str
    id: str
    target: str | None
    seconds: int
    why: str


@dataclass(frozen=True)
class Moved:
    """A host's last switch.

    Args:
        id: of the deploy or rollback that did it.
        before, after: releases; None for none.
    """

    id: str
    before: str | None
    after: str | None


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
        interrupted: who held it last, if that task ended without a word.
        guard: the guard that waits there.
        moved: the last switch.
        tip: the name of the ledger's last line (`head_of`), "start" where there is none yet; None: it is torn, or no
            record.
        cut: the newest record that was known of its ledger and is gone.
        unbacked: why the backup that the last deploy began in the background failed.
        idle: what is kept in the slot beside the current release's.
        token: the number of the last task that had the lock before all this was read.
        kept: until when its units run on though the traffic has left its group, in seconds since 1970; 0: they are
            stopped.
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
    interrupted: Holder | None = None
    guard: Guard | None = None
    moved: Moved | None = None
    tip: str | None = None
    cut: Head | None = None
    unbacked: str | None = None
    idle: Idle | None = None
    kept: int | None = None
    token: int = 0

    def holds_for(self, token: int) -> bool:
        """Whether all this is still so for a task whose lock has this number: nobody else can have changed anything.

        Where a task was at work or had been interrupted, taking the lock may itself have ended or undone something.
        """
        return token == self.token + 1 and not (self.lock or self.guard or self.interrupted)

    @property
    def slot(self) -> str | None:
        """The slot that the current release runs in, if it runs in one."""
        return self.running.slot if self.running else None

    @property
    def running(self) -> ReleaseOnHost | None:
        """The release that ``current`` names."""
        return self.releases.get(self.current) if self.current else None

    @property
    def is_up(self) -> bool:
        """Whether all units of the current release are active."""
        return all(unit.active == "active" for unit in self.units)

    @property
    def version(self) -> str | None:
        """The version that ``current`` names."""
        return self.running.version if self.running else None


def read_facts(remote: Remote, home: str, state: str, *, seen: Head | None = None, timeout: float = 60.0) -> Facts:
    """Read what a host has and runs. Changes nothing.

    Args:
        remote: the host.
        home: the application's folder there.
        state: the application's state folder there.
        seen: the newest record that is known of its ledger.
        timeout: seconds.

    Raises:
        BadAnswer: the host's answer makes no sense.
    """
    answer = remote.run("facts", [home, state, seen.asked() if seen else "-"], timeout=timeout)
    system, systemd, clock = answer.one("system", 3)
    memory, memory_free = answer.one("memory", 2)
    current = answer.maybe("current", 2)
    verified = answer.maybe("verified", 1)
    lock = answer.maybe("lock", 1)
    interrupted = answer.maybe("interrupted", 1)
    guard = answer.maybe("guard", 5)
    moved = answer.maybe("moved", 3)
    ledger = answer.maybe("ledger", 2)
    tip = _tip(ledger)
    unbacked = answer.maybe("unbacked", 1)
    kept = answer.maybe("kept", 1)
    token = answer.maybe("token", 1)
    return Facts(
        host=remote.name,
        system=system,
        systemd=answer.number(systemd),
        manager=answer.one("manager", 1)[0],
        clock=_moment(answer, clock),
        memory=answer.number(memory),
        memory_free=answer.number(memory_free),
        disks=_disks(answer),
        tools={name: found == "yes" for name, found in answer.all("tool", 2)},
        current=current[0] if current else None,
        since=_moment(answer, current[1]) if current else None,
        releases=_releases(answer),
        units=_units(answer, "unit"),
        backups=tuple(_document(text) for (text,) in answer.all("backup", 1)),
        verified=_document(verified[0]) if verified else None,
        lock=read_holder(lock[0]) if lock else None,
        interrupted=read_holder(interrupted[0]) if interrupted else None,
        guard=Guard(guard[0], guard[1], _release(guard[2]), answer.number(guard[3]), guard[4]) if guard else None,
        moved=Moved(moved[0], _release(moved[1]), _release(moved[2])) if moved else None,
        tip=tip,
        cut=seen if seen and not _has(answer, seen, tip) else None,
        unbacked=unbacked[0] if unbacked else None,
        idle=_idle(answer),
        kept=_moment(answer, kept[0]) if kept else None,
        token=answer.number(token[0]) if token else 0,
    )


def _tip(ledger: Sequence[str] | None) -> str | None:
    if ledger is None:
        return NO_LINE
    line = f"{ledger[0]}\n".encode()
    return head_of(line) if ledger[1] == "whole" and read_record(line) else None


def _has(answer: Answer, seen: Head, tip: str | None) -> bool:
    """Whether the record is still where it was: it is the last line, or the host shows it."""
    shown = answer.maybe("seen", 1)
    return tip == seen.digest if shown is None else head_of(f"{shown[0]}\n".encode()) == seen.digest


def _units(answer: Answer, tag: str) -> tuple[Unit, ...]:
    return tuple(
        Unit(name, active, sub, answer.number(restarts), since)
        for name, active, sub, restarts, since in answer.all(tag, 5)
    )


def _idle(answer: Answer) -> Idle | None:
    found = answer.maybe("idle", 3)
    if found is None:
        return None
    slot, release, until = found
    return Idle(slot, release, _moment(answer, until) if until else None, _units(answer, "idle_unit"))


def _release(name: str) -> str | None:
    return None if name in (NOTHING, "") else name


def _moment(answer: Answer, text: str) -> int:
    """Seconds since 1970; a time that no calendar has is no answer."""
    seconds = answer.number(text)
    if not 0 <= seconds < LAST_MOMENT:
        raise answer.bad(f"'{text}' is no time")
    return seconds


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
    return read_object(text) or {}
