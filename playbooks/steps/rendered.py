"""Read the rendered files of the running release, for a dry run's diffs (A7)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from hashlib import sha256

from playbooks.fleet.remote import Remote
from playbooks.settings import Settings


@dataclass(frozen=True)
class OnHost:
    """Rendered files as they are on a host, by name.

    Args:
        files, units: what the release has of them.
        installed: units that systemd reads, where they are others.
        sums: SHA-256 of what was deployed, by path in the release.
    """

    files: dict[str, bytes]
    units: dict[str, bytes]
    installed: dict[str, bytes] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def is_as_deployed(self, name: str, content: bytes | None, *, unit: bool = False) -> bool:
        """Whether a content is what a file, or a unit, was deployed with; of one that was not deployed there is none.

        Args:
            name: of the file, or the unit.
            content: that; None: there is no such file.
            unit: whether it is a unit.
        """
        known = self.sums.get(f"./.slipway/unit-files/{name}" if unit else f"./{name}")
        return known == (None if content is None else sha256(content).hexdigest())


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

    sums = {record[0]: record[1] for record in answer.all("sum", 2)}
    return OnHost(decoded("file"), decoded("unit"), decoded("installed"), sums)
