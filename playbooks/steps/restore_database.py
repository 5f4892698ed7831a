"""Restore a database. The present one stays under another name (C3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.steps.backup import as_payload, backup_values, database_lines, method_lines, secret_lines, with_hint


def restore_database(
    remote: Remote,
    settings: Settings,
    database: Database,
    record: Mapping[str, Any],
    secrets: Mapping[str, str],
    *,
    beside: Sequence[Database],
    stamp: str,
    before: str | None = None,
    overruled: bool = False,
) -> str:
    """Put a backup of a database in the place of what is there, if the drill's questions to it are answered well.

    Args:
        remote: the host that backs it up.
        settings: its settings.
        database: the database.
        record: the record of the backup.
        secrets: the values by name.
        beside: all databases that the host backs up.
        stamp: a part of the old database's new name.
        before: the id of a backup of what is there now; methods that overwrite it go back to that if they fail.
        overruled: restore also where other databases go back with it.

    Returns:
        The old database's new name; empty if it is not kept in that way.

    Raises:
        StepFailed: the restore failed; the sentence says what is in place now.
    """
    ways = [line for one in beside for line in method_lines(settings, one, secrets) if one.name != database.name]
    try:
        answer = remote.run(
            "restore_database",
            values={
                "app": settings.app,
                **backup_values(settings, record),
                "stamp": stamp,
                "before": before or "-",
                "overruled": "yes" if overruled else "no",
                # The step must end before the controller stops waiting.
                "database_limit": str(max(1, round(settings.timeouts.command * 9 / 10))),
            },
            payload=as_payload([*secret_lines(settings, secrets), *ways, *database_lines(settings, database, secrets)]),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    return answer.one("restored", 2)[1]
