"""Compare a release's migrations with what a database has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from playbooks.migrations.sql_files import Direction, Migration, MigrationPhase, order


class RecordState(StrEnum):
    """What the table of migrations says of each."""

    APPLIED = "applied"
    REVERTED = "reverted"
    RUNNING = "running"  # begun and not ended
    FAILED = "failed"


@dataclass(frozen=True)
class Applied:
    """A row of the table of migrations.

    Args:
        id, name, phase: the migration.
        direction: whether it was applied or taken back, at last.
        state: see `RecordState`.
        up_sha256, down_sha256: of its files; "" for none.
        statement, statements: how many statements are done, of how many.
        by, deploy: who ran it, and the deploy's id.
        started, ended: UTC, ISO 8601; "" for none.
        milliseconds: how long its statements took.
        error: why it failed.
    """

    id: str
    name: str
    phase: MigrationPhase
    direction: Direction
    state: RecordState
    up_sha256: str
    down_sha256: str
    statement: int
    statements: int
    by: str
    deploy: str
    started: str
    ended: str
    milliseconds: int
    error: str = ""

    @property
    def label(self) -> str:
        """The migration in a message."""
        return f"{self.id}_{self.name}"

    @property
    def is_there(self) -> bool:
        """Whether the database has it, or a part of it."""
        if self.state in (RecordState.APPLIED, RecordState.REVERTED):
            return self.state == RecordState.APPLIED
        return self.direction == "down" or self.statement > 0

    @property
    def is_half(self) -> bool:
        """Whether some of its statements are done, and some are not."""
        return self.state in (RecordState.RUNNING, RecordState.FAILED) and self.statement > 0

    @property
    def next_statement(self) -> int:
        """The first statement that is not done."""
        return self.statement + 1 if self.is_half else 1


@dataclass(frozen=True)
class Pending:
    """What a release and a database lack of each other.

    Args:
        expand: to be applied before the release runs, in order.
        contract: to be applied when nothing needs the old schema.
        half: one that was begun and not ended; the first of those to be applied.
        problems: sentences; nothing may be applied while there are some.
        newer: expands of a later release, which this one does not know. It works with them: that is what an expand is.
    """

    expand: tuple[Migration, ...]
    contract: tuple[Migration, ...]
    half: Applied | None
    problems: tuple[str, ...]
    newer: tuple[str, ...] = ()


def compare(migrations: Sequence[Migration], applied: Sequence[Applied], *, database: str) -> Pending:
    """Find what is to be applied.

    Args:
        migrations: the release's, in order.
        applied: the rows of the table of migrations.
        database: its name, for messages.
    """
    known = {migration.id: migration for migration in migrations}
    rows = {row.id: row for row in applied if row.is_there}
    done = {id_ for id_, row in rows.items() if row.state == RecordState.APPLIED}
    missing = [migration for migration in migrations if migration.id not in done]
    expand = tuple(one for one in missing if one.phase == "expand")
    contract = tuple(one for one in missing if one.phase == "contract")
    newer = _newer(known, rows)
    strangers = [row.label for id_, row in rows.items() if id_ not in known and row not in newer]
    problems = [*_strangers(strangers, database), *_changed(known, rows, database), *_half_back(rows, database)]
    problems += _out_of_order(migrations, rows, expand, database)
    half = next((row for row in rows.values() if row.is_half and row.direction == "up" and row.id in known), None)
    return Pending(expand, contract, half, tuple(problems), tuple(row.label for row in newer))


def _newer(known: dict[str, Migration], rows: dict[str, Applied]) -> list[Applied]:
    """Whole expands that come after all that the release knows: those of a later release, from before a rollback."""
    key = order([*known, *rows])
    last = max(map(key, known), default=None)
    return [
        row
        for id_, row in rows.items()
        if id_ not in known
        and row.phase == "expand"
        and row.state == RecordState.APPLIED
        and (last is None or key(id_) > last)
    ]


def _strangers(found: Sequence[str], database: str) -> list[str]:
    """Those that the release does not know, and that may keep it from working."""
    if not found:
        return []
    return [
        f"{database} has {', '.join(found)}, which this release does not know: deploy a release that does, or take "
        "them back with the release that does"
    ]


def _changed(known: dict[str, Migration], rows: dict[str, Applied], database: str) -> list[str]:
    return [
        f"{one.up.path} is not the file that was applied to {database}: its SHA-256 was {row.up_sha256[:12]}…, and is "
        f"{one.up.sha256[:12]}…. Put the old file back, and write what is new into a new migration"
        for one in known.values()
        if (row := rows.get(one.id)) and row.is_there and row.up_sha256 != one.up.sha256
    ]


def _half_back(rows: dict[str, Applied], database: str) -> list[str]:
    return [
        f"{row.label} was being taken back from {database}, and stopped after statement {row.statement} of "
        f"{row.statements}: {row.error or 'its task ended'}. Take it back first: invoke migrate with --to"
        for row in rows.values()
        if row.state != RecordState.APPLIED and row.direction == "down"
    ]


def _out_of_order(
    migrations: Sequence[Migration], rows: dict[str, Applied], expand: Sequence[Migration], database: str
) -> list[str]:
    """An expand that would come after a later one: it was never tried in that order."""
    key = order([*(migration.id for migration in migrations), *rows])
    done = [row for row in rows.values() if row.state == RecordState.APPLIED and row.phase == "expand"]
    last = max(done, key=lambda row: key(row.id), default=None)
    if last is None:
        return []
    late = [one.label for one in expand if key(one.id) < key(last.id)]
    if not late:
        return []
    return [
        f"{', '.join(late)} comes before {last.label}, which {database} has already: give it an id that comes after"
    ]
