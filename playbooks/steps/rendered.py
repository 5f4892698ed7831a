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
        files, units: the release's rendered files and units.
        installed: the units that systemd reads, if they differ.
        sums: the SHA-256 of each deployed file, by path in the release.
    """

    files: dict[str, bytes]
    units: dict[str, bytes]
    installed: dict[str, bytes] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def is_as_deployed(self, name: str, content: bytes | None, *, unit: bool = False) -> bool:
        """Return whether a file or unit was deployed with this content; with None, whether it was not deployed at all.

        Args:
            name: the file's or unit's name.
            content: its content; None if there is no such file.
            unit: whether it is a unit.
        """
        known = self.sums.get(f"./.slipway/unit-files/{name}" if unit else f"./{name}")
        return known == (None if content is None else sha256(content).hexdigest())


def read_rendered(remote: Remote, settings: Settings) -> OnHost:
    """Read the running release's configuration and unit files.

    Raises:
        BadAnswer: the answer is malformed.
    """
    answer = remote.run("rendered", values={"home": settings.home})

    def decoded(tag: str) -> dict[str, bytes]:
        try:
            return {name: base64.b64decode(text, validate=True) for name, text in answer.all(tag, 2)}
        except ValueError:  # binascii.Error too
            raise answer.bad(f"{tag} is not base64") from None

    sums = {record[0]: record[1] for record in answer.all("sum", 2)}
    return OnHost(decoded("file"), decoded("unit"), decoded("installed"), sums)
