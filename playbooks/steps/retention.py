"""Remove expired backups (A2). A deploy does not do this, because it would only take time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.core import names
from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Database, Keep
from playbooks.steps.backup import as_payload, method_lines, repository, secret_lines, with_hint

MAX_STRANGE = 5


@dataclass(frozen=True)
class Expired:
    """The result of retention on a host.

    Args:
        ids: the ids of the removed backups.
        strange: sentences about snapshots that are not ours; they were left alone.
    """

    ids: tuple[str, ...]
    strange: tuple[str, ...] = ()


def apply_retention(
    remote: Remote, settings: Settings, databases: Sequence[Database], secrets: Mapping[str, str]
) -> Expired:
    """Remove the backups that ``slipway_backup.keep`` does not keep.

    Args:
        remote: the host.
        settings: its settings.
        databases: those that it backs up.
        secrets: the values by name.

    Raises:
        StepFailed: restic failed; every recorded backup is still there.
    """
    host = remote.name
    ways = [line for database in databases for line in method_lines(settings, database, secrets)]
    try:
        answer = remote.run(
            "retention",
            _options(settings.backup.keep),
            values={
                "app": settings.app,
                "state": settings.state,
                "user": settings.run_user,
                "host": host,
                "repository": repository(settings, host),
            },
            payload=as_payload([*secret_lines(settings, secrets), *ways]),
            acts=True,
            timeout=settings.timeouts.command,
        )
    except StepFailed as error:
        raise with_hint(error, settings) from None
    ids = (answer.fitting(names.BACKUP, id_, "backup's id") for (id_,) in answer.all("expired", 1, names.MAX_BACKUPS))
    strange = (names.cut(sentence) for (sentence,) in answer.all("strange", 1, names.MAX_BACKUPS))
    return Expired(tuple(ids), tuple(strange)[:MAX_STRANGE])


def _options(keep: Keep) -> list[str]:
    options = ["--keep-within", keep.within, "--keep-last", str(keep.last)]
    for name in ("daily", "weekly", "monthly"):
        count = getattr(keep, name)
        if count:
            options += [f"--keep-{name}", str(count)]
    return options
