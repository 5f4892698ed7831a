"""Codes: each error class has its own, scripts say no other words, and docs/errors.md lists exactly these."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import playbooks
from playbooks.core.errors import BadAnswer, SlipwayError, StepFailed, StepTimedOut, UsageError
from playbooks.core.errors import error_document as document
from playbooks.core.states import GuardState, StageCode, TaskStatus
from playbooks.core.step_codes import StepCode
from playbooks.fleet.failures import explain
from playbooks.fleet.fanout import combine
from playbooks.fleet.script import parse
from playbooks.judgement.verdict import Finding

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = (PROJECT / "docs/errors.md").read_text()
SCRIPTS = [*(PROJECT / "playbooks").rglob("*.sh")]
CODE = re.compile(r"[a-z]+\.[a-z]+(?:-[a-z]+)*")
# How scripts say why they fail: the word itself, or a variable that is given to `fail` later.
SAYS = re.compile(
    r"(?:\bfail|\bfail_showing|\bfetch_fails|\bexplain_space '[^']*') ([a-z][a-z-]*) ['\"$]"
    r"|\b(?:code|lacking|fetch_code)=([a-z][a-z-]*)"
    r"|does not name\", \"([a-z-]+)\"\)"
)


def classes() -> list[type[SlipwayError]]:
    for module in pkgutil.walk_packages(playbooks.__path__, "playbooks."):
        importlib.import_module(module.name)
    found: list[type[SlipwayError]] = [SlipwayError]
    for one in found:
        found += [each for each in one.__subclasses__() if each.__module__.startswith("playbooks.")]
    return found


def listed(section: str) -> list[str]:
    """The words of a section's table, from its first column."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert text is not None
    return re.findall(r"^\| `([^`]+)` \|", text[1], re.MULTILINE)


def said() -> Iterator[tuple[str, str]]:
    """Words for failures in scripts, with the script's name."""
    for file in SCRIPTS:
        lines = (line for line in file.read_text().split("\n") if not line.lstrip().startswith("#"))
        for words in SAYS.findall("\n".join(lines)):
            yield file.name, "".join(words)


def test_each_class_declares_a_code_of_its_own() -> None:
    """Two errors with one code cannot be told apart by a program; one that has its parent's is not documented."""
    steps = {StepFailed, StepTimedOut}
    codes = [one.__dict__.get("code") for one in classes() if one not in steps]
    assert all(isinstance(code, str) and CODE.fullmatch(code) for code in codes), codes
    assert len(set(codes)) == len(codes), sorted(map(str, codes))


def test_the_page_lists_what_the_code_declares() -> None:
    """A code that is not listed tells a user nothing; one that is listed and does not exist is waited for in vain."""
    steps = {StepFailed, StepTimedOut}
    outcomes = get_args(get_type_hints(Finding)["outcome"])
    assert sorted(listed("Tasks")) == sorted(one.code for one in classes() if one not in steps)
    words: dict[str, Iterable[str]] = {
        "Steps": StepCode,
        "Stages": StageCode,
        "Guards": GuardState,
        "What became of a task": TaskStatus,
        "Verdicts": outcomes,
    }
    for section, declared in words.items():
        assert sorted(listed(section)) == sorted(declared), section


def test_scripts_say_declared_words_only() -> None:
    """A word that is not declared would reach the user as step.failed."""
    found = set(said())
    assert len(found) > 100
    assert [(file, word) for file, word in sorted(found) if StepCode.of_word(word).word != word] == []


def test_each_code_of_a_step_can_come_about() -> None:
    """A code that nothing has any more stays in the page, and in people's programs, for nothing."""
    words = {word for _, word in said()}
    python = "\n".join(file.read_text() for file in (PROJECT / "playbooks").rglob("*.py"))
    raised = set(re.findall(r"(?<!=)=\s*StepCode\.([A-Z_]+)", python))
    assert [code.name for code in StepCode if code.word not in words and code.name not in raised] == []


def test_a_host_makes_up_no_code() -> None:
    """What a host says is shown as its sentence; a program decides by codes, and by ours alone."""
    answer = parse("app1", "stage", b"error\tlock.held\tsomebody\n", 0.0)
    error = explain("app1", "stage", answer, 1, b"")
    assert error.code == "step.failed"


def test_the_code_of_several_hosts_is_theirs_if_they_have_one() -> None:
    """One full disk or three: it is the same code, and each host's is there."""
    full = [StepFailed("full", host=f"app{n}", step="stage", code=StepCode.NO_SPACE) for n in (1, 2)]
    same = combine("staging", {"app1": full[0], "app2": full[1]}, total=2)
    assert (same.code, combine("staging", {"app1": full[0]}, total=2)) == ("step.no-space", full[0])
    mixed = combine("staging", {"app1": full[0], "app2": BadAnswer("odd", host="app2")}, total=2)
    told = json.loads(json.dumps(document(mixed)))["error"]
    assert (told["code"], [(one["host"], one["code"]) for one in told["hosts"]]) == (
        "fleet.failed",
        [("app1", "step.no-space"), ("app2", "host.bad-answer")],
    )


@pytest.mark.parametrize("folder", ["playbooks", "lab"])
def test_no_document_has_the_name_of_a_class(folder: str) -> None:
    """A class is renamed freely; what a program reads is not. In sentences a class's name may say what was found."""
    at = re.compile(r"[\"'](?:kind|code|error|state|status)[\"']: *type\(")
    assert [file for file in (PROJECT / folder).rglob("*.py") if at.search(file.read_text())] == []


def test_an_error_of_no_host_has_no_hosts() -> None:
    assert document(UsageError("no")) == {
        "schema": "slipway.error/1",
        "error": {"code": "usage.invalid", "message": "no", "hint": None, "host": None, "log": [], "hosts": []},
        "exit_status": 2,
    }
