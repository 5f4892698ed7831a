"""Compare a host's rendered files with new ones, without showing present or old secrets."""

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
    """Return unified diffs of files that differ; a sentence for files that differ only in secrets.

    Args:
        rendered: the new files.
        there: the host's files.
        places: release folders and their placeholders, because the folders' names always differ.
        mask: strikes out the present secrets.
        was, now: the names of the two sides.
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
    """The differences between a host and the inventory.

    Args:
        by_hand: diffs of changes on the host since the deploy.
        undeployed: diffs of changes in the inventory since the deploy.
    """

    by_hand: tuple[str, ...] = ()
    undeployed: tuple[str, ...] = ()


def told_apart(
    rendered: Rendered, there: OnHost, places: Mapping[str, str], mask: Callable[[str], str], *, now: str
) -> Apart:
    """Separate the differences into changes on the host and changes in the inventory.

    Only the checksum of the deployed file is known. If both sides changed it, the diff is between the two.

    Args:
        rendered, there, places, mask: see `differences`.
        now: the name of the inventory's side.
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
    """Return a unit file without the line that names its release."""
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
    """Return a unified diff; a sentence if only secrets differ; nothing if nothing differs.

    Args:
        name: the file's name.
        old: the old content, which may have secrets that are no longer known.
        new: the new content, with present secrets.
        places, mask: see `differences`.
        called: the names of the two sides.
        backwards: whether the diff goes from the new to the old content.
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
    """Return a file's old lines without old secrets, which are no longer known after a rotation.

    An old secret is assumed where a present one is, and in removed lines of a file with secrets or with a key that
    suggests one.

    Args:
        before: the old lines.
        after: the present lines, with secrets struck out.
        mask: strikes out the present secrets.
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
    """Return a line's key; empty if it has none."""
    found = _KEY.match(line)
    return found[0] if found else ""


def _lines(content: bytes | None, places: Mapping[str, str]) -> list[str]:
    text = (content or b"").decode("utf-8", "replace")
    for place, name in places.items():
        text = text.replace(place, name)
    return text.splitlines()
