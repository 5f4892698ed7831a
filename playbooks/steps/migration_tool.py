"""The application's own migration tool, run in a release on a host (C1)."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from playbooks.core.names import cut
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import StepResult
from playbooks.migrations.tools import ToolStatus, commands_of, read_status
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.settings.migrations import Migrations
from playbooks.steps.backup import as_line, as_payload
from playbooks.steps.migrations import connection

What = Literal["up", "down", "status"]
MAX_LINES, MAX_LINE = 1000, 300  # of a tool's output


@dataclass(frozen=True)
class ToolJob:
    """A run of a tool.

    Args:
        release: the release's id; it is on the host.
        what: up or down.
        command: the command.
        lock: whether the tool holds the database's lock of migrations.
    """

    release: str
    what: What
    command: str
    lock: bool


@dataclass(frozen=True)
class ToolRan:
    """How a tool's command ended.

    Args:
        before, after: its status.
        exit: the command's exit status.
        ended: how it ended, for a sentence, with the last line that it wrote.
        log: the last lines of a command that failed.
        milliseconds: how long it took.
        kept: whether the lock was held to the end, where it was asked for.
    """

    before: ToolStatus
    after: ToolStatus
    exit: int
    ended: str
    log: tuple[str, ...]
    milliseconds: int
    kept: bool


def look(remote: Remote, settings: Settings, database: Database, release: str) -> ToolStatus:
    """Read the status of a database's tool. The tool changes nothing.

    Args:
        remote: a host of the application.
        settings: its settings.
        database: the database.
        release: the release's id; it is on the host.

    Raises:
        StepFailed: the tool cannot be run.
    """
    migrations = _migrations(database)
    values = _values(settings, migrations, release, "status", 300)
    answer = remote.run("migration_tool", values=values, payload=as_payload(_lines(migrations, {})), timeout=360)
    return _status(migrations, answer, "before")


def run_tool(
    remote: Remote,
    settings: Settings,
    database: Database,
    secrets: Mapping[str, str],
    job: ToolJob,
    *,
    note: Note | None = None,
) -> ToolRan:
    """Run a database's tool, and read its status before and after.

    Args:
        remote: a host of the application.
        settings: its settings.
        database: the database.
        secrets: the values by name.
        job: what to run.
        note: called with each progress message.

    Raises:
        StepFailed: the tool cannot be run, or another task migrates the database. A tool that fails is no error here.
    """
    migrations = _migrations(database)
    lines = _lines(migrations, {job.what: job.command})
    if job.lock:
        lines.append(connection(database, secrets))
    # The tool ends before nobody listens any more. What is left behind then is taken away.
    seconds = min(settings.timeouts.total, remote.deadline - time.monotonic()) - 30
    answer = remote.run(
        "migration_tool",
        values=_values(settings, migrations, job.release, job.what, max(30, seconds)),
        payload=as_payload(lines),
        acts=True,
        timeout=settings.timeouts.total,
        note=note,
    )
    exit_status, took, ended = answer.one("ran", 3)
    return ToolRan(
        before=_status(migrations, answer, "before"),
        after=_status(migrations, answer, "after"),
        exit=answer.number(exit_status),
        ended=cut(ended),
        log=tuple(cut(line, MAX_LINE) for (line,) in answer.all("log", 1)),
        milliseconds=answer.number(took),
        kept=answer.maybe("pooled", 0) is None and answer.maybe("gone", 0) is None,
    )


def _environment(migrations: Migrations) -> dict[str, str]:
    """Return the variables that a tool gets. The step puts the limits before what PGOPTIONS has, which libpq reads."""
    limits = {"lock_timeout": migrations.lock_timeout, "statement_timeout": migrations.statement_timeout}
    options = " ".join(f"-c {name}={max(1, round(seconds * 1000))}" for name, seconds in limits.items())
    return {**migrations.environment, "SLIPWAY_LIMITS": options}


def _migrations(database: Database) -> Migrations:
    assert database.migrations is not None  # nobody asks for it  # noqa: S101
    return database.migrations


def _values(settings: Settings, migrations: Migrations, release: str, what: What, seconds: float) -> dict[str, str]:
    return {
        "app": settings.app,
        "home": settings.home,
        "user": settings.run_user,
        "release": release,
        "what": what,
        "file": migrations.environment_file or "-",
        "seconds": str(round(seconds)),
        "patience": str(round(migrations.patience)),
    }


def _lines(migrations: Migrations, commands: Mapping[str, str]) -> list[str]:
    """Return the payload's lines."""
    wanted = {"status": commands_of(migrations).status, **commands}
    given = "".join(f'{name}="{_quoted(value)}"\n' for name, value in _environment(migrations).items())
    return [
        *(as_line("command", what, _base64(f"{command}\n")) for what, command in wanted.items()),
        as_line("environment", _base64(given)),
    ]


def _quoted(value: str) -> str:
    """Return a value for between double quotes in a file of EnvironmentFile=, see systemd.exec(5)."""
    return "".join(f"\\{one}" if one in '"\\`$' else one for one in value)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _status(migrations: Migrations, answer: StepResult, when: str) -> ToolStatus:
    found = next((exit_ for at, exit_ in answer.all("status", 2) if at == when), None)
    if found is None:
        raise answer.bad(f"no status {when} in it")
    lines = [cut(line, MAX_LINE) for (line,) in answer.all(when, 1, MAX_LINES)]
    return read_status(migrations, lines, answer.number(found))
