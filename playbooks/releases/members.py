"""Read a local artifact's members in the background, because unpacking a large one takes a while."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, cast

from playbooks.core.artifact import Artifact
from playbooks.core.confined import ask
from playbooks.releases import tar_reading
from playbooks.steps.stage import BUILD_AGAIN, COMPRESS_AGAIN

# zstd by itself refuses a window that would take more memory; xz would take up to four gigabytes.
PROGRAMS = {
    "zstd": ["zstd", "-dcq"],
    "gzip": ["gzip", "-dc"],
    "xz": ["xz", "-dc", "--memory=256MiB"],
    "none": ["cat"],
}

# Hosts refuse such an artifact too.
LARGE_WINDOW = (
    "the artifact is compressed with a window of more than 128 MB (zstd --long or --ultra, or a "
    "dictionary of xz); that would take as much memory on every host"
)


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


def _read(artifact: Artifact) -> Members:
    assert artifact.path is not None  # noqa: S101 - only local ones come here
    with artifact.path.open("rb") as source, tempfile.TemporaryFile() as complaints:
        program = PROGRAMS[artifact.compression]
        with subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=complaints) as running:
            answered = ask(tar_reading.__name__, tar_reading.LIMITS, cast(IO[bytes], running.stdout))
        if not answered.whole:
            return UNKNOWN
        if running.returncode == 0:
            return Members(answered.lines[0])
        complaints.seek(0)
        said = " ".join(complaints.read(500).decode("utf-8", "replace").split())
        if running.returncode == -signal.SIGPIPE:
            return UNKNOWN  # the archive is too large to be read here
        if any(words in said for words in ("too much memory", "Use --long=", "Memory usage limit")):
            return Members(None, LARGE_WINDOW, COMPRESS_AGAIN)
        return Members(None, f"the artifact cannot be read as an archive: {said}", BUILD_AGAIN)
