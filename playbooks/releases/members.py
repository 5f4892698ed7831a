"""The members of an artifact on this machine, read in the background, since a large one takes a while to unpack."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, cast

from playbooks.core.artifact import Artifact
from playbooks.steps.stage import BUILD_AGAIN, COMPRESS_AGAIN

PROGRAMS = {"zstd": ["zstd", "-dcq"], "gzip": ["gzip", "-dc"], "xz": ["xz", "-dc"], "none": ["cat"]}

# Hosts refuse it as well.
LARGE_WINDOW = (
    "the artifact is compressed with a window of more than 128 MB (zstd --long or --ultra); that would take as much "
    "memory on every host"
)


@dataclass(frozen=True)
class Members:
    """What was read.

    Args:
        modes: of each file, by its path; -1 for a link. None where only a host can tell.
        damaged: why it cannot be read; empty where it can.
        hint: what to do about that.
    """

    modes: Mapping[str, int] | None
    damaged: str = ""
    hint: str | None = None


UNKNOWN = Members(None)


def begin_reading(artifact: Artifact) -> Callable[[], Members]:
    """Begin to read an artifact.

    Args:
        artifact: which; one that hosts fetch themselves is not known here.

    Returns:
        Waits for what was read.
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
    """A member's path without what means nothing in it."""
    return str(PurePosixPath(name))


def _read(artifact: Artifact) -> Members:
    assert artifact.path is not None  # noqa: S101 - only local ones come here
    with artifact.path.open("rb") as source, tempfile.TemporaryFile() as complaints:
        program = PROGRAMS[artifact.compression]
        with subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=complaints) as running:
            out = cast(IO[bytes], running.stdout)
            modes: dict[str, int] | None = {}
            try:
                with tarfile.open(fileobj=out, mode="r|") as tar:
                    modes = {plain(member.name): _mode(member) for member in tar if not member.isdir()}
            except (tarfile.TarError, OSError, ValueError):
                modes = None  # of a kind that tar reads and Python does not, or damaged: the decompressor tells which
            while out.read(1024 * 1024):  # to its end, so that its status is its own
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
