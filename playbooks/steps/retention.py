"""Let old backups expire (A2). A deploy never does this: it needs the backup, not the clean-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from playbooks.core import names
from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Keep
from playbooks.steps.backup import as_payload, repository, secret_lines, with_hint

MAX_STRANGE = 5


@dataclass(frozen=True)
class Expired:
    """What retention did on a host.

    Args:
        ids: of the backups that are gone.
        strange: sentences about what is in the repository and cannot be ours; it was left alone.
    """

    ids: tuple[str, ...]
    strange: tuple[str, ...] = ()


def apply_retention(remote: Remote, settings: Settings, secrets: Mapping[str, str]) -> Expired:
    """Forget and prune what ``slipway_backup.keep`` does not keep.

    Raises:
        StepFailed: restic could not; every backup that is recorded is still there.
    """
    host = remote.name
    try:
        answer = remote.run(
            "retention",
            [settings.state, repository(settings, host), host, settings.app, *_options(settings.backup.keep)],
            payload=as_payload(secret_lines(settings, secrets)),
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
