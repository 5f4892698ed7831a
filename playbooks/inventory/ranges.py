"""Read host entries: names, ranges such as web[01:20], and ports."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv6Address
from itertools import product
from math import prod

MAX_HOSTS = 20_000  # in one entry, so that a mistyped range does not fill the memory

_RANGE = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]"
_LABEL = rf"(?:\w|{_RANGE})(?:[\w-]|{_RANGE})*(?<![_-])"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_HEX_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\[(.+)\]:([0-9]{1,20})")
_WITH_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]{1,20})")


class RangeError(ValueError):
    """A host entry cannot be read; the message is the end of a sentence."""


def split_port(entry: str) -> tuple[str, int | None]:
    """Split `host:port`, `[host]:port` or `web[1:3]:port`; text that is no valid host name keeps its colon."""
    name, port = entry, None
    for form in (_IN_BRACKETS, _WITH_PORT):
        if match := form.fullmatch(name):
            name, port = match[1], int(match[2])
    return (name, port) if is_address(name) else (entry, None)


def is_address(name: str) -> bool:
    """Return whether a text is a host name, IPv4 or IPv6 address, possibly with ranges."""
    if _HOSTNAME.fullmatch(name):
        return True
    try:
        IPv6Address(_HEX_RANGE.sub("1", name))
    except AddressValueError:
        return False
    return "%" not in name


def expand(entry: str) -> tuple[list[str], int | None]:
    """Return the hosts of an entry, and their port if the entry has one.

    Raises:
        RangeError: a range is malformed, or has more than MAX_HOSTS hosts.
    """
    name, port = split_port(entry)
    if "[" not in name:
        return [name], port
    texts: list[str] = []
    choices: list[Sequence[str]] = []
    rest = name
    while "[" in rest:
        head, _, tail = rest.partition("[")
        inside, closed, rest = tail.partition("]")
        if not closed:
            raise RangeError("a range has no closing ]")
        texts.append(head)
        choices.append(_members(inside))
        if prod(len(members) for members in choices) > MAX_HOSTS:
            raise RangeError(f"it stands for more than {MAX_HOSTS:,} hosts")
    names = [
        "".join(part for pair in zip(texts, chosen, strict=True) for part in pair) + rest
        for chosen in product(*choices)
    ]
    return names, port


def _members(inside: str) -> Sequence[str]:
    bounds = inside.split(":")
    if len(bounds) not in (2, 3):
        raise RangeError(f"[{inside}] is no range; a range is [begin:end] or [begin:end:step]")
    begin, end = bounds[0] or "0", bounds[1]
    if not end:
        raise RangeError(f"the range [{inside}] has no end")
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and len(end) != width:
        raise RangeError(f"the range [{inside}] needs a begin and an end of the same length, as in [01:20]")
    first, last = string.ascii_letters.find(begin), string.ascii_letters.find(end)
    if first > last >= 0:
        raise RangeError(f"the range [{inside}] begins after its end")
    try:
        step = int(bounds[2]) if len(bounds) == 3 else 1
        if first >= 0 and last >= 0:
            return string.ascii_letters[first : last + 1 : step]
        numbers = range(int(begin), int(end) + 1, step)
    except ValueError:
        raise RangeError(
            f"[{inside}] is no range; bounds are two numbers or two letters, and the step is not 0"
        ) from None
    if len(numbers) > MAX_HOSTS:
        raise RangeError(f"the range [{inside}] stands for more than {MAX_HOSTS:,} hosts")
    return [str(number).zfill(width) for number in numbers]
