"""Restore from a backup: a release to its place, or everything into a folder (A6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.steps.backup import as_payload, secret_lines, with_hint

Record = Mapping[str, Any]


def restore_release(remote: Remote, settings: Settings, record: Record, secrets: Mapping[str, str]) -> None:
    """Put a release back where it was, compared file by file with its manifest.

    Args:
        remote: the host.
        settings: its settings.
        record: the backup that has it.
        secrets: by name.

    Raises:
        StepFailed: it cannot be had; what stood there is still there.
    """
    _restore(remote, settings, record, secrets, "release", str(record["release"]))


def restore_files(remote: Remote, settings: Settings, record: Record, secrets: Mapping[str, str], folder: str) -> int:
    """Restore everything of a backup into a folder of its own.

    Returns:
        How many files.

    Raises:
        StepFailed: the folder is not empty, or the backup is damaged.
    """
    return _restore(remote, settings, record, secrets, "files", folder)


def _restore(
    remote: Remote,
    settings: Settings,
    record: Record,
    secrets: Mapping[str, str],
    what: Literal["release", "files"],
    target: str,
) -> int:
    arguments = [
        settings.home,
        settings.state,
        str(record["snapshot"]),
        str(record["repository"]),
        str(record["id"]),
        what,
        target,
        str(record.get("bytes", 0)),
    ]
    try:
        answer = remote.run(
            "restore",
            arguments,
            payload=as_payload(secret_lines(settings, secrets)),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    files, _ = answer.one("restored", 2)
    return answer.number(files)
