"""The difference between a host's rendered files now and before, without secrets, old ones included."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from playbooks.adapters.secrets.masking import MASK
from playbooks.releases.render import Rendered

if TYPE_CHECKING:
    from playbooks.steps.rendered import OnHost

HAND = "on the host, changed by hand"
OWNER = b"# Slipway: "
_KEY = re.compile(r"\s*[^=:]*[=:]")
_SECRET_KEY = re.compile(r"pass|secret|token|key|credential|dsn|_url", re.IGNORECASE)


def differences(
    rendered: Rendered,
    there: OnHost,
    places: Mapping[str, str],
    mask: Callable[[str], str],
    *,
    was: str = "running",
    now: str = "new",
) -> list[str]:
    """Unified diffs of files that differ; of those in which only secrets do, a sentence.

    Args:
        rendered: what is made now.
        there: what a host has.
        places: folders of releases, and what to read for them: their names always differ.
        mask: strikes out the secrets of today.
        was, now: what the two sides are called.
    """
    new = {name: file.content for name, file in rendered.files.items()}
    return [
        diff
        for old, wanted in [(there.files, new), (there.units, dict(rendered.units))]
        for name in sorted(old.keys() | wanted.keys())
        if (diff := _difference(name, old.get(name), wanted.get(name), places, mask, (was, now)))
    ]


@dataclass(frozen=True)
class Apart:
    """What is otherwise on a host than the inventory would have it.

    Args:
        by_hand: diffs of what was changed there since it was deployed.
        undeployed: diffs of what the inventory would have otherwise than it was deployed.
    """

    by_hand: tuple[str, ...] = ()
    undeployed: tuple[str, ...] = ()


def told_apart(
    rendered: Rendered, there: OnHost, places: Mapping[str, str], mask: Callable[[str], str], *, now: str
) -> Apart:
    """The same, told apart by who made the difference: somebody on the host, or the inventory since.

    What was deployed is known by its sum alone. Where both have changed it there is a diff between the two.

    Args:
        rendered, there, places, mask: see `differences`.
        now: what the inventory's side is called.
    """
    by_hand: list[str] = []
    undeployed: list[str] = []
    new = {name: file.content for name, file in rendered.files.items()}
    for is_unit, old, wanted in [(False, there.files, new), (True, there.units, dict(rendered.units))]:
        for name in sorted(old.keys() | wanted.keys()):
            before, after = old.get(name), wanted.get(name)
            if not there.sums or there.is_as_deployed(name, before, unit=is_unit):
                undeployed.append(_difference(name, before, after, places, mask, ("deployed", now)))
            elif there.is_as_deployed(name, after, unit=is_unit):
                by_hand.append(_difference(name, before, after, places, mask, (HAND, "deployed"), backwards=True))
            else:
                undeployed.append(_difference(name, before, after, places, mask, (HAND, now)))
    for name, content in sorted(there.installed.items()):
        read, deployed = _without_owner(content), _without_owner(there.units.get(name, b""))
        by_hand.append(_difference(name, read, deployed, places, mask, (HAND, "deployed"), backwards=True))
    return Apart(tuple(filter(None, by_hand)), tuple(filter(None, undeployed)))


def _without_owner(unit: bytes) -> bytes:
    """A unit without the line that names its release."""
    return unit.partition(b"\n")[2] if unit.startswith(OWNER) else unit


def _difference(
    name: str,
    old: bytes | None,
    new: bytes | None,
    places: Mapping[str, str],
    mask: Callable[[str], str],
    called: tuple[str, str],
    *,
    backwards: bool = False,
) -> str:
    """A unified diff; where only secrets differ, a sentence; where nothing does, nothing.

    Args:
        name: of the file.
        old: may have secrets that nobody knows any more.
        new: has those of today.
        places, mask: see `differences`.
        called: what the two are called.
        backwards: whether it leads from the new to the old.
    """
    before, after = _lines(old, places), _lines(new, places)
    if before == after:
        return ""
    struck = [mask(line) for line in after]
    sides = [(without_old_secrets(before, struck, mask), called[0]), (struck, called[1])]
    (left, was), (right, now) = reversed(sides) if backwards else sides
    lines = difflib.unified_diff(left, right, f"{name} ({was})", f"{name} ({now})", lineterm="")
    return "\n".join(lines) or f"{name}: nothing differs but secrets"


def without_old_secrets(before: Sequence[str], after: Sequence[str], mask: Callable[[str], str]) -> list[str]:
    """Lines of a file as it was, without secrets that nobody knows any more, since they were rotated.

    Such a one stands where one stands today; or in a line that is there no more, of a file that has secrets, or with a
    key that tells.

    Args:
        before: as it was.
        after: as it is rendered today, with secrets struck out.
        mask: strikes out the secrets of today.
    """
    shapes = [
        (re.compile(".*".join(re.escape(part) for part in line.split(MASK))), line) for line in after if MASK in line
    ]
    keys = {_key(line) for line in after if MASK not in line}

    def struck(line: str) -> str:
        line = mask(line)
        if line in after or MASK in line:
            return line
        for shape, told in shapes:
            if shape.fullmatch(line):
                return told
        key = _key(line)
        if key in keys or not line.strip() or not (shapes or _SECRET_KEY.search(key)):
            return line
        return f"{key}{MASK}"

    return [struck(line) for line in before]


def _key(line: str) -> str:
    """What stands before a line's value; nothing where it has none."""
    found = _KEY.match(line)
    return found[0] if found else ""


def _lines(content: bytes | None, places: Mapping[str, str]) -> list[str]:
    text = (content or b"").decode("utf-8", "replace")
    for place, name in places.items():
        text = text.replace(place, name)
    return text.splitlines()
