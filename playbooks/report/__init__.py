"""What a person sees while a task runs and at its end. Importing this costs nothing: Rich comes in when it is used."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from playbooks.fleet.progress import Progress

# Control characters of the second kind, changes of writing direction, and halves of characters.
_STEERING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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


@contextmanager
def still(stream: TextIO) -> Iterator[Progress]:
    """Plain lines everywhere, for what reaches no host.

    Args:
        stream: standard error.
    """
    from playbooks.report.plain import Plain

    yield Plain(stream)


def clean(text: str) -> str:
    """Text with its control characters made visible: what a host says must not steer the terminal it is shown on."""
    return "".join(_visible(character) for character in text)


def json_text(document: object, stream: TextIO) -> str:
    """A JSON document, indented; what would steer a terminal or cannot be encoded is escaped.

    Args:
        document: what `json.dumps` takes.
        stream: where it goes. JSON is UTF-8: for any other encoding it is written in ASCII.
    """
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=2, ensure_ascii=not unicode)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if _STEERING.match(character):
        return "\ufffd"
    return character
