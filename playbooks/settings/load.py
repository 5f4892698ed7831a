"""From inventory variables to settings: every mistake told at once, with its file and key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from playbooks.settings.model import Settings

PREFIX = "slipway_"

Origin = Callable[..., str]


def read_settings(
    variables: Mapping[str, object], origin: Origin, secret: Callable[[str], bool] = lambda _: False
) -> tuple[Settings | None, list[str]]:
    """Validate one host's ``slipway_`` variables.

    Args:
        variables: the host's variables, templated.
        origin: tells where a variable, or what is inside it, was written: ``inventory/lab/group_vars/all.yml:3``.
        secret: whether a variable's value must not be shown.

    Returns:
        The settings, or None; and one sentence for each mistake.
    """
    given = {key.removeprefix(PREFIX): value for key, value in variables.items() if key.startswith(PREFIX)}
    try:
        return Settings.model_validate(given), []
    except ValidationError as error:
        return None, [_sentence(detail, given, origin, secret) for detail in error.errors(include_url=False)]


def _sentence(detail: ErrorDetails, given: Mapping[str, object], origin: Origin, secret: Callable[[str], bool]) -> str:
    location = [part for part in detail["loc"] if not _is_tag(part)]
    key = PREFIX + _dotted(location) if location else "slipway_*"
    top = PREFIX + str(location[0]) if location else ""
    where = origin(top, *location[1:]) if location and str(location[0]) in given else ""
    found = "a secret" if where and secret(top) else _short(detail.get("input"))
    kind = detail["type"]
    if kind == "missing":
        text = f"{key} is missing"
    elif kind == "extra_forbidden":
        text = f"{key} is not a setting{_suggest(location)}"
    else:
        expected = detail["msg"].removeprefix("Value error, ")
        text = f"{key}: found {found}; {expected[:1].lower()}{expected[1:]}"
    return f"{where}: {text}" if where else text


def _is_tag(part: int | str) -> bool:
    """pydantic puts the name of the union's member into the path; a user never wrote it."""
    return part in ("http", "tcp", "unit", "command", "postgresql", "redis") or str(part).endswith("Secret")


def _dotted(parts: list[int | str]) -> str:
    text = str(parts[0])
    for part in parts[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _suggest(location: list[int | str]) -> str:
    if len(location) != 1:
        return ""
    near = difflib.get_close_matches(str(location[0]), Settings.model_fields, n=1)
    return f"; did you mean {PREFIX}{near[0]}?" if near else ""


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or nested as deep
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else text[:57] + "..."
