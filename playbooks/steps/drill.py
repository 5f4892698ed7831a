"""Prove a backup by a restore drill (G9): restore, compare, load the dumps, start the release, clean up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.core.names import cut
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import MAX_RECORDS, StepResult
from playbooks.settings import Settings
from playbooks.settings.backup import SCRATCH_DATABASE, Database
from playbooks.steps.backup import as_line, as_payload, backup_values, database_lines, secret_lines, with_hint

Record = Mapping[str, Any]

# PostgreSQL's socket folder on Debian and RHEL.
SOCKETS = "/run/postgresql"
# PostgreSQL cuts names at 63 bytes; drill.sh makes the same name.
LONGEST_NAME = 63
MAX_PROBLEMS = 100  # taken from one host
MAX_LINES = 8


@dataclass(frozen=True)
class Drilled:
    """The result of one part of a drill on a host.

    Args:
        problems: sentences; empty if everything passed.
        restored: whether the drill restored anything, even if it is damaged.
        started: whether the restored release was started and answered.
        log: the last lines of the release's log, if it did not answer.
        unproven: sentences about what was not restored, or not asked by the release.
    """

    problems: tuple[str, ...]
    restored: bool = False
    started: bool = False
    log: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


def drill(
    remote: Remote,
    settings: Settings,
    databases: Sequence[Database],
    record: Record,
    secrets: Mapping[str, str],
    *,
    note: Note | None = None,
) -> Drilled:
    """Check the repository, restore a backup into a scratch folder, compare it, load and query its dumps.

    The restored files stay for `drill_start` until `drill_end` removes them.

    Args:
        remote: the host.
        settings: its settings.
        databases: those that this host dumps.
        record: the backup.
        secrets: the values by name.
        note: called with each progress message.

    Raises:
        StepFailed: the drill itself could not run.
    """
    lines = [*secret_lines(settings, secrets), *_database_lines(settings, databases, secrets)]
    values = {
        "app": settings.app,
        "home": settings.home,
        **backup_values(settings, record),
        "folder": _folder(settings),
        "bytes": str(record.get("bytes", 0)),
        # The step must end before the controller stops waiting.
        "sqlite_limit": str(max(1, round(settings.timeouts.command / 3))),
    }
    try:
        answer = remote.run(
            "drill",
            values=values,
            payload=as_payload(lines),
            unit=f"slipway-{settings.app}-drill",
            timeout=settings.timeouts.command,
            note=note,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    unproven = tuple(cut(text) for (text,) in answer.all("unproven", 1, MAX_RECORDS))[:MAX_PROBLEMS]
    return Drilled(_problems(answer), restored=answer.maybe("restored", 1) is not None, unproven=unproven)


def drill_start(remote: Remote, settings: Settings, release: str, databases: Sequence[Database]) -> Drilled:
    """Start the restored release on a spare port in its own root, check its health, and stop it.

    Args:
        remote: the host, after `drill`.
        settings: its settings; ``slipway_backup.drill`` says how a restored release is started.
        release: the release in the backup.
        databases: this host's databases; the release reaches their scratch copies by the server's socket.

    Raises:
        StepFailed: the drill itself could not run.
    """
    tried = settings.backup.drill
    parents = [path.rpartition("/")[0] for path in settings.backup.sqlite]
    lines = [as_line("env", name, _fill(text, settings.databases)) for name, text in tried.environment.items()]
    lines += [as_line("data", path) for path in dict.fromkeys([*settings.backup.paths, *parents]) if path]
    lines += [as_line("read", path) for path in tried.read_only]
    sockets = (SOCKETS if database.host is None else database.host for database in databases)
    lines += [as_line("socket", path) for path in dict.fromkeys(sockets) if path.startswith("/")]
    values = {
        "app": settings.app,
        "home": settings.home,
        "user": settings.run_user,
        "folder": _folder(settings),
        "release": release,
        "command": tried.command or "",
        "url": tried.url,
        "status": str(tried.status),
        "timeout": str(max(1, round(tried.timeout))),
    }
    try:
        answer = remote.run(
            "drill_start",
            values=values,
            payload=as_payload(lines),
            unit=f"slipway-{settings.app}-drill-start",
            timeout=settings.timeouts.command + tried.timeout,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    log = tuple(cut(text) for (text,) in answer.all("log", 1))[:MAX_LINES]
    return Drilled(_problems(answer), started=answer.maybe("started", 1) is not None, log=log)


def drill_checks(
    remote: Remote, settings: Settings, databases: Sequence[Database], secrets: Mapping[str, str]
) -> tuple[str, ...]:
    """Ask the user's queries of the scratch databases again, after something has changed them.

    Args:
        remote: the host, after `drill`.
        settings: its settings.
        databases: those whose scratch copies are asked.
        secrets: the values by name.

    Returns:
        A sentence for each query that does not answer as it should.

    Raises:
        StepFailed: the databases could not be asked.
    """
    answer = remote.run(
        "drill_checks",
        values={"state": settings.state, "limit": str(max(1, round(settings.timeouts.command / 3)))},
        payload=as_payload(_database_lines(settings, databases, secrets)),
        timeout=settings.timeouts.command,
    )
    answer.one("asked", 0)
    return _problems(answer)


def drill_end(
    remote: Remote,
    settings: Settings,
    databases: Sequence[Database],
    secrets: Mapping[str, str],
    document: Mapping[str, Any] | None,
) -> list[str]:
    """Remove what the drill made on a host, and record its result if it completed.

    Returns:
        A sentence for each thing that could not be removed.
    """
    answer = remote.run(
        "drill_end",
        values={
            "app": settings.app,
            "state": settings.state,
            "folder": _folder(settings),
            "user": settings.run_user,
            "document": json.dumps(document, ensure_ascii=False) if document else "",
        },
        payload=as_payload(_database_lines(settings, databases, secrets)),
        unit=f"slipway-{settings.app}-drill-end",
        timeout=settings.timeouts.command,
    )
    return [text for (text,) in answer.all("left", 1)]


def scratch_name(database: Database) -> str:
    """Return the name of the scratch database for a dump; cut_name in postgres.sh makes the same name."""
    name = SCRATCH_DATABASE + database.name
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(database.name.encode()).hexdigest()[:8]}"


def _problems(answer: StepResult) -> tuple[str, ...]:
    return tuple(cut(text) for (text,) in answer.all("problem", 1, MAX_RECORDS))[:MAX_PROBLEMS]


def root_directory(settings: Settings) -> str:
    """Return the folder on a host in which a drill restores, as the root directory of what it starts."""
    return f"{_folder(settings)}/root"


def _folder(settings: Settings) -> str:
    return f"{settings.backup.drill.folder or settings.state}/slipway-drill-{settings.app}"


def _fill(text: str, databases: Sequence[Database]) -> str:
    for index, database in enumerate(databases):
        text = text.replace(f"{{database.{database.name}}}", scratch_name(database))
        if index == 0:
            text = text.replace("{database}", scratch_name(database))
    return text


def _database_lines(settings: Settings, databases: Sequence[Database], secrets: Mapping[str, str]) -> list[str]:
    return [line for database in databases for line in database_lines(settings, database, secrets)]
