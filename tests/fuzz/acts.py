"""What code asks Python for while it is watched: files, programs, connections."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ACTS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.getaddrinfo")
_READS = ("open", "os.listdir", "os.scandir")
_PROJECT = Path(__file__).resolve().parent.parent.parent
# Modules that are imported when they are first needed; and where Python looks for them.
_CODE = (
    *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")),
    *(_PROJECT / name for name in ("playbooks", "tests")),
)
_seen: list[tuple[str, str]] | None = None
_hooked: list[bool] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is not None and event.startswith((*_ACTS, *_READS)):
        about = arguments[0] if arguments else ""
        _seen.append((event, os.fsdecode(about) if isinstance(about, (str, bytes, os.PathLike)) else str(about)))


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    """Events and what they are about, as they come. A hook of Python's cannot be removed: this one sleeps besides."""
    global _seen
    if not _hooked:
        sys.addaudithook(_note)
        _hooked.append(True)
    seen: list[tuple[str, str]] = []
    _seen = seen
    try:
        yield seen
    finally:
        _seen = None


def outside(seen: list[tuple[str, str]], inside: Path) -> list[str]:
    """What is neither reading below a folder nor importing a module."""
    found = []
    for event, about in seen:
        real = Path(os.path.realpath(about))
        reads = event.startswith(_READS) and (real == _PROJECT or any(map(real.is_relative_to, (inside, *_CODE))))
        imports = event == "os.listdir" and about in ("", *sys.path)
        if not reads and not imports:
            found.append(f"{event} {about}")
    return found
