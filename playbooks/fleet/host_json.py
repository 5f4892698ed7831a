"""Read a host's JSON and refuse values that could harm the code that uses them later."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 32  # the deepest that hosts write, a ledger record, has 4
MAX_DIGITS = 19  # of a whole number, with its sign


def read_object(text: str) -> dict[str, Any] | None:
    """Read a JSON object from a host's answer.

    It refuses text that is not JSON, and: deep nesting, which would exhaust the stack of recursive code; lone
    surrogates, which cannot be printed; NaN and infinities, which would make --json's document invalid; integers
    that are too long to convert.

    Args:
        text: the host's text.

    Returns:
        The object; None if it is refused.
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
    """Return whether a value is nested deeper than this."""
    if not isinstance(value, (dict, list)):
        return False
    kids = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(kid, depth - 1) for kid in kids)
