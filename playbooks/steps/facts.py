"""Read what a host has and runs, in one round trip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast

from playbooks.core import names
from playbooks.core.errors import BadAnswer
from playbooks.core.names import cut
from playbooks.core.state_format import FORMAT
from playbooks.core.states import GuardState, TaskStatus
from playbooks.fleet.host_json import read_object
from playbooks.fleet.lock_owner import LockOwner, read_lock_owner
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.ledger.chain import read_record as read_line
from playbooks.ledger.heads import Head
from playbooks.ledger.seal import NO_LINE, head_of
from playbooks.steps.adopt import HINT, release_of
from playbooks.steps.drift import Drift
from playbooks.steps.records import read_record

LAST_MOMENT = 253402300800  # the end of the year 9999

ReleaseState = Literal["partial", "staged", "proven", "failed"]

NOTHING = "-"  # as a release's predecessor
MAX_ODD = 8  # sentences
LOST_SENTENCES = 2  # that come first if the current release is lost
MAX_HOOKS = 20
MAX_PLACES = 40  # folders above ours, and file systems below them
MAX_WORD = 200  # characters of a host's text that are shown


@dataclass(frozen=True)
class Disk:
    """The space of a file system.

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
        """Return how much of the file system is used, in percent."""
        return 100.0 * (self.size - self.free) / self.size if self.size else 0.0


@dataclass(frozen=True)
class UnsafeFolder:
    """A parent folder of ours that a user other than root can change.

    Args:
        owner: the folder's owner.
        mode: as ls shows it, with a + where an access list applies to files that root makes in it.
    """

    path: str
    owner: str
    mode: str


@dataclass(frozen=True)
class Unit:
    """A systemd unit of the running release.

    Args:
        restarts: how often systemd has restarted it by itself.
        since: when it last became active, in seconds since 1970; 0: never.
    """

    name: str
    active: str
    sub: str
    restarts: int
    since: int

    @property
    def is_running_service(self) -> bool:
        """Return whether a process of it runs; it does not for a socket, a timer or a finished oneshot."""
        return self.name.endswith(".service") and self.active == "active" and self.sub != "exited"


def version_in(release: str) -> str:
    """Return the version in a release's id."""
    return release.partition("-")[2] or release


@dataclass(frozen=True)
class ReleaseOnHost:
    """A release folder on a host.

    Args:
        id: the folder's name.
        state: partial (staging did not finish), staged, proven (was healthy), failed (was not healthy).
        predecessor: the release that ran before it, or NOTHING; None if unknown.
        about: its release.json, without invalid fields.
    """

    id: str
    state: ReleaseState
    predecessor: str | None
    about: dict[str, Any]

    @property
    def version(self) -> str:
        """Return the version; the release's id ends with it."""
        return version_in(self.id)

    @property
    def slot(self) -> str | None:
        """Return the slot that the release runs in, if any."""
        name = self.about.get("slot")
        return name if isinstance(name, str) else None

    @property
    def before_switch(self) -> tuple[str, ...]:
        """Return the names of its before_switch hooks; unknown for releases from before December 2026."""
        names = self.about.get("before_switch")
        return tuple(cut(str(name), MAX_WORD) for name in names[:MAX_HOOKS]) if isinstance(names, list) else ()


@dataclass(frozen=True)
class Idle:
    """A release that is kept in the idle slot.

    Args:
        slot: the slot's name.
        release: its id.
        until: when its units are stopped, in seconds since 1970; None if that is not set.
        units: its units.
    """

    slot: str
    release: str
    until: int | None
    units: tuple[Unit, ...]

    @property
    def runs(self) -> bool:
        """Return whether its units run, so that traffic can go back at once."""
        return bool(self.units) and all(unit.active == "active" for unit in self.units)


@dataclass(frozen=True)
class Guard:
    """A guard that waits on a host, or that failed to take it back.

    Args:
        state: the guard's state.
        id: the id of the deploy that it guards.
        target: the release that the host goes back to; None for none.
        seconds: how long the controller may be silent before the guard acts.
        why: why the guard failed.
    """

    state: GuardState
    id: str
    target: str | None
    seconds: int
    why: str


@dataclass(frozen=True)
class LastSwitch:
    """A host's last switch.

    Args:
        id: the id of the deploy or rollback that switched.
        before, after: release ids; None for none.
    """

    id: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Facts:
    """The present state of one host.

    Args:
        systemd: its version.
        manager: what `systemctl is-system-running` says.
        failed: units that failed, if the manager says "degraded"; eight at most.
        host_time, switched_at: seconds since 1970: the host's time, and when ``current`` was switched.
        memory, memory_free: kilobytes.
        backups: records of the backups that the host keeps.
        last_drill: what the last restore drill found.
        lock: the lock owner, if any.
        interrupted: the last lock owner, if its task ended without releasing the lock.
        guard: the guard that waits there.
        went_back: when its guard took the host back after the interrupted task, in seconds since 1970.
        last_switch: the last switch.
        ledger_head: the hash of the ledger's last line (`head_of`), "start" for an empty ledger; None if the line is
            torn or no record.
        missing_record: the newest known record that is missing from its ledger.
        backup_error: why the last deploy's background backup failed.
        idle: the release in the idle slot.
        unsafe_parents: parents of the application's folder or state that a user other than root can change.
        token: the fencing token of the last task that held the lock before this was read.
        units_kept_until: when the units of a group without traffic are stopped, in seconds since 1970; 0: they were
            stopped; None: the group has the traffic, or there are no groups.
        anomalies: sentences about invalid parts of the answer, which were left out.
        foreign_release: the folder in ``releases`` that ``current`` leads to, if another tool deployed it; then
            ``current`` is None.
        lost_slot: the current release's slot, if its folder is gone.
        ahead: releases with an id in the future. They are not compared with other hosts' releases.
        ran_once: releases whose before_switch hooks with `once` have succeeded, on any host.
        drift: changes by hand in the current release; None if there are none, or it was not checked.
    """

    host: str
    system: str
    systemd: int
    manager: str
    host_time: int
    memory: int
    memory_free: int
    disks: tuple[Disk, ...]
    tools: dict[str, bool]
    current: str | None
    switched_at: int | None
    releases: dict[str, ReleaseOnHost]
    units: tuple[Unit, ...]
    backups: tuple[dict[str, Any], ...]
    last_drill: dict[str, Any] | None
    lock: LockOwner | None
    interrupted: LockOwner | None = None
    guard: Guard | None = None
    last_switch: LastSwitch | None = None
    ledger_head: str | None = None
    missing_record: Head | None = None
    backup_error: str | None = None
    idle: Idle | None = None
    units_kept_until: int | None = None
    token: int = 0
    anomalies: tuple[str, ...] = ()
    ahead: frozenset[str] = frozenset()
    unsafe_parents: tuple[UnsafeFolder, ...] = ()
    foreign_release: str | None = None
    ran_once: frozenset[str] = frozenset()
    failed: tuple[str, ...] = ()
    drift: Drift | None = None
    lost_slot: str | None = None
    went_back: int | None = None

    @property
    def comparable(self) -> str | None:
        """Return the current release, if its id can be compared with other hosts', for example to find the newest."""
        return None if self.current in self.ahead else self.current

    def holds_for(self, token: int) -> bool:
        """Return whether these facts still hold for a lock with this token, because no other task ran in between.

        If a task was running or interrupted, taking the lock may have ended or undone something, so they do not.
        """
        return token == self.token + 1 and not (self.lock or self.guard or self.interrupted)

    @property
    def slot(self) -> str | None:
        """Return the current release's slot, if any."""
        return self.current_release.slot if self.current_release else self.lost_slot

    @property
    def current_release(self) -> ReleaseOnHost | None:
        """Return the release that ``current`` names."""
        return self.releases.get(self.current) if self.current else None

    @property
    def lost(self) -> bool:
        """Return whether the current release is missing or incomplete because somebody removed files."""
        return self.current is not None and (self.current_release is None or self.current_release.state == "partial")

    @property
    def intact_current(self) -> str | None:
        """Return the current release, if it is complete."""
        return None if self.lost else self.current

    @property
    def fallback(self) -> str | None:
        """Return the release that a failed deploy goes back to: the current one, or else the newest proven one."""
        if not self.lost:
            return self.current
        proven = [name for name, release in self.releases.items() if release.state == "proven"]
        return max((name for name in proven if name not in self.ahead), default=None)

    def must_keep(self, release: str) -> bool:
        """Return whether this host must keep a release, whatever other hosts report: it is proven or a way back."""
        found = self.releases.get(release)
        before = self.current_release.predecessor if self.current_release else None
        return found is not None and (found.state == "proven" or release == before)

    @property
    def runs_since(self) -> int | None:
        """Return when the latest of the current release's running services started; None if none runs.

        A release without units counts from its switch.
        """
        if not self.units:
            return self.switched_at
        return max((unit.since for unit in self.units if unit.is_running_service), default=None)

    @property
    def is_up(self) -> bool:
        """Return whether all units of the current release are active."""
        return all(unit.active == "active" for unit in self.units)

    @property
    def version(self) -> str | None:
        """Return the current release's version; None if its folder is gone."""
        return self.current_release.version if self.current_release else None

    @property
    def current_version(self) -> str | None:
        """Return the current release's version, even if its folder is gone."""
        return version_in(self.current) if self.current else None


def read_facts(remote: Remote, home: str, state: str, *, seen: Head | None = None, timeout: float = 60.0) -> Facts:
    """Read what a host has and runs. Changes nothing.

    Args:
        remote: the host.
        home: the application's folder there.
        state: the application's state folder on the host.
        seen: the newest known record of its ledger.
        timeout: seconds.

    Raises:
        BadAnswer: the answer is malformed.
    """
    (answer,) = remote.chain([facts_call(home, state, seen=seen, timeout=timeout)])
    return facts_in(answer, home, seen=seen)


def facts_call(home: str, state: str, *, seen: Head | None = None, timeout: float = 60.0) -> StepCall:
    """Build the step that reports what a host has and runs; see `read_facts`."""
    values = {"home": home, "state": state, "seen": seen.asked() if seen else "-", "format": str(FORMAT)}
    return StepCall("facts", values=values, timeout=timeout)


def facts_in(answer: StepResult, home: str, *, seen: Head | None = None) -> Facts:
    """Read a host's facts from its answer.

    Args:
        answer: the answer to `facts_call`.
        home, seen: the arguments of `facts_call`.

    Raises:
        BadAnswer: the answer is malformed.
    """
    now = datetime.now(UTC)
    odd: list[str] = []
    system, systemd, clock = answer.one("system", 3)
    memory, memory_free = answer.one("memory", 2)
    current = _current(answer, home)
    foreign_release = answer.maybe("foreign_release", 1)
    verified = answer.maybe("verified", 1)
    lock = answer.maybe("lock", 1)
    ledger = answer.maybe("ledger", 2)
    tip = _tip(ledger)
    unbacked = answer.maybe("unbacked", 1)
    kept = answer.maybe("kept", 1)
    token = answer.maybe("token", 1)
    lost_slot = answer.maybe("lost_slot", 1)
    releases = _releases(answer, odd)
    interrupted = _interrupted(answer, now, odd)
    # The current folder may be a copy that does not count as a release.
    ahead = frozenset(name for name in {*releases, *(current[:1] if current else ())} if names.is_ahead(name, now))
    odd += [
        f"release {name} has an id in the future, so no other host's release is compared with it"
        for name in sorted(ahead)
    ]
    facts = Facts(
        host=answer.host,
        system=cut(system, MAX_WORD),
        systemd=answer.number(systemd),
        manager=cut(answer.one("manager", 1)[0], MAX_WORD),
        host_time=_moment(answer, clock),
        memory=answer.number(memory),
        memory_free=answer.number(memory_free),
        disks=_disks(answer),
        tools={name: found == "yes" for name, found in answer.all("tool", 2)},
        current=current[0] if current else None,
        switched_at=_moment(answer, current[1]) if current else None,
        releases=releases,
        units=_units(answer, "unit"),
        backups=_backups(answer, odd),
        last_drill=_verified(verified[0], odd) if verified else None,
        lock=read_lock_owner(lock[0]) if lock else None,
        interrupted=interrupted,
        went_back=_went_back(answer, interrupted) if interrupted else None,
        guard=_guard(answer),
        last_switch=_moved(answer, odd),
        ledger_head=tip,
        missing_record=seen if seen and not _has(answer, seen, tip) else None,
        backup_error=cut(unbacked[0]) if unbacked else None,
        idle=_idle(answer, odd),
        units_kept_until=_moment(answer, kept[0]) if kept else None,
        token=answer.number(token[0]) if token else 0,
        ahead=ahead,
        foreign_release=foreign_release[0] if foreign_release else None,
        failed=tuple(cut(name, MAX_WORD) for (name,) in answer.all("failed", 1)),
        ran_once=frozenset(name for (name,) in answer.all("ran_once", 1)),
        lost_slot=cut(lost_slot[0], MAX_WORD) if lost_slot else None,
        unsafe_parents=tuple(
            dict.fromkeys(
                UnsafeFolder(*(cut(field, MAX_WORD) for field in found)) for found in _places(answer, "foreign", 3)
            )
        ),
    )
    if facts.foreign_release:
        odd.insert(
            0,
            f"current leads to releases/{facts.foreign_release}, which another tool deployed; "
            "the next deploy adopts it",
        )
    if facts.lost:
        then = f"releases/{facts.fallback}" if facts.fallback else "nothing"
        odd[:0] = [  # LOST_SENTENCES of them
            f"the folder of {facts.current}, which runs, is gone or incomplete",
            f"a deploy of any version repairs it; one that fails goes back to {then}",
        ]
    more = [f"and {len(odd) - MAX_ODD} more of that kind"] if len(odd) > MAX_ODD else []
    return replace(facts, anomalies=(*(cut(sentence, MAX_WORD) for sentence in odd[:MAX_ODD]), *more))


def as_adopted(facts: Facts) -> Facts:
    """Return the facts as they are after the adoption of another tool's release."""
    release = release_of(facts.foreign_release) if facts.foreign_release else None
    if release is None or facts.foreign_release is None:
        return facts
    made = ReleaseOnHost(release, "proven", NOTHING, {"version": facts.foreign_release})
    return replace(facts, current=release, releases={**facts.releases, release: made})


def _current(answer: StepResult, home: str) -> tuple[str, ...] | None:
    """Read the current release. Slipway cannot take back anything else, so a person has to look.

    Raises:
        BadAnswer: ``current`` is not a link or not a release of Slipway.
    """
    solid = answer.maybe("solid", 1)
    foreign_release = answer.maybe("foreign_release", 1)
    if foreign_release is not None and release_of(foreign_release[0]) is None:
        raise BadAnswer(
            f"{home}/current leads to releases/{cut(foreign_release[0], 80)}, which is no version's name; "
            "nothing was touched",
            host=answer.host,
            hint=HINT,
        )
    if solid is not None:
        raise BadAnswer(
            f"{home}/current is a {cut(solid[0], MAX_WORD)}, and not the link to the release that runs; "
            "nothing was touched",
            host=answer.host,
            hint=f"move it away there: mv {home}/current {home}/current.by-hand; if a release of Slipway's ran, link "
            f"it: ln -s releases/ID {home}/current (ls {home}/releases shows the ids)",
        )
    instead = answer.maybe("no_folder", 1)
    if instead is not None:
        place = f"{home}/{cut(instead[0], MAX_WORD)}"
        raise BadAnswer(
            f"{place} is not a folder, nor a link to one; nothing was touched",
            host=answer.host,
            hint=f"move it away there, or mount what it leads to: mv {place} {place}.by-hand",
        )
    found = answer.maybe("current", 2)
    if found is not None and not names.RELEASE.fullmatch(found[0]):
        raise BadAnswer(
            f"{home}/current leads to '{cut(found[0], MAX_WORD)}', which is no release of Slipway's; "
            "nothing was touched",
            host=answer.host,
            hint="what another tool deployed is taken over as docs/first-deploy.md says under 'Taking over from "
            f"another tool'; else let {home}/current lead to a release of Slipway's (ls {home}/releases)",
        )
    return found


def _tip(ledger: Sequence[str] | None) -> str | None:
    if ledger is None:
        return NO_LINE
    line = f"{ledger[0]}\n".encode()
    return head_of(line) if ledger[1] == "whole" and read_line(line) else None


def _has(answer: StepResult, seen: Head, tip: str | None) -> bool:
    """Return whether the ledger still has the record: it is the last line, or the host shows it."""
    shown = answer.maybe("seen", 1)
    return tip == seen.digest if shown is None else head_of(f"{shown[0]}\n".encode()) == seen.digest


def _units(answer: StepResult, tag: str) -> tuple[Unit, ...]:
    return tuple(
        Unit(
            answer.fitting(names.UNIT, name, "unit"),
            cut(active, MAX_WORD),
            cut(sub, MAX_WORD),
            answer.number(restarts),
            _moment(answer, since),
        )
        for name, active, sub, restarts, since in answer.all(tag, 5)
    )


def _idle(answer: StepResult, odd: list[str]) -> Idle | None:
    found = answer.maybe("idle", 3)
    if found is None:
        return None
    slot, release, until = found
    if not (names.SLOT.fullmatch(slot) and names.RELEASE.fullmatch(release)):
        odd.append(f"its report about the slot that it keeps is invalid: '{release}' in '{slot}'")
        return None
    return Idle(slot, release, _moment(answer, until) if until else None, _units(answer, "idle_unit"))


def _interrupted(answer: StepResult, now: datetime, odd: list[str]) -> LockOwner | None:
    found = answer.maybe("interrupted", 1)
    owner = read_lock_owner(found[0]) if found else None
    if owner is not None and not owner.is_sound(now):
        odd.append(f"its report about an interrupted task is invalid: {owner.task} '{owner.id}'")
        return None
    return owner


def _went_back(answer: StepResult, left: LockOwner) -> int | None:
    """Return when a task's guard took the host back, as the ledger says."""
    found = answer.maybe("fired", 1)
    record = read_line(f"{found[0]}\n".encode()) if found else None
    if record is None or (record.get("task"), record.get("id"), record.get("status")) != (
        "guard",
        left.id,
        TaskStatus.DONE,
    ):
        return None
    at = names.parse_time(record.get("at"))
    return int(at.timestamp()) if at else None


def _guard(answer: StepResult) -> Guard | None:
    found = answer.maybe("guard", 5)
    if found is None:
        return None
    state, deploy, target, seconds, why = found
    if state not in set(GuardState):
        raise answer.bad(f"its guard is '{state[:40]}'")
    deploy, target = cut(deploy, MAX_WORD), cut(target, MAX_WORD)
    return Guard(
        GuardState(state), deploy, None if target in (NOTHING, "") else target, answer.number(seconds), cut(why)
    )


def _moved(answer: StepResult, odd: list[str]) -> LastSwitch | None:
    found = answer.maybe("moved", 3)
    if found is None:
        return None
    deploy, before, after = found
    if any(name not in (NOTHING, "") and not names.RELEASE.fullmatch(name) for name in (before, after)):
        odd.append(f"its report about its last switch is invalid: from '{before}' to '{after}'")
        return None
    return LastSwitch(deploy, *(None if name in (NOTHING, "") else name for name in (before, after)))


def _backups(answer: StepResult, odd: list[str]) -> tuple[dict[str, Any], ...]:
    found = []
    for (text,) in answer.all("backup", 1, names.MAX_BACKUPS):
        record = read_record(text, answer.host)
        if record is None:
            odd.append(f"the record of a backup is damaged: {cut(text, 80)}")
        else:
            found.append(record)
    return tuple(found)


def _verified(text: str, odd: list[str]) -> dict[str, Any] | None:
    found = read_object(text)
    if found is None or found.get("status") not in ("PASSED", "FAILED") or names.parse_time(found.get("at")) is None:
        odd.append(f"what its last restore drill found is damaged: {cut(text, 80)}")
        return None
    return found


def _moment(answer: StepResult, text: str) -> int:
    """Read seconds since 1970, and refuse a time beyond the calendar."""
    seconds = answer.number(text)
    if not 0 <= seconds < LAST_MOMENT:
        raise answer.bad(f"'{text}' is no time")
    return seconds


def _releases(answer: StepResult, odd: list[str]) -> dict[str, ReleaseOnHost]:
    found = {}
    for name, state, predecessor, about in answer.all("release", 4):
        if state not in ("partial", "staged", "proven", "failed", "other"):
            raise answer.bad(f"release {name[:40]} is '{state[:40]}'")
        if state == "other" or not names.RELEASE.fullmatch(name):
            odd.append(f"releases/{name} was not made by Slipway, and is left alone")
            continue
        if predecessor not in ("", NOTHING) and not names.RELEASE.fullmatch(predecessor):
            odd.append(f"release {name} says that '{predecessor}' ran before it")
            predecessor = ""
        document = _about(name, about)
        if document is None and state != "partial":
            odd.append(f"the release.json of {name} is damaged")
        found[name] = ReleaseOnHost(name, cast(ReleaseState, state), predecessor or None, document or {})
    return found


def _about(release: str, text: str) -> dict[str, Any] | None:
    """Read release.json, if it is what describe() writes for this release; None if it is damaged."""
    found = read_object(text)
    if found is None:
        return None
    slot = found.get("slot")
    fits = (
        found.get("version") == release.partition("-")[2]
        and all(names.SHA256.fullmatch(str(found.get(name))) for name in ("sha256", "config"))
        and (slot is None or (isinstance(slot, str) and names.SLOT.fullmatch(slot)))
        and all(isinstance(found.get(name), str) and len(found[name]) <= names.MAX_TEXT for name in ("artifact", "by"))
    )
    return found if fits else None


def _places(answer: StepResult, tag: str, width: int) -> Iterator[tuple[str, ...]]:
    return answer.all(tag, width, MAX_PLACES)


def _disks(answer: StepResult) -> tuple[Disk, ...]:
    inodes = {path: (answer.number(total), answer.number(free)) for path, total, free in _places(answer, "inodes", 3)}
    return tuple(
        Disk(path, answer.number(size), answer.number(free), writable == "yes", *inodes.get(path, (0, 0)))
        for path, size, free, writable in _places(answer, "disk", 4)
    )
