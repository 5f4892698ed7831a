"""Check that a host's backup repository opens, without changing anything."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.steps.backup import as_payload, repository, secret_lines, with_hint


def open_repository(remote: Remote, settings: Settings, secrets: Mapping[str, str]) -> None:
    """Open the repository. A missing one is no error, because the first backup makes it.

    Raises:
        StepFailed: the password is wrong, the store does not answer, or the repository is gone.
    """
    payload = as_payload(secret_lines(settings, secrets))
    values = {"state": settings.state, "repository": repository(settings, remote.name), "user": settings.run_user}
    try:
        remote.run("repository", values=values, payload=payload, timeout=60.0)
    except StepFailed as error:
        raise with_hint(error, settings) from None
