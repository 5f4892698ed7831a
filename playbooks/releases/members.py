"""Read a local artifact's members in the background, because unpacking a large one takes a while."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Self, cast

from playbooks.core.artifact import Artifact
from playbooks.steps.stage import BUILD_AGAIN, COMPRESS_AGAIN

PROGRAMS = {"zstd": ["zstd", "-dcq"], "gzip": ["gzip", "-dc"], "xz": ["xz", "-dc"], "none": ["cat"]}

# Hosts refuse such an artifact too.
LARGE_WINDOW = (
    "the artifact is compressed with a window of more than 128 MB (zstd --long or --ultra); that would take as much "
    "memory on every host"
)


MAX_HEADER = 1024 * 1024  # bytes; a name has at most 4096
_IN_MEMORY = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class PlainMember(tarfile.TarInfo):
    """A member whose headers are short. Python keeps headers in memory, and some kilobytes can unpack to gigabytes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read the block with which a member begins.

        Raises:
            tarfile.ReadError: what follows it would be kept in memory, and is too long, or as long as it likes.
        """
        found = super().frombuf(buf, encoding, errors)
        if found.type == tarfile.GNUTYPE_SPARSE or (found.type in _IN_MEMORY and found.size > MAX_HEADER):
            raise tarfile.ReadError("a header that is too long, or a sparse file")
        return found


@dataclass(frozen=True)
class Members:
    """The members of an artifact.

    Args:
        modes: each file's mode by path; -1 for a link. None if only a host can read the archive.
        damaged: why the artifact cannot be read; empty if it can.
        hint: what to do about the damage.
    """

    modes: Mapping[str, int] | None
    damaged: str = ""
    hint: str | None = None


UNKNOWN = Members(None)


def begin_reading(artifact: Artifact) -> Callable[[], Members]:
    """Begin to read an artifact.

    Args:
        artifact: the artifact; if hosts fetch it, nothing is read.

    Returns:
        A function that waits for the result.
    """
    if artifact.path is None or not shutil.which(PROGRAMS[artifact.compression][0]):
        return lambda: UNKNOWN
    found: list[Members] = []
    thread = threading.Thread(target=lambda: found.append(_read(artifact)), name="artifact", daemon=True)
    thread.start()

    def wait() -> Members:
        thread.join()
        return found[0] if found else UNKNOWN

    return wait


def plain(name: str) -> str:
    """Return a member's path without parts that have no meaning."""
    return str(PurePosixPath(name))


def _read(artifact: Artifact) -> Members:
    assert artifact.path is not None  # noqa: S101 - only local ones come here
    with artifact.path.open("rb") as source, tempfile.TemporaryFile() as complaints:
        program = PROGRAMS[artifact.compression]
        with subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=complaints) as running:
            out = cast(IO[bytes], running.stdout)
            modes: dict[str, int] | None = {}
            try:
                with tarfile.open(fileobj=out, mode="r|", tarinfo=PlainMember) as tar:
                    modes = {plain(member.name): _mode(member) for member in tar if not member.isdir()}
            except (tarfile.TarError, OSError, ValueError):
                modes = None  # damaged, or of a kind that only tar reads: the decompressor's status tells which
            while out.read(1024 * 1024):  # to the end, so that closing early does not change the exit status
                pass
        if running.returncode == 0:
            return Members(modes)
        complaints.seek(0)
        said = " ".join(complaints.read(500).decode("utf-8", "replace").split())
        if "too much memory" in said or "Use --long=" in said:
            return Members(None, LARGE_WINDOW, COMPRESS_AGAIN)
        return Members(None, f"the artifact cannot be read as an archive: {said}", BUILD_AGAIN)


def _mode(member: tarfile.TarInfo) -> int:
    return member.mode if member.isreg() else -1
