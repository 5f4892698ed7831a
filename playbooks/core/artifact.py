"""What is deployed: an artifact, and the release that one deploy makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class FetchRequest:
    """What a host asks for. All of it is secret: the URL may be signed, a header may hold a token.

    Args:
        url: without user and password.
        headers: names and values.
    """

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Store(Protocol):
    """A place that holds artifacts."""

    def request(self) -> FetchRequest:
        """What a host asks for to get the artifact; made anew at each call, since a signature grows old.

        Raises:
            UsageError: it cannot be made; a credential is missing.
        """

    def checksum(self) -> str:
        """The text beside the artifact, under its name and ``.sha256``.

        Raises:
            UsageError: there is none, or it cannot be had.
        """


@dataclass(frozen=True)
class Artifact:
    """An artifact: a tar archive whose root is the release.

    Args:
        version: what it is called.
        source: path or URL, as a person would name it; without what is secret in a URL.
        path: the local file, or None where hosts fetch it themselves.
        compression: zstd, gzip, xz or none.
        sha256: its checksum, in hex.
        size: bytes; 0 where hosts fetch it.
        url: where hosts fetch it, without what is secret in it.
        store: tells what hosts ask for.
        why: how its version was found, where nobody named one.
    """

    version: str
    source: str
    path: Path | None
    compression: str
    sha256: str
    size: int
    url: str | None = None
    store: Store | None = field(default=None, repr=False, compare=False)
    why: str = ""


@dataclass(frozen=True)
class Release:
    """What is the same on every host.

    Args:
        id: folder name and the deploy's id: UTC time and version.
        artifact: what it is unpacked from.
        created: UTC, ISO 8601.
        by: user@machine.
    """

    id: str
    artifact: Artifact
    created: str
    by: str

    @property
    def version(self) -> str:
        """The artifact's version."""
        return self.artifact.version
