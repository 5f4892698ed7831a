"""Set up standard input, output and error so that writing cannot fail.

A task may run with a terminal in another encoding, a closed pipe (``| head``), a full disk behind ``>``, or without
any of the streams. Its work on hosts must continue anyway, and the exit status must report it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import sys
from pathlib import Path
from typing import TextIO, cast

STANDARD_ERROR = 2
ERRORS = "slipway"
# One character each, so that tables and cut lines keep their width.
GLYPHS = {
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
    **dict.fromkeys("–—╌─━", "-"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("‘’", "'"),
    "…": "~",
    "→": ">",
    "✓": "+",
    "✗": "x",
    "×": "x",
    "·": ".",
    "≤": "<",
    "≥": ">",
    "\ufffd": "?",
    "\xa0": " ",
}


class Outlet(io.RawIOBase):
    """A file descriptor that hides write errors from its writer.

    Args:
        number: the descriptor.

    Attributes:
        lost: why something was not written; None if everything was.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.lost: OSError | None = None

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """Return True, even after an error."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write everything; after an error, write nothing more."""
        left = memoryview(data)
        size = left.nbytes
        while left and self.lost is None:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:  # another process has set the shared pipe to non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self.lost = error
        return size


def prepare() -> None:
    """Make the three standard streams safe to use, before any output. It is safe to repeat."""
    codecs.register_error(ERRORS, _shown)
    while (number := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass  # else a connection would get the descriptor of a closed stream (2>&-)
    os.close(number)
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as long as we are
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.stdout = _safe(sys.stdout, 1)
    sys.stderr = _safe(sys.stderr, STANDARD_ERROR)


def lost(stream: TextIO) -> OSError | None:
    """Return why output to a stream is missing; None if none is.

    Args:
        stream: standard output or error.
    """
    with contextlib.suppress(AttributeError, ValueError):
        stream.flush()
        raw = getattr(stream.buffer, "raw", None)
        return raw.lost if isinstance(raw, Outlet) else None
    return None


def is_deserted(stream: TextIO) -> bool:
    """Return whether nobody reads a stream any more: a pipe whose other end is closed (``| head``).

    Args:
        stream: standard output or error.
    """
    try:
        raw = getattr(stream.buffer, "raw", None)
        if isinstance(raw, Outlet) and isinstance(raw.lost, BrokenPipeError):
            return True
        looked = select.poll()
        looked.register(stream.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in looked.poll(0))
    except (AttributeError, OSError, ValueError):
        return False


def is_unwritable(stream: TextIO) -> bool:
    """Return whether output to a stream is lost, because nobody reads it or the disk is full.

    Args:
        stream: standard output or error.
    """
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return (isinstance(raw, Outlet) and raw.lost is not None) or is_deserted(stream)


def _safe(stream: TextIO | None, number: int) -> TextIO:
    """Return the stream with safe writing; a stream that is not the system's own (a test's) stays as it is."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if stream is not None:
        try:
            if stream.fileno() != number or isinstance(getattr(stream.buffer, "raw", None), Outlet):
                return stream
            stream.flush()
        except (AttributeError, OSError, ValueError):
            return stream
    raw = Outlet(number)
    return io.TextIOWrapper(
        io.BufferedWriter(cast(io.RawIOBase, raw)),
        encoding=encoding,
        errors=ERRORS,
        line_buffering=raw.isatty() or number == STANDARD_ERROR,
    )


def _shown(error: UnicodeError) -> tuple[str, int]:
    """Return a replacement for characters that the encoding lacks: a similar one, or else the number.

    A byte of a file name that is not UTF-8 is shown as a byte.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_like, error.object[error.start : error.end])), error.end


def _like(character: str) -> str:
    if character in GLYPHS:
        return GLYPHS[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")
