"""Reading the lock files, requirements*.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent
# Each holds all of the one before it.
LOCKS = ("requirements.txt", "requirements-s3.txt", "requirements-dev.txt")
_HEAD = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)(?:\s*;\s*(.+?))?\s*\\?")
_HASH = re.compile(r"\s*--hash=sha256:([0-9a-f]{64})\s*\\?")


@dataclass(frozen=True)
class Locked:
    """One package as a lock file has it.

    Args:
        name: its name as the index spells it, normalized (PEP 503).
        version: the one version.
        marker: where it is needed (PEP 508); "" for everywhere.
        hashes: SHA-256 of each file of that version, in hex.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def runs_here(self) -> bool:
        """Whether it is needed where Slipway runs: CPython on Linux."""
        return not self.marker or Marker(self.marker).evaluate(
            {"sys_platform": "linux", "platform_python_implementation": "CPython", "implementation_name": "cpython"}
        )


def read_lock(file: Path) -> list[Locked]:
    """The packages of a lock file.

    Raises:
        ValueError: a line is none that script/lock writes.
    """
    found: list[Locked] = []
    for name, version, marker, hashes in _entries(file):
        found.append(Locked(canonicalize_name(name), version, marker, tuple(hashes)))
    return found


def _entries(file: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    entry: tuple[str, str, str, list[str]] | None = None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if entry and (pinned := _HASH.fullmatch(line)):
            entry[3].append(pinned[1])
        elif head := _HEAD.fullmatch(line):
            if entry:
                yield entry
            entry = (head[1], head[2], head[3] or "", [])
        else:
            raise ValueError(f"{file}:{number}: neither a package with one version nor a hash: {line}")
    if entry:
        yield entry
