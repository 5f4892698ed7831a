"""Values that are what they are written as: without a template or a secret they are the same for every host."""

from __future__ import annotations

from typing import Any

from jinja2.utils import missing

from playbooks.inventory.document import MAX_DEPTH, UnsafeText

_MARKS = ("{{", "{%", "{#")
_SCALARS = (int, float, bool, type(None))


def is_template(text: str) -> bool:
    """Whether Jinja2 has anything to do in a text."""
    return any(mark in text for mark in _MARKS)


class Literals:
    """Such values as plain ones. Each that is written once is made once, however many hosts have it."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, Any]] = {}

    def of(self, raw: object) -> Any:  # noqa: ANN401  a variable's value is anything
        """What a value stands for; Jinja2's `missing` where that is to be worked out for each host."""
        return self._of(raw, MAX_DEPTH)

    def _of(self, raw: object, depth: int) -> Any:  # noqa: ANN401
        if isinstance(raw, str):
            return missing if is_template(raw) and not isinstance(raw, UnsafeText) else str(raw)
        if type(raw) in _SCALARS:
            return raw
        if type(raw) not in (dict, list) or not depth:
            return missing
        known = self._made.get(id(raw))
        if known is None:
            known = self._made[id(raw)] = (raw, self._container(raw, depth - 1))  # it is kept, so its id stays its own
        return known[1]

    def _container(self, raw: Any, depth: int) -> Any:  # noqa: ANN401
        items = [self._of(item, depth) for item in (raw.values() if isinstance(raw, dict) else raw)]
        if any(item is missing for item in items):
            return missing
        return dict(zip(raw, items, strict=True)) if isinstance(raw, dict) else items
