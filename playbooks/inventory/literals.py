"""Share literal values: without a template or a secret they are the same for every host."""

from __future__ import annotations

from typing import Any

from jinja2.utils import missing

from playbooks.inventory.document import MAX_DEPTH, UnsafeText

_MARKS = ("{{", "{%", "{#")
_SCALARS = (int, float, bool, type(None))


def is_template(text: str) -> bool:
    """Return whether a text has Jinja2 syntax."""
    return any(mark in text for mark in _MARKS)


class Literals:
    """Makes plain literal values, each once for all hosts that have it."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, Any]] = {}

    def of(self, raw: object) -> Any:  # noqa: ANN401  a variable's value is anything
        """Return a literal's value; Jinja2's `missing` if it must be resolved for each host."""
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
            known = self._made[id(raw)] = (raw, self._container(raw, depth - 1))  # keeping it keeps its id unique
        return known[1]

    def _container(self, raw: Any, depth: int) -> Any:  # noqa: ANN401
        items = [self._of(item, depth) for item in (raw.values() if isinstance(raw, dict) else raw)]
        if any(item is missing for item in items):
            return missing
        return dict(zip(raw, items, strict=True)) if isinstance(raw, dict) else items
