"""JSON that a host keeps, read so that nothing in it can harm the code that shows or counts it later."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32  # the deepest honest one, a ledger record, has 4
MAX_DIGITS = 19  # of a whole number, with its sign


def read_object(text: str) -> dict[str, Any] | None:
    """A JSON object out of a host's answer.

    Refused besides what is not JSON: deep nesting, which would exhaust the stack of whoever walks it; halves of
    characters, which nothing can print; NaN and infinities, which are not JSON and would spoil --json's document; whole
    numbers that no other number can be made of.

    Args:
        text: what the host says.

    Returns:
        The object, or None if it is none or is refused.
    """
    try:
        found = _DECODER.decode(text)
        if "\\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and not _deeper(found, MAX_DEPTH) else None


def _refuse(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(text[:MAX_DIGITS])
    return int(text)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_whole)


def _deeper(value: object, depth: int) -> bool:
    """Whether a value is nested deeper than this."""
    if not isinstance(value, (dict, list)):
        return False
    kids = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(kid, depth - 1) for kid in kids)
