"""What is rendered for a host, beside what was rendered there before; without secrets, those of then among them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from playbooks.adapters.secrets.masking import MASK
from playbooks.releases.render import Rendered

if TYPE_CHECKING:
    from playbooks.steps.rendered import OnHost

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
    found = []
    for old, wanted in [(there.files, new), (there.units, dict(rendered.units))]:
        for name in sorted(old.keys() | wanted.keys()):
            before, after = _lines(old.get(name), places), _lines(wanted.get(name), places)
            if before == after:
                continue
            struck = [mask(line) for line in after]
            lines = difflib.unified_diff(
                without_old_secrets(before, struck, mask), struck, f"{name} ({was})", f"{name} ({now})", lineterm=""
            )
            found.append("\n".join(lines) or f"{name}: nothing differs but secrets")
    return found


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
