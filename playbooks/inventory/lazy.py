"""Represent values during templating: missing ones with a reason, and containers that template on access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set, ValuesView
from itertools import islice
from typing import Any, Protocol, SupportsIndex

from jinja2 import StrictUndefined
from jinja2.utils import missing

Function = Callable[..., Any]

MAX_ITEMS = 1_000_000  # of a generator that a template made


class Omit:
    """The value of `omit`, which removes an entry from its mapping or list."""

    def __repr__(self) -> str:
        return "<omitted>"


OMIT = Omit()


class Missing(StrictUndefined):
    """An undefined value. Its attributes are the same value, as in Ansible, so `a.b | default('x')` works without an a.

    `where` is the variable that needs it, with its file and line.
    """

    __slots__ = ("where",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  Jinja2's signature
        super().__init__(*args, **kwargs)
        self.where = ""

    @property
    def reason(self) -> str:
        """Return what is undefined, as the end of a sentence."""
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            is_fact = str(self._undefined_name).startswith("ansible_")
            return f"{self._undefined_name!r} is undefined" + ("; Slipway gathers no facts" if is_fact else "")
        kind = "mapping" if isinstance(self._undefined_obj, Mapping) else type(self._undefined_obj).__name__
        return f"{self._undefined_name!r} is not in the {kind} it is looked for in"

    @property
    def _undefined_message(self) -> str:
        return f"{self.reason} (needed by {self.where})" if self.where else self.reason

    def __getattr__(self, name: str) -> Missing:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, *args: Any) -> Any:  # noqa: ANN401  Jinja2's signature
        return self


class EntrySource(Protocol):
    """Templates the entries of a container from the inventory."""

    def entry(self, container: object, key: object, raw: object) -> object: ...


class LazyDict(dict[Any, Any]):
    """A mapping from the inventory. Each entry is templated on access, so that entries may refer to each other."""

    def __init__(self, raw: Mapping[Any, Any], source: EntrySource) -> None:
        super().__init__(raw)
        self._source = source
        self._done: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401  a variable's value is anything
        value = super().__getitem__(key)
        if key not in self._done:
            value = self._source.entry(self, key, value)
            super().__setitem__(key, value)
            self._done.add(key)
        return value

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()  # this method keeps dict(lazy) from copying untemplated values

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401
        return self[key] if key in self else default  # noqa: SIM401  this is get

    def items(self) -> Any:  # noqa: ANN401
        return [(key, self[key]) for key in self]

    def values(self) -> Any:  # noqa: ANN401
        return [self[key] for key in self]

    def copy(self) -> dict[Any, Any]:
        return dict(self.items())

    def __or__(self, other: Any) -> Any:  # noqa: ANN401
        return self.copy() | dict(other.items())

    def __ror__(self, other: Any) -> Any:  # noqa: ANN401
        return dict(other.items()) | self.copy()

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(plain(self))


class LazyList(list[Any]):
    """A list from the inventory. Each item is templated on access."""

    def __init__(self, raw: list[Any], source: EntrySource) -> None:
        super().__init__(raw)
        self._source = source
        self._done: set[int] = set()

    def _item(self, index: int) -> Any:  # noqa: ANN401
        value = super().__getitem__(index)
        if index not in self._done:
            value = self._source.entry(self, index, value)
            super().__setitem__(index, value)
            self._done.add(index)
        return value

    def __getitem__(self, index: SupportsIndex | slice) -> Any:  # noqa: ANN401
        if isinstance(index, slice):
            return [self._item(at) for at in range(*index.indices(len(self)))]
        return self._item(range(len(self))[index])

    def __iter__(self) -> Iterator[Any]:
        return (self._item(at) for at in range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return (self._item(at) for at in reversed(range(len(self))))

    def __contains__(self, item: object) -> bool:
        return item in list(iter(self))

    def __add__(self, other: list[Any]) -> list[Any]:
        return list(iter(self)) + list(other)

    def __radd__(self, other: list[Any]) -> list[Any]:
        return list(other) + list(iter(self))

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return list(iter(self)) * times

    def index(self, value: Any, *bounds: Any) -> int:  # noqa: ANN401
        return list(iter(self)).index(value, *bounds)

    def count(self, value: Any) -> int:  # noqa: ANN401
        return list(iter(self)).count(value)

    def copy(self) -> list[Any]:
        return list(iter(self))

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(plain(self))


def plain(value: object) -> Any:  # noqa: ANN401
    """Return a completely templated value of plain dicts, lists and scalars.

    Raises:
        jinja2.UndefinedError: something in it is undefined.
    """
    if isinstance(value, Missing):
        value._fail_with_undefined_error()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if not _left_out(item)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value if not _left_out(item)]
    if isinstance(value, (set, frozenset)):  # YAML's !!set
        return list(value)
    return value


def _left_out(value: object) -> bool:
    return value is OMIT


class MadeList(list[Any]):
    """A list that a template wrote and may append to."""


class MadeDict(dict[Any, Any]):
    """A mapping that a template wrote and may update."""


def settle(value: object) -> object:
    """Convert a template's result for storage: generators, tuples and views become lists, as in Ansible."""
    if isinstance(value, MadeDict):
        return {key: settle(item) for key, item in value.items()}
    if isinstance(value, MadeList):
        return [settle(item) for item in value]
    if isinstance(value, (tuple, range, Set, ValuesView)) and not isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Iterator):
        return list(islice(value, MAX_ITEMS))
    return value
