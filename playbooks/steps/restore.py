"""Restore from a backup: a release into its folder, or everything into a separate folder (A6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.steps.backup import as_payload, backup_values, secret_lines, with_hint

Record = Mapping[str, Any]


def restore_release(remote: Remote, settings: Settings, record: Record, secrets: Mapping[str, str]) -> None:
    """Restore a release into its folder, and compare each file with the manifest.

    Args:
        remote: the host.
        settings: its settings.
        record: the record of the backup.
        secrets: the values by name.

    Raises:
        StepFailed: the restore failed; the folder is as it was.
    """
    _restore(remote, settings, record, secrets, "release", str(record["release"]))


def restore_files(remote: Remote, settings: Settings, record: Record, secrets: Mapping[str, str], folder: str) -> int:
    """Restore everything in a backup into a separate folder.

    Returns:
        The number of files.

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
    values = {
        "home": settings.home,
        **backup_values(settings, record),
        "what": what,
        "target": target,
        "bytes": str(record.get("bytes", 0)),
    }
    try:
        answer = remote.run(
            "restore",
            values=values,
            payload=as_payload(secret_lines(settings, secrets)),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    files, _ = answer.one("restored", 2)
    return answer.number(files)
