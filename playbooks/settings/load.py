"""From inventory variables to settings: reports every mistake at once, with its file and key."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from playbooks.settings.model import Settings

PREFIX = "slipway_"

Origin = Callable[..., str]


@dataclass(frozen=True)
class Before:
    """What was read of settings before: hosts of a fleet have most of them in common, and share what is the same.

    Args:
        texts: containers and what they are as text, by identity.
        sections: models, and containers of models, by the setting and the text of its value, None where it has none.
    """

    texts: dict[int, tuple[object, str]] = field(default_factory=dict)
    sections: dict[tuple[str, str | None], object] = field(default_factory=dict)

    def text(self, value: object) -> str:
        """What is the same for the same values, and tells 1 from '1'.

        Raises:
            ValueError: a number of thousands of digits is in it.
        """
        if not isinstance(value, dict | list):
            return repr(value)
        known = self.texts.get(id(value))
        if known is None:
            known = self.texts[id(value)] = (value, repr(value))  # it is kept, so its id stays its own
        return known[1]

    def settings(self, given: Mapping[str, object]) -> Settings:
        """Validate settings; sections that were validated before are not validated again.

        Raises:
            ValidationError: something is wrong.
        """
        places = {name: (name, self.text(given[name]) if name in given else None) for name in Settings.model_fields}
        known = {name: self.sections[place] for name, place in places.items() if place in self.sections}
        found = Settings.model_validate({**given, **known})
        found.model_fields_set.intersection_update(given)
        self.sections.update(
            {places[name]: value for name, value in found if name not in known and _is_of_models(value)}
        )
        return found


def _is_of_models(value: object) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    return bool(inside) and all(isinstance(one, BaseModel) for one in inside)


def read_settings(
    variables: Mapping[str, object],
    origin: Origin,
    secret: Callable[[str], bool] = lambda _: False,
    before: Before | None = None,
) -> tuple[Settings | None, list[str]]:
    """Validate one host's ``slipway_`` variables.

    Args:
        variables: the host's variables, templated.
        origin: tells where a variable, or what is inside it, was written: ``inventory/lab/group_vars/all.yml:3``.
        secret: whether a variable's value must not be shown.
        before: what was read of other hosts'.

    Returns:
        The settings, or None; and one sentence for each mistake.
    """
    given = {key.removeprefix(PREFIX): value for key, value in variables.items() if key.startswith(PREFIX)}
    if before is not None:
        with contextlib.suppress(ValidationError):  # what it says speaks of sections as they were read
            return before.settings(given), []
    try:
        return Settings.model_validate(given), []
    except ValidationError as error:
        # Each member of a union that did not fit complains; what it says of the same place is one mistake.
        details = {_place(detail): detail for detail in reversed(error.errors(include_url=False))}
        return None, [_sentence(detail, given, origin, secret) for detail in reversed(details.values())]


def _sentence(detail: ErrorDetails, given: Mapping[str, object], origin: Origin, secret: Callable[[str], bool]) -> str:
    location = list(_place(detail))
    key = PREFIX + _dotted(location) if location else "slipway_*"
    top = PREFIX + str(location[0]) if location else ""
    where = origin(top, *location[1:]) if location and str(location[0]) in given else ""
    found = "a secret" if where and secret(top) else _short(detail.get("input"))
    kind = detail["type"]
    if location[:1] == ["secrets"] and len(location) == 2:
        # Who wrote the secret itself here must not read it in a log.
        text = (
            f"{key}: expected {{file: PATH}}, {{env: NAME}} or {{command: [PROGRAM, ARGUMENT]}}; no secret stands here"
        )
    elif not location:
        said = _expected(detail)
        about, _, rest = said.partition(":")
        text = f"{PREFIX}{said}" if about in Settings.model_fields else said
        if about in given:
            where = origin(PREFIX + about, *_entry(given[about], rest))
    elif kind == "missing":
        text = f"{key} is missing"
    elif kind == "extra_forbidden":
        text = f"{key} is not a setting{_suggest(location)}"
    else:
        text = f"{key}: found {found}; {_expected(detail)}"
    return f"{where}: {text}" if where else text


def _place(detail: ErrorDetails) -> tuple[int | str, ...]:
    """Where it is, as a user wrote it: pydantic puts names of a union's members into the path."""
    path = detail["loc"]
    if path[:2] == ("health", "checks"):
        path = (*path[:3], *path[4:])  # the check's type
    found = tuple(part for part in path if not str(part).endswith(("Secret", "]")))
    # Which keys a secret has says which kind it is, so every kind lacks something.
    return found[:2] if found[:1] == ("secrets",) else found


def _expected(detail: ErrorDetails) -> str:
    """pydantic's words, for people who know YAML and not Python."""
    context = detail.get("ctx", {})
    words = {
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "list_type": "a list",
        "dict_type": "keys with values",
        "model_type": "keys with values",
        "string_type": "text",
        "greater_than_equal": f"{context.get('ge')} or more",
        "greater_than": f"more than {context.get('gt')}",
        "less_than_equal": f"{context.get('le')} at the most",
        "less_than": f"less than {context.get('lt')}",
        "too_short": f"a list of at least {context.get('min_length')}",
        "literal_error": str(context.get("expected")),
        "union_tag_invalid": f"a type that is one of {context.get('expected_tags')}",
        "union_tag_not_found": "a type",
    }
    if detail["type"] in words:
        return f"expected {words[detail['type']]}"
    said = detail["msg"].removeprefix("Value error, ")
    return said[:1].lower() + said[1:]


def _entry(value: object, sentence: str) -> tuple[int, ...]:
    """Where in a list the entry is that a sentence begins with, if it does."""
    if not isinstance(value, list):
        return ()
    words = [str(entry.get("dest", entry.get("name"))) if isinstance(entry, dict) else str(entry) for entry in value]
    return tuple(index for index, word in enumerate(words) if sentence.strip().startswith(f"{word} "))[-1:]


def _dotted(parts: list[int | str]) -> str:
    text = str(parts[0])
    for part in parts[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _suggest(location: list[int | str]) -> str:
    near = difflib.get_close_matches(str(location[-1]), _known(location[:-1]), n=1)
    return f"; did you mean {near[0] if location[:-1] else PREFIX + near[0]}?" if near else ""


def _known(section: list[int | str]) -> list[str]:
    """The settings that there are in a section, be it one of several kinds."""
    models: list[type[BaseModel]] = [Settings]
    for part in section:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model in _models_in(field.annotation)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or nested as deep
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else text[:57] + "..."
