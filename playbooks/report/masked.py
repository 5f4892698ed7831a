"""A stream that lets no secret through, whoever writes: a hook's output and a unit's log may hold one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TextIO, cast


class Masked(io.TextIOBase):
    """A text stream behind a filter.

    Args:
        stream: where to.
        mask: takes the secrets out of a text.
    """

    def __init__(self, stream: TextIO, mask: Callable[[str], str]) -> None:
        self._stream, self._mask = stream, mask

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def write(self, text: str) -> int:
        self._stream.write(self._mask(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def masked(stream: TextIO, mask: Callable[[str], str]) -> TextIO:
    """The stream, filtered."""
    return cast(TextIO, Masked(stream, mask))
