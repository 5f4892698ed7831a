"""Restore a database without losing the present one, which stays under another name (C3)."""

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
    """Load a dump into a new database, ask it the drill's questions, and swap names.

    Args:
        remote: the host that dumps it.
        settings: its settings.
        database: which one.
        record: the backup that has its dump.
        secrets: by name.
        stamp: for the name the old one keeps.

    Returns:
        The name under which the old one is kept; empty if there was none.

    Raises:
        StepFailed: the old one is still in place.
    """
    try:
        answer = remote.run(
            "restore_database",
            [
                settings.state,
                str(record["snapshot"]),
                str(record["repository"]),
                str(record["id"]),
                stamp,
                # The step has its end before its controller gives it up.
                str(max(1, round(settings.timeouts.command * 9 / 10))),
            ],
            payload=as_payload([*secret_lines(settings, secrets), *database_lines(database, secrets)]),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    return answer.one("restored", 2)[1]
