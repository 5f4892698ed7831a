"""What a person sees while a task runs and at its end. Importing this costs nothing: Rich comes in when it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from playbooks.fleet.progress import Progress


@contextmanager
def choose(stream: TextIO) -> Iterator[Progress]:
    """A live picture on a terminal, plain lines elsewhere.

    Args:
        stream: standard error.
    """
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI"):
        from playbooks.report.live import Live

        with Live(stream) as live:
            yield live
    else:
        from playbooks.report.plain import Plain

        yield Plain(stream)


def clean(text: str) -> str:
    """Text with its control characters made visible: what a host says must not steer the terminal it is shown on."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0x80 <= code < 0xA0 or code in range(0x202A, 0x202F) or code in range(0x2066, 0x206A):
        return "\ufffd"
    return character
