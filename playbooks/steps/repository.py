"""Whether a host's backup repository opens, without changing anything."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.steps.backup import as_payload, repository, secret_lines, with_hint


def open_repository(remote: Remote, settings: Settings, secrets: Mapping[str, str]) -> None:
    """Open it. One that is not there yet is made by the first backup.

    Raises:
        StepFailed: it does not open: the password is another's, the store does not answer, or it is gone.
    """
    payload = as_payload(secret_lines(settings, secrets))
    arguments = [settings.state, repository(settings, remote.name)]
    try:
        remote.run("repository", arguments, payload=payload, timeout=60.0)
    except StepFailed as error:
        raise with_hint(error, settings) from None
