"""Read what the running release was rendered to, for a dry run's diffs (A7)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from playbooks.fleet.remote import Remote
from playbooks.settings import Settings


@dataclass(frozen=True)
class OnHost:
    """Rendered files as they are on a host, by name."""

    files: dict[str, bytes]
    units: dict[str, bytes]


def read_rendered(remote: Remote, settings: Settings) -> OnHost:
    """Read the running release's configuration and unit files.

    Raises:
        BadAnswer: the host's answer makes no sense.
    """
    answer = remote.run("rendered", [settings.home])

    def decoded(tag: str) -> dict[str, bytes]:
        try:
            return {name: base64.b64decode(text, validate=True) for name, text in answer.all(tag, 2)}
        except ValueError:  # binascii.Error too
            raise answer.bad(f"{tag} is not base64") from None

    return OnHost(decoded("file"), decoded("unit"))
