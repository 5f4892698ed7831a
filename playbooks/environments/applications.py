"""Support several applications in one inventory; each has its own settings, which override the shared ones.

``slipway_applications`` maps names to settings. For one application, this module makes the inventory look as if it had
only that one, with its settings in the usual places, so templates, origins and secrets work without change.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from playbooks.core.errors import ConfigError
from playbooks.inventory import Inventory, Layer
from playbooks.inventory.document import Lines, Origin, UnsafeText
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX

VARIABLE = f"{PREFIX}applications"
_APP = f"{PREFIX}app"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_REFERENCE = re.compile(r"\s*\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}\s*")


def applications_of(inventory: Inventory) -> tuple[str, ...]:
    """Return the applications' names in written order; none if the inventory has no ``slipway_applications``.

    Raises:
        ConfigError: the value is invalid; the message has all mistakes.
    """
    names: dict[str, None] = {}
    problems: dict[str, None] = {}
    looked: dict[int, object] = {}
    for host in inventory.hosts:
        layer = inventory.layer(host)
        if VARIABLE not in layer.values:
            continue
        if _APP in layer.values:
            place = layer.origins[_APP]
            problems[f"{place}: {_APP} stands beside {VARIABLE}, whose keys are the names; leave it out"] = None
        raw = layer.values[VARIABLE]
        # Hosts of a group share a value, but a variable that it names may differ by host.
        if looked.get(id(raw)) is raw and not _refers(raw):
            continue
        looked[id(raw)] = raw
        found = _Written(layer, inventory.lines)
        problems.update(dict.fromkeys([*found.problems(), *_lost(inventory, host, found)]))
        names.update(dict.fromkeys(found.names()))
    if problems:
        raise ConfigError(list(problems), hint="see docs/inventory.md, Several applications")
    return tuple(names)


def of_application(inventory: Inventory, name: str) -> Inventory:
    """Return the inventory as this application sees it.

    Args:
        inventory: the inventory as it is written.
        name: one of `applications_of`.
    """
    return inventory.covered(_Cover(name, inventory.lines))


def _lost(inventory: Inventory, host: str, last: _Written) -> list[str]:
    """Find applications' settings that are lost, because a place of higher precedence replaces them."""
    found: list[str] = []
    for place, value in [] if inventory.merges else inventory.written(host, VARIABLE)[:-1]:
        if not isinstance(value, dict):
            continue
        covers = f"covers what {place} has, as a variable does, and"
        names = [str(name) for name in value if name not in last.names()]
        if names:
            found.append(
                f"{last.place()}: {VARIABLE} {covers} {', '.join(names)} would be lost; write all applications in one "
                "place, each in a variable of its own if you like"
            )
        for name, before in value.items():
            own = last.own(name)
            if own is None or not isinstance(own.value, dict) or not isinstance(before, dict):
                continue
            keys = [str(key) for key in before if key not in own.value]
            if keys:
                found.append(
                    f"{last.place(name)}: {VARIABLE}.{name} {covers} {', '.join(keys)} would be lost; write all of it "
                    "in one place, and what differs by host as a variable in it"
                )
    return found


@dataclass(frozen=True)
class _Found:
    """A value, and whether it comes from a completely encrypted file."""

    value: Any
    encrypted: bool = False


def _look_up(layer: Layer, value: object) -> _Found:
    """Return a value as written, or the value of the variable that it names: ``"{{ shop }}"``."""
    seen: set[str] = set()
    while isinstance(value, str) and not isinstance(value, UnsafeText):
        named = _REFERENCE.fullmatch(value)
        if named is None or named[1] not in layer.values or named[1] in seen:
            break
        seen.add(named[1])
        value = layer.values[named[1]]
    return _Found(value, bool(seen & layer.encrypted))


def _refers(raw: object) -> bool:
    return not isinstance(raw, dict) or any(isinstance(one, str) for one in raw.values())


class _Written:
    """A host's variables about applications.

    Args:
        layer: the variables.
        lines: the places where keys are written.
    """

    def __init__(self, layer: Layer, lines: Lines) -> None:
        self._layer, self._lines = layer, lines
        found = _look_up(layer, layer.values.get(VARIABLE))
        self._all = found.value
        self._encrypted = found.encrypted or VARIABLE in layer.encrypted

    def names(self) -> list[str]:
        return [str(name) for name in self._all] if isinstance(self._all, dict) else []

    def own(self, name: str) -> _Found | None:
        """Return an application's own settings; None if this host has none."""
        if not isinstance(self._all, dict) or name not in self._all:
            return None
        found = _look_up(self._layer, self._all[name])
        return _Found({} if found.value is None else found.value, found.encrypted or self._encrypted)

    def place(self, name: str | None = None, key: Hashable = None) -> Origin:
        """Return where an application or one of its settings is written, if known."""
        own = None if name is None or key is None else self.own(name)
        inside = self._lines.of(own.value, key) if own is not None else None
        return inside or self._lines.of(self._all, name) or self._layer.origins[VARIABLE]

    def problems(self) -> list[str]:
        """Return the mistakes in the mapping itself. The settings inside are checked with all others."""
        if not isinstance(self._all, dict) or not self._all:
            return [f"{self._layer.origins[VARIABLE]}: {VARIABLE}: expected names of applications with their settings"]
        found: list[str] = []
        for name in self._all:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                said = "expected a name of small letters, digits and -, such as shop"
                found.append(f"{self.place(name)}: {VARIABLE}: found {name!r}; {said}")
                continue
            own = self.own(name)
            assert own is not None  # the caller takes the name from this mapping  # noqa: S101
            if not isinstance(own.value, dict):
                said = (
                    f'expected settings, or the name of a variable that holds them: {name}: "{{{{ {name}_settings }}}}"'
                )
                found.append(f"{self.place(name)}: {VARIABLE}.{name}: {said}")
                continue
            found += self._odd_keys(name, own.value)
        return found

    def _odd_keys(self, name: str, own: Mapping[Any, object]) -> list[str]:
        found: list[str] = []
        for key in own:
            where, bare = f"{self.place(name, key)}: {VARIABLE}.{name}", str(key).removeprefix(PREFIX)
            if not isinstance(key, str):
                found.append(f"{where}: found {key!r}; expected the name of a setting")
            elif bare in ("app", "applications"):
                found.append(f"{where}.{key}: an application's name is its key, {name}; leave it out")
            elif bare != key and bare in own:
                found.append(f"{where}.{key}: {bare} is there as well, and means the same; leave one of them out")
        return found


@dataclass
class _Cover:
    """Turns a host's variables into those of one application.

    Args:
        name: the application.
        lines: the places where keys are written; merged keys are added.
        merged: earlier results, because the hosts of a fleet share most values.
    """

    name: str
    lines: Lines
    merged: dict[tuple[int, int], tuple[object, object, Any]] = field(default_factory=dict)

    def __call__(self, layer: Layer) -> Layer:
        written = _Written(layer, self.lines)
        own = written.own(self.name)
        if own is None or not isinstance(own.value, dict):
            # The host does not belong to the application, so the shared settings do not apply either.
            return _without_settings(layer)
        values, origins, encrypted = dict(layer.values), dict(layer.origins), set(layer.encrypted)
        values[_APP], origins[_APP] = self.name, written.place(self.name)
        for key, raw in own.value.items():
            variable = PREFIX + str(key).removeprefix(PREFIX)
            found = _look_up(layer, raw)
            shared = _look_up(layer, values.get(variable))
            where = written.place(self.name, key)
            values[variable] = self._over(variable, shared.value, found.value, str(where))
            origins[variable] = where
            if own.encrypted or found.encrypted:
                encrypted.add(variable)
            elif values[variable] is found.value:
                encrypted.discard(variable)
        return replace(layer, values=values, origins=origins, encrypted=encrypted)

    def _over(self, variable: str, low: object, high: object, where: str) -> object:
        """Put an application's value over the shared one: merge sections, replace everything else."""
        known = Settings.model_fields.get(variable.removeprefix(PREFIX))
        parts = _parts(known.annotation) if known is not None else None
        if parts is None or low is None or high is None:
            return high
        for value in (low, high):
            if isinstance(value, str):
                raise ConfigError(
                    [
                        f"{where}: {variable} is a section, and what is shared is merged with what {self.name} has of "
                        "its own; neither may be a template, but for one that names a variable"
                    ]
                )
        return self._merge(parts, low, high)

    def _merge(self, parts: _Parts, low: object, high: object) -> object:
        if not isinstance(low, dict) or not isinstance(high, dict):
            return high
        same = (id(low), id(high))
        if same not in self.merged:
            result = dict(low)
            for key, value in high.items():
                inside = parts(key)
                result[key] = self._merge(inside, result[key], value) if inside and key in result else value
            self.lines.join(result, low, high)
            self.merged[same] = (low, high, result)  # keeping both values keeps their ids unique
        return self.merged[same][2]


def _without_settings(layer: Layer) -> Layer:
    kept = {key for key in layer.values if not key.startswith(PREFIX)}
    return replace(
        layer,
        values={key: value for key, value in layer.values.items() if key in kept},
        origins={key: value for key, value in layer.origins.items() if key in kept},
        encrypted=layer.encrypted & kept,
    )


# Tells for a mapping's key how to merge its value; None replaces it.
_Parts = Callable[[object], "_Parts | None"]


def _parts(annotation: object) -> _Parts | None:
    """Return how to merge a setting's values: sections by key, lists of things by name; None replaces them."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return lambda key: _parts(fields[key].annotation) if isinstance(key, str) and key in fields else None
    if get_origin(kind) is dict and _is_model(get_args(kind)[1]):
        return lambda _: None
    return None


def _is_model(annotation: object) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, BaseModel)
    return any(_is_model(inner) for inner in get_args(annotation))
