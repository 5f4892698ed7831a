"""Restore a database. The present one stays under another name (C3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.steps.backup import as_payload, database_lines, secret_lines, with_hint


def restore_database(
    remote: Remote,
    settings: Settings,
    database: Database,
    record: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    stamp: str,
) -> str:
    """Load a dump into a new database, run the drill's questions on it, and swap the names.

    Args:
        remote: the host that dumps it.
        settings: its settings.
        database: the database.
        record: the record of the backup that holds its dump.
        secrets: the values by name.
        stamp: a part of the old database's new name.

    Returns:
        The old database's new name; empty if there was no old database.

    Raises:
        StepFailed: the restore failed; the old database is still in place.
    """
    try:
        answer = remote.run(
            "restore_database",
            values={
                "app": settings.app,
                "state": settings.state,
                "user": settings.run_user,
                "id": str(record["id"]),
                "snapshot": str(record["snapshot"]),
                "repository": str(record["repository"]),
                "stamp": stamp,
                # The step must end before the controller stops waiting.
                "database_limit": str(max(1, round(settings.timeouts.command * 9 / 10))),
            },
            payload=as_payload([*secret_lines(settings, secrets), *database_lines(database, secrets)]),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    return answer.one("restored", 2)[1]
