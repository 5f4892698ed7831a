"""Variables with their origins, and how one layer covers another (as in Ansible, a key replaces; nothing is merged)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from playbooks.fleet.inventory.document import Origin


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


def note_layer(layer: Layer, key: object, value: object, origin: Origin) -> None:
    """Set one variable. A key that is no text becomes the text it has in JSON."""
    name = key if isinstance(key, str) else _as_json_key(key)
    layer.values[name] = value
    layer.origins[name] = origin


def _as_json_key(key: object) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(key, str(key))
        if key is None or isinstance(key, bool)
        else str(key)
    )


def merge(layers: Iterable[Layer]) -> Layer:
    """One layer from several, the later covering the earlier."""
    layers = list(layers)
    result = Layer(unread=any(layer.unread for layer in layers))
    for layer in layers:
        result.values.update(layer.values)
        result.origins.update(layer.origins)
        result.encrypted.difference_update(layer.values)
        result.encrypted.update(layer.encrypted)
    return result
