"""What a rehearsal has shown, and whether a deploy may rely on it (C1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from playbooks.core.names import MAX_AHEAD, cut, parse_time
from playbooks.fleet.host_json import read_object
from playbooks.migrations.sql_files import Migration, MigrationPhase

# PostgreSQL's manual, 13.3: what each of these keeps others from. A weaker one keeps nobody from reading or writing.
BLOCKS_READERS = frozenset({"AccessExclusiveLock"})
BLOCKS_WRITERS = frozenset({"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"})
MAX_LINES = 20  # of what is lost, in a certificate
MAX_OBJECTIONS = 20  # of those that a certificate names

Proof = Literal["passed", "failed", "not tried"]


@dataclass(frozen=True)
class Rehearsed:
    """One migration in a rehearsal.

    Args:
        id, name, phase: the migration.
        up_sha256, down_sha256: of its files; "" for none.
        milliseconds: of each statement, in order.
        held: by table, how long in milliseconds a lock that blocks was held, and its mode.
        rewrites: tables that were written anew.
        lossy: what is not as before when it is taken back; empty if all is.
        reversible: whether it has a way back.
    """

    id: str
    name: str
    up_sha256: str
    down_sha256: str
    milliseconds: tuple[int, ...]
    held: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    reversible: bool = True
    phase: MigrationPhase = "expand"

    @property
    def label(self) -> str:
        """The migration in a message."""
        return f"{self.id}_{self.name}"


@dataclass(frozen=True)
class Certificate:
    """What the rehearsal of one database has shown.

    Args:
        database: its name.
        at: when, UTC, ISO 8601.
        by: who.
        version: the release whose migrations they are; that which runs, where contracts were rehearsed.
        source: the backup that was restored, or "now" for a copy made for it.
        before, after: the schema's fingerprint.
        bytes, grown: the copy's size before, and how much larger it was after.
        migrations: in order.
        tables: the size of each table in bytes.
        running: the version of the release that ran, if it was tried.
        old_release, new_release: whether the release that runs, and the new one, started on the migrated copy.
        why: why a proof failed or was not tried, by "old_release" and "new_release".
        written: tables that a release wrote to when it was started, so that their rows could not be compared.
        checks: which of the drill's checks do not hold on the migrated copy, as sentences.
    """

    database: str
    at: str
    by: str
    version: str
    source: str
    before: str
    after: str
    bytes: int
    grown: int
    migrations: tuple[Rehearsed, ...]
    tables: Mapping[str, int] = field(default_factory=dict)
    running: str = ""
    old_release: Proof = "not tried"
    new_release: Proof = "not tried"
    why: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)


@dataclass(frozen=True)
class Budget:
    """What a deploy asks of a rehearsal.

    Args:
        max_age: seconds.
        lock: how long a lock that keeps readers or writers out may be held, in seconds.
        table: bytes; smaller tables may be locked for longer.
    """

    max_age: float
    lock: float
    table: int


def read_certificate(text: str) -> Certificate | None:
    """Read a certificate that a host has kept; None if it is none, or has what no rehearsal writes."""
    # Only those need it who migrate.
    from pydantic import TypeAdapter, ValidationError

    if read_object(text) is None:
        return None
    try:
        found = TypeAdapter(Certificate).validate_json(text, strict=True)
    except (ValidationError, ValueError):
        return None
    return found if parse_time(found.at) else None


def objections(
    certificate: Certificate | None,
    pending: Sequence[Migration],
    fingerprint: str,
    running: frozenset[str],
    budget: Budget,
    now: datetime,
) -> Iterator[str]:
    """Yield why a deploy must not rely on a rehearsal.

    Args:
        certificate: the last rehearsal's; None if there was none.
        pending: the migrations that would be applied.
        fingerprint: of the real database's schema.
        running: the versions of the releases that run.
        budget: what is allowed.
        now: the time.
    """
    if not pending:
        return
    if certificate is None:
        yield "they were not rehearsed"
        return
    known = {(one.id, one.up_sha256) for one in certificate.migrations}
    new = [one.label for one in pending if (one.id, one.up.sha256) not in known]
    if new:
        version = cut(certificate.version)
        yield f"{', '.join(new)} was not in the last rehearsal, that of {version}, or its file was another"
    at = parse_time(certificate.at) or now
    age = (now - at).total_seconds()
    if at > now + MAX_AHEAD:
        yield "the rehearsal has a time that is yet to come"
    if age > budget.max_age:
        yield f"the rehearsal is {age / 3600:.0f} h old, and {budget.max_age / 3600:.0f} h are allowed"
    if certificate.before != fingerprint:
        yield "the schema is not the one that was rehearsed: somebody has changed it, or the backup was older"
    if not _ran_then(certificate, running):
        now_there = ", ".join(map(cut, sorted(running)[:MAX_OBJECTIONS]))
        yield f"{now_there} runs, and {cut(certificate.running)} was tried on the new schema: another release ran then"
    yield from failed_proofs(certificate)
    yield from islice(over_budget(certificate, {one.id for one in pending}, budget), MAX_OBJECTIONS)


def speaks_against(
    certificate: Certificate | None, pending: Sequence[Migration], running: frozenset[str]
) -> Iterator[str]:
    """Yield why these migrations break a release, where nobody asked for a rehearsal, and one was held.

    Args:
        certificate: the last rehearsal's; None if there was none.
        pending: the migrations that would be applied.
        running: the versions of the releases that run.
    """
    if certificate is None or not pending or not _ran_then(certificate, running):
        return
    known = {(one.id, one.up_sha256) for one in certificate.migrations}
    if all((one.id, one.up.sha256) in known for one in pending):
        yield from failed_proofs(certificate)


def _ran_then(certificate: Certificate, running: frozenset[str]) -> bool:
    """Return whether the release that was tried still runs. Others may run beside it: half a rollout, an idle group."""
    return not certificate.running or not running or certificate.running in running


def failed_proofs(certificate: Certificate) -> Iterator[str]:
    """Yield which release does not work with the new schema, and which checks do not hold there."""
    for release, name, proof in (
        ("release that runs", "old_release", certificate.old_release),
        ("new release", "new_release", certificate.new_release),
    ):
        if proof == "failed":
            why = cut(certificate.why.get(name, ""))
            yield f"the {release} does not work with the new schema{f' ({why})' if why else ''}"
    for sentence in certificate.checks[:MAX_LINES]:
        yield f"on the new schema, {cut(sentence)}"


def over_budget(certificate: Certificate, pending: set[str], budget: Budget) -> Iterator[str]:
    """Yield which migrations kept others waiting for too long.

    Args:
        certificate: the rehearsal's.
        pending: the ids of the migrations that count.
        budget: what is allowed.
    """
    for one in certificate.migrations:
        for table, (mode, took) in one.held.items():
            if one.id not in pending or took <= 1000 * budget.lock or certificate.tables.get(table, 0) < budget.table:
                continue
            whom = "readers and writers" if mode in BLOCKS_READERS else "writers"
            size = certificate.tables.get(table, 0) / 1e6
            yield (
                f"{cut(one.label)} kept {whom} of {cut(table)} ({size:.0f} MB) waiting for {took / 1000:.1f} s, and "
                f"{budget.lock:g} s are allowed"
            )


def held(locks: Mapping[tuple[str, str], int], milliseconds: Sequence[int]) -> dict[str, tuple[str, int]]:
    """Return by table how long others would wait: from the statement that takes the lock to the transaction's end.

    Args:
        locks: by table and mode, the statement that took the lock, from 1.
        milliseconds: of each statement.
    """
    found: dict[str, tuple[str, int]] = {}
    for (table, mode), number in locks.items():
        took = sum(milliseconds[max(0, number - 1) :])
        if mode in BLOCKS_WRITERS and (
            table not in found
            or (took, mode == "AccessExclusiveLock") > (found[table][1], found[table][0] == "AccessExclusiveLock")
        ):
            found[table] = (mode, took)
    return found


def lost(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return what differs between a schema before a migration and after it was taken back, as sentences."""
    gone = [f"{line} is gone" for line in before if line not in set(after)]
    new = [f"{line} is new" for line in after if line not in set(before)]
    return [*gone, *new][:MAX_LINES]
