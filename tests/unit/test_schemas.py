"""Every document that --json prints has a schema in docs/schemas, and is as that says."""

from __future__ import annotations

import importlib
import json
import pkgutil
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import jsonschema
import pytest

import playbooks
from playbooks.backup import Backups
from playbooks.console import Console
from playbooks.core.answer import Result, document_of
from playbooks.core.errors import FleetError, Unreachable, error_document
from playbooks.core.phases import PhaseCode
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Verdict
from playbooks.report.documents import json_pieces, masked_document
from playbooks.report.timings import Timings
from playbooks.rollout.outcome import Outcome
from playbooks.settings.judgement import Criteria
from playbooks.steps.logs import LogLine
from tests import schemas

PLAIN: dict[Any, tuple[Any, ...]] = {
    str: ("", "é b"),
    object: ("", "é b"),
    Any: ("", "é b"),
    int: (0, 3),
    float: (0.0, 1.5),
    bool: (False, True),
    Criteria: (Criteria.model_validate({}),),
    Counts: (Counts(), Counts(3, 1, {20.0: 3})),
}
BACKUP = {
    **dict.fromkeys(("id", "created", "host", "version", "snapshot", "repository"), "x"),
    "kind": "application",
    "release": None,
}
VARIANTS = 12  # the most that a field's type has members, twice


def value(kind: Any, number: int) -> Any:
    """A value of a field's type: up to `VARIANTS` each of its members, with and without items."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind][number % len(PLAIN[kind])]
    if kind is type(None):
        return None
    if origin is typing.Literal:
        return arguments[number // 2 % len(arguments)]
    if origin in (typing.Union, types.UnionType):
        return value(arguments[number // 2 % len(arguments)], number)
    if origin is tuple and arguments[1:] != (...,):
        return tuple(value(one, number) for one in arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {value(arguments[0], number): value(arguments[1], number)} if number % 2 else {}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = [value(arguments[0], number)] * (number % 2)
        return items if origin is list else tuple(items)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)[number // 2 % len(kind)]
    assert is_dataclass(kind), kind
    hints = typing.get_type_hints(kind)
    build: Any = kind
    return build(**{one.name: value(hints[one.name], number) for one in fields(kind) if one.init})


def results() -> list[type[Result]]:
    """The classes of what playbooks return, but for those of tasks without --json."""
    found: dict[str, type[Result]] = {}
    for module in pkgutil.iter_modules(playbooks.__path__):
        for one in vars(importlib.import_module(f"playbooks.{module.name}")).values():
            ours = isinstance(one, type) and is_dataclass(one) and one.__module__ == f"playbooks.{module.name}"
            if ours and hasattr(one, "exit_status") and hasattr(one, "to_json") and one is not Console:
                found[one.__name__] = one
    return list(found.values())


def printed(document: Mapping[str, Any]) -> Any:
    """A document as it is read again by who asked for it."""
    return json.loads("".join(json_pieces(masked_document(document, str), json.dumps)))


@pytest.mark.parametrize("kind", results(), ids=lambda kind: kind.__name__)
def test_a_result_is_as_its_schema_says(kind: type[Result]) -> None:
    """A field that comes, goes or changes its type would break programs, and nobody would have meant it."""
    for number in range(VARIANTS):
        result = value(kind, number)
        if isinstance(result, Backups):
            result = replace(result, records=(BACKUP,))
        schemas.check_document(printed(document_of(result)))


@pytest.mark.parametrize("number", range(VARIANTS))
@pytest.mark.parametrize("task", ["deploy", "rollback"])
def test_what_a_deploy_comes_to_is_as_its_schema_says(task: str, number: int) -> None:
    judged = {"stage": "5 %", "share": 0.05, "went_on": True, "promoted_by": "ann", **value(Verdict, number).to_json()}
    found = replace(value(Outcome, number), task=task, verdicts=(judged,))
    schemas.check_document(printed(document_of(found)))


def test_timings_are_as_their_schema_says() -> None:
    """They are in the document of each task that has --timings, in the same words."""
    gone = error_document(Unreachable("gone"))
    for number in range(2 * len(PhaseCode)):
        schemas.check_document(printed({**gone, "timings": value(Timings, number).to_json()}))
    timed = [json.loads(file.read_text())["properties"].get("timings") for file in schemas.FOLDER.glob("*.json")]
    (shape,) = {json.dumps(one) for one in timed if one}
    assert json.dumps(list(PhaseCode)) in shape


def test_errors_are_as_their_schema_says() -> None:
    """A program that meets an error has nothing else to go by."""
    gone = Unreachable("gone", host="app1", hint="look")
    for error in (gone, FleetError("two failed", {"app1": gone, "app2": gone})):
        schemas.check_document(printed(error_document(error)))
    several = {"schema": "slipway.applications/1", "environment": "x", "exit_status": 1}
    schemas.check_document({**several, "applications": {"shop": printed(error_document(gone))}})


def test_each_schema_is_of_a_document() -> None:
    """A schema that nothing has any more tells of fields that nobody gets."""
    names = {str(one.schema) for one in results()}
    more = {f"slipway.{name}/1" for name in ("deploy", "rollback", "error", "applications", "log-line")}
    assert {f"slipway.{file.stem}/1" for file in schemas.FOLDER.glob("*.json")} == names | more
    deploy, rollback = ((schemas.FOLDER / f"{name}.json").read_text() for name in ("deploy", "rollback"))
    assert rollback.replace("rollback", "deploy") == deploy  # both are an Outcome


def test_a_document_with_more_or_less_is_refused() -> None:
    """Otherwise the tests above prove nothing."""
    line = {"schema": "slipway.log-line/1", **LogLine(1, "app1", "shop", False, 6, "hello").to_json()}
    schemas.check_document(line)
    for wrong in ({**line, "more": 1}, {key: value for key, value in line.items() if key != "unit"}):
        with pytest.raises(jsonschema.ValidationError):
            schemas.check_document(wrong)
