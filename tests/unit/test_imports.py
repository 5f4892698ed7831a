"""Imports run downward, those for types alone among them: a module can be read without all that stands on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
# From the ground up. A module may import what is in its own layer, or in one below; "*" are the procedures, which are
# in no folder.
LAYERS = (
    *(
        "core",
        "settings",
        "inventory",
        "fleet",
        "judgement",
        "strategies",
        "migrations",
        "adapters",
        "ledger",
        "steps",
        "environments",
    ),
    *("releases", "traffic", "backups", "checks", "rollout", "*", "report", "cli", "tasks"),
)
# What is wrong still. Each line here is to go; a test fails when one is not needed any more.
UPWARD: set[tuple[str, str]] = set()
CIRCLES: list[set[str]] = []


def short(file: Path) -> str:
    """A module's name without "playbooks."; "" is the package itself."""
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("playbooks", "__init__"))


FILES = {short(file): file for file in [*(PROJECT / "playbooks").rglob("*.py"), PROJECT / "tasks.py"]}


def imported(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports anywhere: at its top, in a function, or for types."""
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [f"{node.module}.{one.name}" for one in node.names]
        for name in names:
            found = name.removeprefix("playbooks.")
            while found and found not in FILES:
                found = found.rpartition(".")[0]
            if found and (name.startswith("playbooks.") or name.split(".")[0] == "tasks"):
                yield found


@cache
def graph() -> dict[str, frozenset[str]]:
    return {name: frozenset(imported(file)) - {name} for name, file in FILES.items()}


def layer(module: str) -> int:
    """The number of a module's layer: its folder's, or that of the procedures."""
    folder = module.partition(".")[0] or "core"
    return LAYERS.index(folder if folder in LAYERS else "*")


def reached(start: str) -> set[str]:
    """All that a module imports, and what those import."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph()[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_imports_run_downward() -> None:
    """An import upward makes two layers one: neither can be read, tested or moved without the other."""
    upward = {(name, one) for name, those in graph().items() for one in those if layer(one) > layer(name)}
    assert upward == UPWARD


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Within a layer too: of a circle nobody can say where to begin to read."""
    all_of = {name: reached(name) for name in graph()}
    circles = {
        frozenset(one for one in those if name in all_of[one]) for name, those in all_of.items() if name in those
    }
    assert sorted(map(sorted, circles)) == sorted(map(sorted, CIRCLES))


def test_every_folder_has_its_layer() -> None:
    """A folder without one would count as a procedure, and might import nearly everything."""
    folders = {file.parent.name for file in (PROJECT / "playbooks").glob("*/__init__.py")}
    assert folders == set(LAYERS) - {"*", "tasks"}


def test_docs_show_the_layers_in_their_order() -> None:
    """docs/architecture.md has the folders from above to below."""
    page = (PROJECT / "docs/architecture.md").read_text()
    told = re.findall(r"^  ([a-z]+)/ ", page.partition("```\n")[2].partition("```")[0], re.MULTILINE)
    assert told == [name for name in LAYERS if name not in ("*", "tasks")][::-1]
