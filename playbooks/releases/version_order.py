"""Find the newest of several versions, if their names order them clearly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion
from packaging.version import Version as Pep440

# A prefix before the number: v1.2.3, release-1.2.3, build-17.
_PREFIX = re.compile(r"^[A-Za-z]+[-_.]?(?=\d)")
# https://semver.org/spec/v2.0.0.html, 2, 9 and 10; build metadata is left out of the order (10).
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z.-]+)?"
)
# 2026-11-29, 20261129, 2026.11.29-2, 20261129T0815.
_DATE = re.compile(r"(?:19|20)\d\d([-.]?)(?:0\d|1[0-2])\1(?:[0-2]\d|3[01])(?:[T._-]?\d+)*")


@dataclass(frozen=True)
class Newest:
    """The result of the search for the newest version.

    Args:
        version: the newest; None if the names do not order them.
        why: how it was found, or why not, as the end of a sentence.
        rivals: the versions without an order between them.
    """

    version: str | None
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Order:
    """A kind of version names: the sort key, and which are pre-releases. Reading another kind raises ValueError."""

    name: str
    key: Callable[[str], Any]
    is_pre: Callable[[str], bool]


def newest(versions: Iterable[str]) -> Newest:
    """Find the newest version, without pre-releases.

    All versions must be of one kind: dates, semantic versions, or Python's versions (PEP 440), which include numbers
    such as 17 or 1.2; each with or without the same prefix (``v1.2.3``).

    Args:
        versions: their names, in any order.
    """
    names = sorted(set(versions))
    if not names:
        return Newest(None, "there is none")
    mixed = _of_each_word(names)
    if len(mixed) > 1:
        return Newest(None, "different words stand before their numbers", mixed)
    readings = []
    for order in (_dates, _semver, _pep440):
        try:
            readings.append((order, _newest_by(order, names)))
        except ValueError:
            continue
    if not readings:
        return Newest(None, "their names follow no order that is known for sure", tuple(_strangers(names)))
    order, found = readings[0]
    for other, also in readings[1:]:
        # 1.0.0-1 is before 1.0.0 in semantic versions, and after it in PEP 440.
        if found.version and also.version and found.version != also.version:
            why = f"the newest {order.name} is not the newest {other.name}"
            return Newest(None, why, (found.version, also.version))
    return found


def _newest_by(order: _Order, names: list[str]) -> Newest:
    """Find the newest by one kind of names; raise ValueError for a name of another kind."""
    keys = {name: order.key(_PREFIX.sub("", name)) for name in names}
    released = [name for name in names if not order.is_pre(_PREFIX.sub("", name))]
    if not released:
        return Newest(None, "all there are are pre-releases", tuple(sorted(names, key=keys.__getitem__)[-8:]))
    best = max(keys[name] for name in released)
    first = tuple(name for name in released if keys[name] == best)
    if len(first) > 1:
        return Newest(None, f"neither is newer {order.name}", first)
    skipped = [name for name in names if keys[name] > best]
    left_out = f", {', '.join(skipped)} left out as a pre-release" if skipped else ""
    return Newest(first[0], f"the newest of {len(released)} {order.name}{left_out}")


def _of_each_word(names: list[str]) -> tuple[str, ...]:
    """Return a name for each prefix, because builds of two branches have no order. The prefix v counts as none."""
    words = {}
    for name in names:
        word = _PREFIX.match(name)
        said = word[0].rstrip("-_.").lower() if word else ""
        words["" if said == "v" else said] = name
    return tuple(sorted(words.values())[:8])


def in_order(versions: Iterable[str]) -> list[str]:
    """Return the versions, oldest first as far as the names tell. Use this order for display only."""
    names = sorted(set(versions))
    for order in (_dates, _semver, _pep440):
        try:
            return sorted(names, key=lambda name, key=order.key: key(_PREFIX.sub("", name)))  # type: ignore[misc]
        except ValueError:
            continue
    return names


def _strangers(names: list[str]) -> list[str]:
    """Return the versions that prevent an order; all of them if each is of another kind."""
    for order in (_dates, _semver, _pep440):
        wrong = [name for name in names if not _can(order, name)]
        if 0 < len(wrong) < len(names):
            return wrong[:8]
    return names[:8]


def _can(order: _Order, name: str) -> bool:
    try:
        order.key(_PREFIX.sub("", name))
    except ValueError:
        return False
    return True


def _semver_key(text: str) -> tuple[tuple[int, int, int], tuple[int, ...], tuple[tuple[int, int, str], ...]]:
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    numbers = (int(match[1]), int(match[2]), int(match[3]))
    # 11.3: a pre-release comes before its release; 11.4: numbers before words, by size; fewer fields first.
    fields = match[4].split(".") if match[4] else []
    parts = tuple((0, int(field), "") if field.isdigit() else (1, 0, field) for field in fields)
    return (numbers, (0,) if parts else (1,), parts)


def _semver_is_pre(text: str) -> bool:
    return bool(_semver_key(text)[2])


def _pep440_key(text: str) -> Pep440:
    try:
        found = Pep440(text)
    except InvalidVersion:
        raise ValueError(text) from None
    # The part after + names a build and has no order (PEP 440, local versions).
    return Pep440(found.public)


def _pep440_is_pre(text: str) -> bool:
    return _pep440_key(text).is_prerelease


def _date_key(text: str) -> tuple[int, ...]:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    day, rest = re.sub(r"^(\d{4})[-.]?(\d\d)[-.]?(\d\d)", r"\1\2\3 ", text).split(" ", 1)
    return (int(day), *(int(number) for number in re.findall(r"\d+", rest)))


_dates = _Order("by date", _date_key, lambda _: False)
_semver = _Order("by semantic versioning", _semver_key, _semver_is_pre)
_pep440 = _Order("by Python's rules for versions (PEP 440)", _pep440_key, _pep440_is_pre)
