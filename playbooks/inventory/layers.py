"""Keep variables with their origins, and put one layer over another, by replacing keys or merging mappings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from playbooks.inventory.document import Lines, Origin


@dataclass(frozen=True)
class Layer:
    """The variables of a group, host or file, with the place of each.

    Args:
        values: the variables.
        origins: the file and line of each variable.
        encrypted: the variables from a completely encrypted file.
        unread: whether an encrypted file of an untrusted inventory has more variables.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    encrypted: set[str] = field(default_factory=set)
    unread: bool = False


def note_layer(layer: Layer, key: object, value: object, origin: Origin, merging: Lines | None = None) -> None:
    """Set a variable. A key that is not text becomes its JSON text.

    Args:
        layer: the layer.
        key, value: the variable.
        origin: where it is written.
        merging: see `merge`.
    """
    name = key if isinstance(key, str) else _as_json_key(key)
    old = layer.values.get(name)
    if merging is not None and isinstance(old, dict) and isinstance(value, dict):
        value = _merged(old, value, merging)
    layer.values[name] = value
    layer.origins[name] = origin


def _as_json_key(key: object) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(key, str(key))
        if key is None or isinstance(key, bool)
        else str(key)
    )


def merge(layers: Iterable[Layer], merging: Lines | None = None) -> Layer:
    """Make one layer from several; later ones cover earlier ones.

    Args:
        layers: the layers.
        merging: if mappings with the same name are merged (hash_behaviour = merge): has the lines of keys, and
            receives those of merged mappings.
    """
    layers = list(layers)
    result = Layer(unread=any(layer.unread for layer in layers))
    for layer in layers:
        if merging is not None:
            _merge_into(result, layer, merging)
            continue
        result.values.update(layer.values)
        result.origins.update(layer.origins)
        result.encrypted.difference_update(layer.values)
        result.encrypted.update(layer.encrypted)
    return result


def _merge_into(result: Layer, layer: Layer, lines: Lines) -> None:
    for key, value in layer.values.items():
        old = result.values.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result.values[key] = _merged(old, value, lines) if isinstance(old, dict) and isinstance(value, dict) else value
        if not both:
            result.encrypted.discard(key)
    result.origins.update(layer.origins)
    result.encrypted.update(layer.encrypted)


def _merged(low: dict[Any, Any], high: dict[Any, Any], lines: Lines) -> dict[Any, Any]:
    """Merge as Ansible's merge_hash: mappings in both are merged; everything else, also lists, is replaced."""
    if not low or low == high:
        return high
    if not high:
        return low
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = _merged(old, value, lines) if both else value  # type: ignore[arg-type]
    lines.join(result, low, high)
    return result
