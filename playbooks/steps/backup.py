"""Back up one host (A2): its release, its data and its databases, as one restic snapshot with a record beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.errors import StepFailed
from playbooks.fleet.remote import Note, Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Database

FIELD = "\037"

HINTS = {
    "wrong-password": "slipway_backup.password names the secret; is it the one the repository was made with?",
    "no-repository": "find out what became of it; to begin anew, remove the records in /var/lib/slipway/APP/backups",
    "no-space": "make room where the repository is, or shorten slipway_backup.keep",
    "database": "is the database up? invoke health --env=…",
    "locked": "wait for it to end, then try again",
    "missing-tool": "invoke provision --env=… installs it",
}


@dataclass(frozen=True)
class Job:
    """What to back up on a host.

    Args:
        id: the backup's id, the same on every host of a run.
        kind: application or database.
        release: the running release, if any.
        version: its version, or the fleet's.
        databases: those that this host dumps.
    """

    id: str
    kind: str
    release: str | None
    version: str
    databases: tuple[Database, ...] = ()


def back_up(
    remote: Remote, settings: Settings, job: Job, secrets: Mapping[str, str], *, note: Note | None = None
) -> dict[str, Any] | None:
    """Back up a host.

    Args:
        remote: the host.
        settings: its settings.
        job: what to back up.
        secrets: by name.
        note: called with progress.

    Returns:
        The record, as the host keeps it; None if there was nothing to back up.

    Raises:
        StepFailed: there is no backup; the sentence says why.
    """
    lines = [*secret_lines(settings, secrets), *(database_line(database, secrets) for database in job.databases)]
    if job.kind == "application":
        lines += [FIELD.join(("path", path)) for path in settings.backup.paths]
        lines += [FIELD.join(("sqlite", path)) for path in settings.backup.sqlite]
        lines += [FIELD.join(("exclude", path)) for path in settings.backup.exclude]
    try:
        answer = remote.run(
            "backup",
            [
                settings.home,
                settings.state,
                job.id,
                job.release or "-",
                job.version,
                repository(settings, remote.name),
                remote.name,
                job.kind,
            ],
            payload=as_payload(lines),
            unit=f"slipway-{settings.app}-backup-{job.id}-{job.kind}",
            timeout=settings.timeouts.command,
            note=note,
        )
    except StepFailed as error:
        error.hint = error.hint or HINTS.get(error.code)
        raise
    record = answer.maybe("record", 1)
    if record is None:
        return None
    try:
        document = json.loads(record[0])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise answer.bad("the record is no JSON object")
    return document


def repository(settings: Settings, host: str) -> str:
    """Where a host's backups go."""
    return settings.backup.repository.replace("{app}", settings.app).replace("{host}", host)


def secret_lines(settings: Settings, secrets: Mapping[str, str]) -> list[str]:
    """restic's password and what else its repository needs, for a step's payload."""
    named = {"RESTIC_PASSWORD": settings.backup.password, **settings.backup.environment}
    return [FIELD.join(("secret", variable, secrets[name])) for variable, name in named.items()]


def database_line(database: Database, secrets: Mapping[str, str]) -> str:
    """How to reach a database, for a step's payload."""
    password = secrets[database.password] if database.password else ""
    return FIELD.join(("database", database.name, database.host or "", str(database.port), database.user, password))


def as_payload(lines: Sequence[str]) -> bytes:
    """Lines for a step's standard input. An empty last field would be lost to the shell, so a mark ends each."""
    return "".join(f"{line}{FIELD}.\n" for line in lines).encode()
