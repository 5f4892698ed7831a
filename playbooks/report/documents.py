"""JSON documents in which thousands of hosts have the same parts: each part is masked and written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def masked_document(document: Mapping[str, object], mask: Callable[[str], str]) -> dict[str, Any]:
    """A document without secrets in its texts and names of fields. An object that occurs twice stays one object.

    Args:
        document: what `json.dumps` takes.
        mask: strikes secrets out of a text.
    """
    texts: dict[str, str] = {}
    done: dict[int, Any] = {}

    def text(value: str) -> str:
        if value not in texts:
            texts[value] = mask(value)
        return texts[value]

    def masked(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        if isinstance(value, str):
            return text(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if id(value) not in done:  # the document keeps it, so its id stays its own
            done[id(value)] = (
                {text(key) if isinstance(key, str) else key: masked(item) for key, item in value.items()}
                if isinstance(value, dict)
                else [masked(item) for item in value]
            )
        return done[id(value)]

    return {text(key): masked(value) for key, value in document.items()}


def json_pieces(document: object, scalar: Callable[[object], str]) -> Iterator[str]:
    """The text that `json.dumps(document, indent=2)` makes, in pieces.

    Args:
        document: what `json.dumps` takes.
        scalar: the JSON of a text, a number, true, false or null.
    """
    return _Writer(document, scalar).pieces(document, 0)


class _Writer:
    def __init__(self, document: object, scalar: Callable[[object], str]) -> None:
        self._write = scalar
        self._shared = _shared(document)
        self._made: dict[tuple[int, int], str] = {}
        self._scalars: dict[tuple[type, object], str] = {}

    def pieces(self, value: object, depth: int) -> Iterator[str]:
        ready = self._ready(value, depth)
        if ready is None:
            yield from self._container(value, depth)
        else:
            yield ready

    def _ready(self, value: object, depth: int) -> str | None:
        """What is written as one piece; None for a container that is there once, which may be large."""
        if not isinstance(value, (dict, list, tuple)):
            return self._scalar(value)
        if id(value) not in self._shared:
            return None
        at = (id(value), depth)
        if at not in self._made:
            self._made[at] = "".join(self._container(value, depth))
        return self._made[at]

    def _scalar(self, value: object) -> str:
        key = (type(value), value)
        if key not in self._scalars:
            self._scalars[key] = self._write(value)
        return self._scalars[key]

    def _container(self, value: Any, depth: int) -> Iterator[str]:  # noqa: ANN401 - a mapping or a list
        named = isinstance(value, dict)
        opening, closing = "{}" if named else "[]"
        if not value:
            yield opening + closing
            return
        line = "\n" + "  " * (depth + 1)
        before = opening + line
        for item in value:
            if named:
                before += (self._scalar(item) if isinstance(item, str) else self._scalar(self._scalar(item))) + ": "
            inside = value[item] if named else item
            ready = self._ready(inside, depth + 1)
            if ready is None:
                yield before
                yield from self._container(inside, depth + 1)
            else:
                yield before + ready
            before = "," + line
        yield "\n" + "  " * depth + closing


def _shared(document: object) -> set[int]:
    """The containers that are in a document more than once."""
    count: Counter[int] = Counter()

    def look(value: object) -> None:
        if isinstance(value, dict | list | tuple) and value:
            count[id(value)] += 1
            if count[id(value)] == 1:
                for item in value.values() if isinstance(value, dict) else value:
                    look(item)

    look(document)
    return {key for key, times in count.items() if times > 1}
