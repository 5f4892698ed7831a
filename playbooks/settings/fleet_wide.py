"""Which settings say how the whole fleet is handled: their fields are marked with `FLEET_WIDE`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pydantic.fields import FieldInfo

from playbooks.settings.model import Settings
from playbooks.settings.types import FLEET_WIDE, Model


@cache
def fleet_wide() -> tuple[str, ...]:
    """Their names, in the models' order; of a section either its own name or those of some of its fields."""
    return tuple(_marked(Settings, ""))


def is_fleet_wide(field: FieldInfo) -> bool:
    """Whether hosts may not differ in a field."""
    return field.json_schema_extra == FLEET_WIDE


def _marked(model: type[Model], before: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if is_fleet_wide(field):
            yield before + name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Model):
            yield from _marked(field.annotation, f"{before}{name}.")
