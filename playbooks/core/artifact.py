"""Define an artifact, and the release that a deploy makes from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class FetchRequest:
    """A host's request. All of it is secret: the URL may be signed, a header may hold a token.

    Args:
        url: the URL without user and password.
        headers: the headers' names and values.
    """

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Store(Protocol):
    """A place that holds artifacts."""

    def request(self) -> FetchRequest:
        """Return the request for the artifact. Each call makes a new one, because a signature expires.

        Raises:
            UsageError: a credential is missing.
        """

    def checksum(self) -> str:
        """Return the text beside the artifact, under its name and ``.sha256``.

        Raises:
            UsageError: the text does not exist or cannot be read.
        """


@dataclass(frozen=True)
class Artifact:
    """An artifact: a tar archive whose root is the release.

    Args:
        version: its version.
        source: the path or URL for a person, without secret parts.
        path: the local file; None if hosts fetch it.
        compression: zstd, gzip, xz or none.
        sha256: its checksum, in hex.
        size: its size in bytes; 0 if hosts fetch it.
        url: the URL for hosts, without secret parts.
        store: makes the hosts' requests.
        why: how its version was found, if no version was named.
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
    """A release, which is the same on every host.

    Args:
        id: the folder's name and the deploy's id: UTC time and version.
        artifact: the artifact that it comes from.
        created: UTC, ISO 8601.
        by: the person who deploys, as user@machine.
    """

    id: str
    artifact: Artifact
    created: str
    by: str

    @property
    def version(self) -> str:
        """Return the artifact's version."""
        return self.artifact.version
