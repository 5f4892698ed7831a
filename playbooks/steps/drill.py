"""Prove a backup by using it (G9): restore it, compare it, load its dumps, start its release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from playbooks.fleet.remote import Note, Remote
from playbooks.fleet.script import Answer
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.steps.backup import FIELD, as_payload, database_line, secret_lines

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Drilled:
    """What a drill found on a host.

    Args:
        problems: sentences; none means that the backup can be restored.
        seconds: how long it took: what a real restore would take, too.
        started: whether the restored release was started and answered.
    """

    problems: tuple[str, ...]
    seconds: int
    started: bool = False


def drill_release(
    remote: Remote, settings: Settings, record: Record, secrets: Mapping[str, str], *, note: Note | None = None
) -> Drilled:
    """Prove a backup of an application host; nothing of it is left behind.

    Args:
        remote: the host.
        settings: its settings; ``slipway_backup.drill`` says how a restored release is started.
        record: the backup.
        secrets: by name.
        note: called with progress.
    """
    drill = settings.backup.drill
    lines = secret_lines(settings, secrets)
    scratch = {database.name: scratch_name(database) for database in settings.databases}
    first = next(iter(scratch.values()), "")
    lines += [
        FIELD.join(("env", name, value.replace("{database}", first))) for name, value in drill.environment.items()
    ]
    if drill.command:
        lines.append(FIELD.join(("command", drill.command)))
    arguments = [
        settings.home,
        settings.state,
        str(record["id"]),
        str(record["snapshot"]),
        str(record["repository"]),
        str(record.get("release") or "-"),
        settings.run_user,
        settings.app,
        drill.url,
        str(drill.status),
        f"{drill.timeout:.0f}",
    ]
    answer = remote.run(
        "drill_release",
        arguments,
        payload=as_payload(lines),
        unit=f"slipway-{settings.app}-drill",
        timeout=settings.timeouts.command + drill.timeout,
        note=note,
    )
    return _drilled(answer)


def drill_databases(
    remote: Remote,
    settings: Settings,
    databases: Sequence[Database],
    record: Record,
    secrets: Mapping[str, str],
    *,
    action: Literal["load", "drop"],
) -> Drilled:
    """Load a backup's dumps into scratch databases and ask them questions, or drop those again.

    Args:
        remote: the host that dumps the databases.
        settings: its settings.
        databases: which.
        record: the backup.
        secrets: by name.
        action: load or drop.
    """
    lines = secret_lines(settings, secrets)
    for database in databases:
        lines.append(FIELD.join((database_line(database, secrets), str(database.min_tables))))
        lines += [FIELD.join(("check", check)) for check in database.checks]
    answer = remote.run(
        "drill_database",
        [settings.state, str(record["id"]), str(record["snapshot"]), str(record["repository"]), action],
        payload=as_payload(lines),
        unit=f"slipway-{settings.app}-drill-{action}",
        timeout=settings.timeouts.command,
    )
    return _drilled(answer)


def record_drill(remote: Remote, settings: Settings, document: Mapping[str, Any]) -> None:
    """Write what was found where preflight and status read it."""
    remote.run("drill_record", [settings.state, json.dumps(document, ensure_ascii=False)])


def scratch_name(database: Database) -> str:
    """The scratch database that a drill loads a dump into."""
    return f"slipway_drill_{database.name}"


def _drilled(answer: Answer) -> Drilled:
    seconds = answer.maybe("seconds", 1)
    return Drilled(
        problems=tuple(text for (text,) in answer.all("problem", 1)),
        seconds=answer.number(seconds[0]) if seconds else 0,
        started=answer.maybe("started", 1) is not None,
    )
