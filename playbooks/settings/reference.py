"""Makes docs/settings.md from the models, so that the page says what is checked."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from playbooks.settings.fleet_wide import is_fleet_wide
from playbooks.settings.load import PREFIX
from playbooks.settings.model import Settings
from playbooks.settings.types import parse_percent

PERCENTAGE = "percentage"
HEAD = """# Settings

To set something, write an inventory variable that begins with `slipway_`, usually in `group_vars/all/`:

```yaml
slipway_app: shop
slipway_hosts: app
slipway_artifact: "dist/shop-{version}.tar.zst"
slipway_keep_releases: 3
slipway_backup: {max_age: 2h}
```

To see the settings that Slipway reads, type `invoke inventory --env=E`.

- A setting may differ by group or host, unless its description ends with "The same for every host". For a section that
  means all of its keys.
- A duration is a number of seconds, or `500ms`, `30s`, `5m`, `24h`, `30d`.
- A key that is not on this page is an error. So Slipway reports a misspelt key before it reaches a host.
- If the inventory has several applications, `slipway_applications` has their names, and for each its own settings,
  with or without the prefix. See [inventory.md](inventory.md#several-applications).

`script/settings-docs` generates this page from the models in `playbooks/settings`. A test keeps both the same.
"""


def reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    seen: list[type[BaseModel]] = [Settings]
    for model in seen:
        parts.append(_section(model))
        seen += dict.fromkeys(found for found in _models(model) if found not in seen)
    return "\n".join(parts)


def _section(model: type[BaseModel]) -> str:
    top = model is Settings
    title = "Top level" if top else _title(model)
    lines = [f"## {title}", "", " ".join((model.__doc__ or "").split("\n\n")[0].split()), ""]
    lines += ["| key | value | default | what it is |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = f"`{PREFIX}{name}`" if top else f"`{field.alias or name}`"
        about = (field.description or "").replace("|", "\\|")
        if is_fleet_wide(field):
            about += " The same for every host."
        kind = _kind(typing.Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
        default = _default(field, kind).replace("|", "\\|")
        lines.append(f"| {key} | {kind} | {default} | {about} |")
    return "\n".join(lines) + "\n"


def _title(model: type) -> str:
    """What a model is called for a person."""
    return model.__name__.removesuffix("Settings")


def _default(field: FieldInfo, kind: str) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value in (None, "", [], {}, PydanticUndefined) or field.validate_default:
        return ""
    if kind == PERCENTAGE:
        return f"`{100 * value:g}%`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(annotation: Any) -> str:  # noqa: ANN401 - a type is anything
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        if BeforeValidator(parse_percent) in arguments:
            return PERCENTAGE
        return _kind(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[0])} → {_kind(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{_title(annotation)}](#{_title(annotation).lower()})"
    names = {str: "text", int: "number", float: "number or duration", bool: "true or false"}
    return names.get(annotation, str(annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from _inside(field.annotation)


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _inside(argument)
