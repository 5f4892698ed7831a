"""Variables with their origins, and how one layer overrides another: a key replaces, or mappings are merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from playbooks.inventory.document import Lines, Origin


@dataclass(frozen=True)
class Layer:
    """Variables of one group, host or file, and beside each where it was written.

    Args:
        values: the variables.
        origins: file and line by variable.
        encrypted: the variables that come from a wholly encrypted file.
        unread: whether there are more, in an encrypted file of an untrusted inventory.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    encrypted: set[str] = field(default_factory=set)
    unread: bool = False


def note_layer(layer: Layer, key: object, value: object, origin: Origin, merging: Lines | None = None) -> None:
    """Set one variable. A key that is no text becomes the text it has in JSON.

    Args:
        layer: where.
        key, value: the variable.
        origin: where it was written.
        merging: as for `merge`.
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
    """One layer from several, the later covering the earlier.

    Args:
        layers: the layers.
        merging: given where mappings of one name are merged (hash_behaviour = merge): it knows the lines of keys, and
            learns those of what is made here.
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
    """Ansible's merge_hash: mappings in both are merged, everything else (lists, too) is replaced."""
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
