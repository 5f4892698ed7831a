"""Match an inventory's regular expressions with limits, because some take centuries for thirty letters.

Python's `re` cannot be interrupted in a thread. This process matches an expression that cannot take long; any other
has its own process, which is ended if it takes too long or too much memory.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SECONDS = 5.0  # for one expression
ALL_SECONDS = 30.0  # for all that other processes match, including quick ones
MAX_MEMORY = 512 * 1024 * 1024
MAX_RESULT = 16 * 1024 * 1024  # characters
# Steps of a simple expression in this process: some tens of milliseconds.
_FEW_STEPS = 5_000_000

_spent: list[float] = []

_CHILD = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
how, pattern, text, flags, replacement, count = json.load(sys.stdin)
try:
    if how == "subn":
        found = re.subn(pattern, replacement, text, count=count, flags=flags)
    elif how == "findall":
        found = re.findall(pattern, text, flags)
    else:
        match = getattr(re, how)(pattern, text, flags)
        found = match and [match.group(0), *match.groups()]
    json.dump([None, found], sys.stdout)
except (re.error, IndexError, RecursionError) as error:
    json.dump([str(error), None], sys.stdout)
"""


class TooCostly(ValueError):
    """Matching takes too long, or too much memory."""


@dataclass(frozen=True)
class Matched:
    """The match of an expression.

    Args:
        groups: the whole match, then each group; None for a group without a match.
        names: the numbers of named groups.
    """

    groups: tuple[str | None, ...]
    names: dict[str, int]


def search(pattern: str, text: str, flags: int = 0) -> Matched | None:
    """Search as `re.search` does.

    Raises:
        TooCostly: it takes too long, or too much memory.
        re.error: the pattern is invalid.
    """
    return _matched("search", pattern, text, flags)


def match(pattern: str, text: str, flags: int = 0) -> Matched | None:
    """Match as `re.match` does; raises what `search` does."""
    return _matched("match", pattern, text, flags)


def findall(pattern: str, text: str, flags: int = 0) -> list[Any]:
    """Find all as `re.findall` does; raises what `search` does."""
    if is_quick(pattern, text, flags):
        return re.findall(pattern, text, flags)
    return [tuple(one) if isinstance(one, list) else one for one in _elsewhere("findall", pattern, text, flags)]


def subn(pattern: str, replacement: str, text: str, count: int = 0, flags: int = 0) -> tuple[str, int]:
    """Replace as `re.subn` does; raises what `search` does."""
    if is_quick(pattern, text, flags) and (len(text) + 1) * (len(replacement) + len(text)) < MAX_RESULT:
        return re.subn(pattern, replacement, text, count=count, flags=flags)
    made, found = _elsewhere("subn", pattern, text, flags, replacement, count)
    return made, found


def is_quick(pattern: str, text: str, flags: int = 0) -> bool:
    """Return whether matching is quick for every text: no nested repetitions, no back references.

    Raises:
        re.error: the pattern is invalid.
    """
    repeats = _repeats(_parsed(pattern, flags), within=False)
    # Each repetition may begin at every character, and give back every character.
    return repeats is not None and (len(text) + 1) ** (repeats + 1) * (len(pattern) + 1) <= _FEW_STEPS


def _parsed(pattern: str, flags: int) -> Iterable[tuple[Any, Any]]:
    re.compile(pattern, flags)
    from re import _parser  # type: ignore[attr-defined]

    parsed: Iterable[tuple[Any, Any]] = _parser.parse(pattern, flags)
    return parsed


def _repeats(parsed: Iterable[tuple[Any, Any]], *, within: bool) -> int | None:
    """Count an expression's repetitions; None if some are nested, or of an unknown kind."""
    total = 0
    for kind, value in parsed:
        found: int | None = 0
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = value
            found = None if within else _repeats(inner, within=True)
            found = None if found is None else found + (1 if most != least else 0)
            if found is not None and int(most) != int(least) and _branches(inner):
                return None
            if found is not None and int(least) > 1000:
                return None
        elif name == "SUBPATTERN":
            found = _repeats(value[-1], within=within)
        elif name == "BRANCH":
            counts = [_repeats(one, within=within) for one in value[1]]
            found = None if None in counts else sum(count or 0 for count in counts)
        elif name not in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"):
            return None
        if found is None:
            return None
        total += found
    return total


def _branches(parsed: Iterable[tuple[Any, Any]]) -> bool:
    return any(str(kind) == "BRANCH" or (str(kind) == "SUBPATTERN" and _branches(value[-1])) for kind, value in parsed)


def _matched(how: str, pattern: str, text: str, flags: int) -> Matched | None:
    match_it = _here if is_quick(pattern, text, flags) else _elsewhere
    groups = match_it(how, pattern, text, flags, "", 0)
    return None if groups is None else Matched(tuple(groups), dict(re.compile(pattern, flags).groupindex))


def _here(how: str, pattern: str, text: str, flags: int, replacement: str, count: int) -> Any:  # noqa: ANN401
    if how == "subn":
        return re.subn(pattern, replacement, text, count=count, flags=flags)
    if how == "findall":
        return re.findall(pattern, text, flags)
    found = getattr(re, how)(pattern, text, flags)
    return [found.group(0), *found.groups()] if found else None


def _elsewhere(how: str, pattern: str, text: str, flags: int, replacement: str = "", count: int = 0) -> Any:  # noqa: ANN401
    if resource.getrlimit(resource.RLIMIT_CPU)[0] != resource.RLIM_INFINITY:
        # Ours has a limit itself, as for an inventory that is not trusted (contained.py), and may start no other.
        return _here(how, pattern, text, flags, replacement, count)
    if sum(_spent) > ALL_SECONDS:
        raise TooCostly(f"the inventory's regular expressions take more than {ALL_SECONDS:g} s in all")
    began = time.monotonic()
    asked = json.dumps([how, pattern, text, int(flags), replacement, count])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD, str(MAX_MEMORY)],
            input=asked,
            capture_output=True,
            text=True,
            encoding="ascii",
            timeout=SECONDS,
            check=True,
            env={},
        )
    except subprocess.TimeoutExpired:
        raise TooCostly(f"{pattern!r} takes more than {SECONDS:g} s to match") from None
    except subprocess.CalledProcessError:
        raise TooCostly(f"{pattern!r} takes more memory than an expression may have") from None
    finally:
        _spent.append(time.monotonic() - began)
    wrong, found = json.loads(done.stdout)
    if wrong:
        raise re.error(wrong, pattern)
    return found
