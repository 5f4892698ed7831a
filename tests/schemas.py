"""Documents that tasks print, held against docs/schemas: nothing may be missing, and nothing be there besides."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def check_document(document: Any) -> None:
    """Hold a document against the schema that it names.

    Raises:
        jsonschema.ValidationError: it is otherwise.
    """
    name, _, version = document["schema"].partition("/")
    validator(name.removeprefix("slipway.")).validate(document)
    assert version == "1"
    for one in document.get("applications", {}).values() if name == "slipway.applications" else ():
        check_document(one)


def check_answer(words: tuple[str, ...], text: str) -> None:
    """Hold what a task printed against its schema, if it was asked for JSON.

    Args:
        words: the command line.
        text: standard output.
    """
    asked = "--json" in words or "-j" in words
    if not asked or words[0].startswith("lab.") or "--follow" in words:
        return
    try:
        document = json.loads(text)
    except ValueError:
        return  # whoever looks at it says so
    # With --host and --vars, and for an inventory without settings, the document is ansible-inventory's.
    if "schema" in document or words[0] != "inventory":
        check_document(document)


@cache
def validator(name: str) -> Draft202012Validator:
    """What checks documents of this name, closed."""
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(_closed(schema))


def _closed(schema: Any) -> Any:
    """The schema where no object has more than it names: for who reads documents more is fine, in a test it is news."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and isinstance(found.get("type"), str | list):
        found.setdefault("additionalProperties", False)
    return found
