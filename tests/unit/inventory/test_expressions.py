"""Regular expressions of an inventory: what `re` says, and never for longer than seconds."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateRuntimeError

from playbooks.core.errors import SlipwayError, UsageError
from playbooks.inventory import expressions, filters, load_inventory, select
from playbooks.inventory.expressions import TooCostly
from tests.private_parts import proves

EVIL = [
    (r"(a+)+$", "a" * 28 + "!"),
    (r"(a|a)*$", "a" * 28 + "!"),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 40),
    (r"(.*)*\1x", "a" * 30),
    (r"(?=(a+))*\w*\w*\w*\w*\w*!", "a" * 2000),
    (r"\w*\w*\w*\w*\w*!", "a" * 1000),
]
PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".",
        r"\d",
        "[ab]",
        "(a)",
        "(a|b)",
        "a+",
        "b*",
        "a{0,2}",
        "(ab)?",
        "$",
        "^",
        r"(?P<n>a)",
        "(?=a)",
        "(a+)+",
    ]
)


@pytest.mark.parametrize(("pattern", "text"), EVIL)
def test_no_expression_takes_for_ever(pattern: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """28 letters held every task of a project for more than a minute; 40 would have outlived us."""
    monkeypatch.setattr(expressions, "SECONDS", 1.0)
    monkeypatch.setattr(expressions, "_spent", [])
    began = time.monotonic()
    with pytest.raises(TooCostly, match="takes more than 1 s"):
        expressions.subn(pattern, "", text)
    assert time.monotonic() - began < 10


def test_many_expressions_do_not_take_for_ever_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop in a template can ask for a thousand."""
    monkeypatch.setattr(expressions, "SECONDS", 0.2)
    monkeypatch.setattr(expressions, "ALL_SECONDS", 0.5)
    monkeypatch.setattr(expressions, "_spent", [])
    with pytest.raises(TooCostly, match="in all"):
        for _ in range(1000):
            try:
                expressions.search(*EVIL[0])
            except TooCostly as error:
                if "in all" in str(error):
                    raise


def test_a_replacement_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million letters, each replaced by a million: the kernel ends whoever asks for that, or somebody else."""
    monkeypatch.setattr(expressions, "_spent", [])
    with pytest.raises(TooCostly, match="takes more"):
        expressions.subn("a", "b" * 1_000_000, "a" * 1_000_000)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(PIECES, max_size=4, unique=True).map("".join),
    st.text("ab1 ", max_size=12),
    st.sampled_from([0, re.I, re.M]),
)
def test_both_ways_say_what_re_says(pattern: str, text: str, flags: int) -> None:
    """An inventory must not mean something else where its expression is matched elsewhere."""
    expressions._spent.clear()
    for few in (expressions._FEW_STEPS, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(expressions, "_FEW_STEPS", few)
            assert expressions.findall(pattern, text, flags) == re.findall(pattern, text, flags)
            assert expressions.subn(pattern, r"<\g<0>>", text, 1, flags) == re.subn(
                pattern, r"<\g<0>>", text, count=1, flags=flags
            )
            for how in ("search", "match"):
                found, wanted = getattr(expressions, how)(pattern, text, flags), getattr(re, how)(pattern, text, flags)
                assert (found and found.groups) == (wanted and (wanted.group(0), *wanted.groups()))


@pytest.mark.parametrize("pattern", ["(", "a**", "[z-a]", "(?P<n>a)(?P<n>b)"])
def test_what_is_no_expression_is_said_to_be_none(pattern: str) -> None:
    """A mistake is no time-out."""
    with pytest.raises(re.error):
        expressions.search(pattern, "a")


@proves("Python", "_parser")
def test_usual_expressions_cost_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inventories of hundreds of hosts use them for each."""
    monkeypatch.setattr(expressions, "_elsewhere", None)
    for pattern in (r"^web(\d+)\.eu", r"\.example\.com$", r"[^a-z0-9]+", r"^(\w+)-(\w+)$", r"(eu|us)-\d{1,3}"):
        expressions.search(pattern, "web12.eu-west.example.com")


def test_an_inventory_with_an_evil_expression_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is data for whoever runs --check on a pull request."""
    monkeypatch.setattr(expressions, "SECONDS", 1.0)
    monkeypatch.setattr(expressions, "_spent", [])
    text = "all: {hosts: {a: {slow: \"{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | regex_replace('(a+)+$', '') }}\"}}}\n"
    (tmp_path / "hosts.yml").write_text(text)
    with pytest.raises(SlipwayError, match="takes more than 1 s"):
        load_inventory(str(tmp_path / "hosts.yml"), tmp_path).resolved_vars("a")["slow"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("to_nice_json", ([1], 10**9)),
        ("to_json", ([[1]],)),
        ("to_nice_yaml", ([1], 10**9)),
        ("tojson", ([1], 10**9)),
        ("union", (list(range(10_000)), list(range(10_000)))),
        ("symmetric_difference", (list(range(10_000)), list(range(10_000)))),
    ],
)
def test_no_filter_fills_the_memory_or_takes_for_ever(name: str, arguments: tuple[object, ...]) -> None:
    """An indent of a thousand million blanks is one number in an inventory."""
    keywords = {"indent": 10**9} if name == "to_json" else {}
    with pytest.raises(TemplateRuntimeError):
        filters.FILTERS[name](*arguments, **keywords)


def test_a_host_pattern_takes_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """slipway_hosts is a setting like any other."""
    monkeypatch.setattr(expressions, "SECONDS", 1.0)
    monkeypatch.setattr(expressions, "_spent", [])
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{{'a' * 40}: }}}}\n")
    inventory = load_inventory(str(tmp_path / "hosts.yml"), tmp_path)
    assert select(inventory, "~a+$") == ["a" * 40]
    with pytest.raises(UsageError, match="takes more than 1 s"):
        select(inventory, "~(a+)+b$")
