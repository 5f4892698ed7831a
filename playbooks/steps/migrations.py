"""What a database's migrations are, and one of them applied or taken back (C1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from playbooks.core.errors import BadAnswer, StepFailed
from playbooks.core.names import cut
from playbooks.core.step_codes import StepCode
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import MAX_RECORDS, StepResult
from playbooks.migrations.pending import Applied, RecordState
from playbooks.migrations.sql_files import Direction, Migration, MigrationPhase
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.steps.backup import as_line, as_payload

# Of all files of a folder; each statement is a line that a shell reads.
MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 2000
_FILE = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}|")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z|")
ROW_FIELDS = 15

HINTS = {
    StepCode.MIGRATION_LOCK: "end what holds the lock, or wait until it ends, and do the same again",
    StepCode.MIGRATION_BUSY: "invoke migrations {flag} shows who; wait for it to end",
    StepCode.MIGRATION: "correct it, or take it out of the release, and deploy again; invoke migrations {flag} shows "
    "where the database stands",
    StepCode.MIGRATION_HALF: "correct what is wrong, and do the same again: it goes on with that statement",
    StepCode.MIGRATION_UNKNOWN: "when it answers again: invoke migrations {flag}",
    StepCode.MIGRATION_TOOL: "correct it, and deploy again; invoke migrations {flag} shows the status that the "
    "running release's tool gives",
    StepCode.DATABASE: "is the database up, and are user and password of its migrations right? See invoke migrations "
    "{flag}",
}


@dataclass(frozen=True)
class DatabaseState:
    """What a database's server says.

    Args:
        server: PostgreSQL's version as a number, e.g. 150018.
        replica: whether it only repeats what another server does.
        port: the server's own port; 0 if it is reached by a socket.
        bytes: the database's size.
        busy: seconds for which somebody has migrated it; None if nobody does.
        taken: a sentence if a user of the database who does not migrate it holds the lock of migrations; else empty.
        invalid: indexes that are not whole, as schema.name.
        applied: its migrations.
        rehearsal: the last rehearsal of what a deploy applies, as it was kept; empty for none.
        contract_rehearsal: the last one of contracts.
    """

    server: int
    replica: bool
    port: int
    bytes: int
    busy: int | None
    invalid: tuple[str, ...]
    applied: tuple[Applied, ...]
    rehearsal: str = ""
    contract_rehearsal: str = ""
    taken: str = ""


@dataclass(frozen=True)
class MigrationJob:
    """One migration to apply or to take back.

    Args:
        migration: the migration.
        direction: up or down.
        first: the first statement that is not done yet, from 1.
        by, deploy: who does it, and the deploy's id, for the table of migrations.
        rehearsal: the scratch database to do it in, and to trace it; None for the real one.
    """

    migration: Migration
    direction: Direction
    by: str
    deploy: str
    first: int = 1
    rehearsal: str | None = None


@dataclass(frozen=True)
class Migrated:
    """What one migration took.

    Args:
        label: the migration.
        direction: up or down.
        milliseconds: of each statement, in order; 0 for those that an earlier task did.
        tries: how often it was begun, because of locks.
        locks: in a rehearsal: by table and mode, the statement that took the lock, from 1.
        rewrites: in a rehearsal: tables that were written anew, each with the statement.
    """

    label: str
    direction: Direction
    milliseconds: tuple[int, ...]
    tries: int
    locks: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rewrites: tuple[tuple[str, int], ...] = ()

    @property
    def seconds(self) -> float:
        """How long its statements took together."""
        return sum(self.milliseconds) / 1000


def read_sql(remote: Remote, settings: Settings, release: str, folder: str) -> dict[str, bytes]:
    """Read the SQL files of a release on a host, by name.

    Args:
        remote: a host that has the release.
        settings: its settings.
        release: the release's id.
        folder: the folder in the release.

    Raises:
        StepFailed: the release has no such folder, or it is too large.
    """
    values = {
        "home": settings.home,
        "user": settings.run_user,
        "release": release,
        "folder": folder,
        "most_bytes": str(MAX_BYTES),
    }
    answer = remote.run("migration_files", values=values, timeout=settings.timeouts.command)
    files: dict[str, bytes] = {}
    for name, content in answer.all("file", 2, MAX_FILES):
        try:
            files[answer.fitting(_FILE, name, "name of a SQL file")] = base64.b64decode(content, validate=True)
        except binascii.Error:
            raise answer.bad("a file is not in base64") from None
    return files


def read_state(remote: Remote, settings: Settings, database: Database, secrets: Mapping[str, str]) -> DatabaseState:
    """Read which migrations a database has.

    Args:
        remote: the host that reaches it.
        settings: its settings.
        database: the database.
        secrets: the values by name.

    Raises:
        StepFailed: the database cannot be asked.
    """
    answer = remote.run(
        "migration_state",
        values={"state": settings.state, "user": settings.run_user},
        payload=as_payload([connection(database, secrets)]),
        timeout=90,
    )
    server, recovery, port, size = answer.one("server", 4)
    busy = answer.maybe("busy", 3)
    taken = _taken(answer, busy, database) if busy else ""
    return DatabaseState(
        server=answer.number(server),
        replica=recovery == "t",
        port=answer.number(port),
        bytes=answer.number(size),
        busy=answer.number(busy[1]) if busy and not taken else None,
        invalid=tuple(cut(f"{schema}.{name}") for schema, name in answer.all("invalid", 2)),
        applied=_rows(answer, database),
        rehearsal=(answer.maybe("rehearsal", 1) or ("",))[0],
        contract_rehearsal=(answer.maybe("contract_rehearsal", 1) or ("",))[0],
        taken=taken,
    )


def _taken(answer: StepResult, busy: Sequence[str], database: Database) -> str:
    """Say who has the lock of migrations, which every user of a database can take and keep; empty for a task's own."""
    pid, _, user = busy
    if database.migrating_user is None or user == database.migrating_user[0]:
        return ""
    return (
        f"the lock of migrations of {database.name} is held by its user {cut(user, 63)}, who does not migrate it; run "
        f"there, as a superuser, select pg_terminate_backend({answer.number(pid)}), and see why that user takes it"
    )


def keep_rehearsal(
    remote: Remote, settings: Settings, database: Database, document: str, phase: MigrationPhase
) -> None:
    """Keep a rehearsal's certificate on the database's host.

    Args:
        remote: the host that reaches the database.
        settings: its settings.
        database: the database.
        document: one line of JSON.
        phase: whether it was one of contracts.
    """
    values = {"state": settings.state, "database": database.name, "phase": phase}
    remote.run("keep_rehearsal", values=values, payload=f"{document}\n".encode(), acts=True)


def migrate(
    remote: Remote,
    settings: Settings,
    database: Database,
    secrets: Mapping[str, str],
    job: MigrationJob,
    *,
    note: Note | None = None,
) -> Migrated:
    """Apply a migration, or take it back.

    Args:
        remote: the host that reaches the database.
        settings: its settings.
        database: the database.
        secrets: the values by name.
        job: the migration.
        note: called with each progress message.

    Raises:
        StepFailed: it failed; the sentence says what stays of it.
    """
    file = job.migration.up if job.direction == "up" else job.migration.down
    assert file is not None and database.migrations is not None  # nobody asks for it  # noqa: S101
    limits = database.migrations
    seconds = settings.timeouts.total
    lines = [
        connection(database, secrets, job.rehearsal),
        as_line(
            *("migration", job.migration.id, job.migration.name, job.migration.phase),
            *(job.migration.up.sha256, job.migration.down.sha256 if job.migration.down else "", job.direction),
        ),
        as_line(
            "limits",
            _milliseconds(file.lock_timeout or limits.lock_timeout),
            _milliseconds(file.statement_timeout or limits.statement_timeout),
            str(round(limits.patience)),
            str(round(seconds)),
        ),
        as_line(
            "run",
            "yes" if file.transaction else "no",
            str(job.first),
            job.by,
            job.deploy,
            "yes" if job.rehearsal else "no",
        ),
    ]
    for statement in file.statements:
        text = base64.b64encode(statement.text.encode()).decode()
        lines.append(as_line("statement", str(statement.line), *(statement.index or ("", "")), text))
    values = {"user": settings.run_user}
    answer = remote.run("migrate", values=values, payload=as_payload(lines), acts=True, timeout=seconds, note=note)
    times = {answer.number(number): answer.number(took) for number, took in answer.all("statement", 2)}
    tries = answer.maybe("tries", 1)
    return Migrated(
        job.migration.label,
        job.direction,
        tuple(times.get(number, 0) for number in range(1, len(file.statements) + 1)),
        answer.number(tries[0]) if tries else 1,
        _locks(answer),
        tuple((cut(table), answer.number(number)) for number, table in answer.all("rewrite", 2)),
    )


def _locks(answer: StepResult) -> dict[tuple[str, str], int]:
    """Return by table and mode the first statement after which the lock was there."""
    found: dict[tuple[str, str], int] = {}
    for number, mode, table in answer.all("lock", 3, MAX_RECORDS):
        key = (cut(table), answer.fitting(_FILE, mode, "lock mode"))
        found[key] = min(found.get(key, answer.number(number)), answer.number(number))
    return found


def with_hint(error: StepFailed, flag: str) -> StepFailed:
    """Return the error with the hint that belongs to the step's code."""
    hint = HINTS.get(error.code)
    error.hint = error.hint or (hint.replace("{flag}", flag) if hint else None)
    return error


def connection(database: Database, secrets: Mapping[str, str], name: str | None = None) -> str:
    """Build the payload line with the connection of the user that migrates.

    Args:
        database: the database.
        secrets: the values by name.
        name: a scratch copy of it.
    """
    user = database.migrating_user
    assert user is not None  # a database without one has no migrations  # noqa: S101
    # The local socket knows users of the system, and this one is the database's.
    server = (database.host or "127.0.0.1", str(database.port), user[0], secrets[user[1]], database.served_by or "")
    return as_line("database", name or database.name, *server)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _rows(answer: StepResult, database: Database) -> tuple[Applied, ...]:
    rows = []
    for record in answer.records:
        if record.tag != "row":
            continue
        try:
            rows.append(_row(answer, record.fields))
        except (BadAnswer, ValueError):
            raise StepFailed(
                f"the table slipway.migrations of database {database.name} has a row that Slipway did not write",
                host=answer.host,
                step=answer.step,
                code=StepCode.MIGRATION_TABLE,
                hint="look at it with psql: select * from slipway.migrations",
            ) from None
        if len(rows) > MAX_RECORDS:
            break
    return tuple(rows)


def _row(answer: StepResult, fields: Sequence[str]) -> Applied:
    if len(fields) != ROW_FIELDS:
        raise ValueError
    id_, name, phase, direction, state, up, down, statement, statements, by, deploy, started, ended, took, error = (
        fields
    )
    if phase not in get_args(MigrationPhase) or direction not in get_args(Direction):
        raise ValueError
    return Applied(
        id=answer.fitting(_FILE, id_, "id"),
        name=answer.fitting(_FILE, name, "name"),
        phase="contract" if phase == "contract" else "expand",
        direction="down" if direction == "down" else "up",
        state=RecordState(state),
        up_sha256=answer.fitting(_SHA256, up, "SHA-256"),
        down_sha256=answer.fitting(_SHA256, down, "SHA-256"),
        statement=answer.number(statement),
        statements=answer.number(statements),
        by=cut(by),
        deploy=cut(deploy),
        started=answer.fitting(_TIME, started, "time"),
        ended=answer.fitting(_TIME, ended, "time"),
        milliseconds=answer.number(took),
        error=cut(error),
    )
