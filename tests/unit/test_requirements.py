"""docs/requirements.md: every number is there, and what it names exists. No user meets a number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tasks import namespace

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "requirements.md"
NUMBERS = [
    f"{part}{number}"
    for part, last in {"A": 9, "B": 5, "C": 3, "D": 5, "E": 5, "F": 2, "G": 10, "H": 2}.items()
    for number in range(1, last + 1)
]
NUMBER = re.compile(rf"\b(?:{'|'.join(reversed(NUMBERS))})\b")
# Sets of control characters have such names, too.
NO_NUMBER = re.compile(r"\bC0 and C1\b")
STATES = ("Met", "Partly met", "Not built yet")
SECTIONS = re.findall(r"^### (\w+) [^\n]*\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TESTS = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(\w+)", PAGE.read_text())))
COMMANDS = sorted(set(re.findall(r"`invoke ([^`]+)`", PAGE.read_text())))
SETTINGS = sorted(set(re.findall(r"`(slipway_[\w.]+)`", PAGE.read_text())))
USERS_READ = [
    PROJECT / "README.md",
    PROJECT / "CHANGELOG.md",
    *(page for page in (PROJECT / "docs").rglob("*.md") if page != PAGE),
    *(PROJECT / "templates").rglob("*.j2"),
    *(PROJECT / "inventory").rglob("*.yml"),
]


def test_every_number_is_there_once_and_in_order() -> None:
    assert [number for number, _ in SECTIONS] == NUMBERS


@pytest.mark.parametrize(("number", "text"), SECTIONS, ids=[number for number, _ in SECTIONS])
def test_a_state_has_what_belongs_to_it(number: str, text: str) -> None:
    """ "Met" without a test is a claim; "not built" with a command is one of the two, and nobody knows which."""
    first, _, rest = text.partition("\n")
    state = first.strip("*")
    assert state in STATES, number
    parts = re.findall(r"^- (\w+): ", rest, re.MULTILINE)
    expected = {"Met": ["By", "Tests"], "Partly met": ["By", "Tests", "Missing"], "Not built yet": []}[state]
    assert [part for part in parts if part != "Note"] == expected
    if state != "Not built yet":
        by = rest[rest.index("- By: ") : rest.index("- Tests: ")]
        assert re.search(r"`(invoke |slipway_)", by)
        assert "::test_" in rest


@cache
def functions(file: Path) -> frozenset[str]:
    return frozenset(node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("file", "name"), TESTS, ids=[name for _, name in TESTS])
def test_the_test_exists(file: str, name: str) -> None:
    """A test that was renamed or removed proves nothing any more."""
    assert name in functions(PROJECT / file)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_exists(command: str) -> None:
    name, *flags = command.split()
    assert name in namespace.task_names
    known = {
        f"--{one}" for argument in namespace[name].get_arguments(ignore_unknown_help=True) for one in argument.names
    }
    assert set(flags) <= known


def documented() -> dict[str, dict[str, list[str]]]:
    """By section of docs/settings.md: its keys, and the sections that their kinds lead to."""
    found: dict[str, dict[str, list[str]]] = {}
    for title, text in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", (PROJECT / "docs/settings.md").read_text(), re.MULTILINE | re.DOTALL
    ):
        rows = re.findall(r"^\| `([^`]+)` \| ([^|]*)", text, re.MULTILINE)
        found[title] = {key: re.findall(r"\[(\w+)\]\(#", kind) for key, kind in rows}
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_setting_exists(setting: str) -> None:
    """slipway_backup.keep.within is the key within, of the section that the kind of keep leads to."""
    if setting == "slipway_applications":  # of the inventory, not of a host: the page's head has it
        assert f"`{setting}`" in (PROJECT / "docs/settings.md").read_text()
        return
    sections, pages = ["Top level"], documented()
    for key in setting.split("."):
        having = [pages[section] for section in sections if key in pages[section]]
        assert having, f"{key} is in none of {sections}"
        sections = [one for keys in having for one in keys[key]]


@pytest.mark.parametrize("page", USERS_READ, ids=lambda page: str(page.relative_to(PROJECT)))
def test_no_page_has_a_number(page: Path) -> None:
    """They tell a user nothing."""
    assert NUMBER.findall(NO_NUMBER.sub("", page.read_text())) == []


def said(file: Path) -> Iterator[str]:
    """Texts of a module that a user may read: all but docstrings; of tasks, those too, since they are the help."""
    tree = ast.parse(file.read_text())
    documented_by = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented_by) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(one).startswith("task") for one in node.decorator_list
        ):
            yield ast.get_docstring(node) or ""


def test_no_message_has_a_number() -> None:
    files = [PROJECT / "tasks.py", *(PROJECT / "playbooks").rglob("*.py"), *(PROJECT / "lab").rglob("*.py")]
    found = {(file.name, text) for file in files for text in said(file) if NUMBER.search(text)}
    assert found == set()
    scripts = {
        (script.name, line)
        for script in (PROJECT / "playbooks").rglob("*.sh")
        for line in script.read_text().splitlines()
        if NUMBER.search(line.partition("#")[0])
    }
    assert scripts == set()
