"""What the application's own migration tools write, and which commands they are given (C1)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from playbooks.core.errors import UsageError
from playbooks.migrations.tools import commands_of, down_command, moved, read_status, require_applied
from playbooks.settings.migrations import Migrations

# As the tools' own documentation and releases write it; alembic, Django and dbmate also run in tests/hosts.
STATUSES = {
    "alembic": (
        "b2 -> c3 (head), price\na1 -> b2 (current), name\n<base> -> a1, items",
        ["a1 items", "b2 name"],
        ["c3 price"],
    ),
    "django": (
        "[X]  shop.0001_initial\n[X]  shop.0002_all ... (shop.0001_initial)\n[ ]  shop.0003_price",
        ["shop.0001_initial", "shop.0002_all"],
        ["shop.0003_price"],
    ),
    "rails": (
        "\ndatabase: shop\n\n Status   Migration ID    Migration Name\n----------------\n"
        "   up     20240101000000  Create items\n  down    20240102000000  Add price",
        ["20240101000000 Create items"],
        ["20240102000000 Add price"],
    ),
    "flyway": (
        "Schema version: 1\n\n"
        "+-----------+---------+-------------+------+---------------------+---------+----------+\n"
        "| Category  | Version | Description | Type | Installed On        | State   | Undoable |\n"
        "+-----------+---------+-------------+------+---------------------+---------+----------+\n"
        "| Versioned | 1       | items       | SQL  | 2024-01-01 00:00:00 | Success | No       |\n"
        "| Versioned | 2       | price       | SQL  |                     | Pending | No       |\n",
        ["1 items"],
        ["2 price"],
    ),
    "prisma": (
        "2 migrations found in prisma/migrations\n\nFollowing migration have not yet been applied:\n"
        "20240102000000_price\n\nTo apply migrations in production run prisma migrate deploy.",
        [],
        ["20240102000000_price"],
    ),
    "knex": (
        "Found 1 Completed Migration file/files.\n20240101_items.js \nFound 1 Pending Migration file/files.\n"
        "20240102_price.js ",
        ["20240101_items.js"],
        ["20240102_price.js"],
    ),
    "dbmate": (
        "[X] 001_items.sql\n[ ] 002_price.sql\n\nApplied: 1\nPending: 1",
        ["001_items.sql"],
        ["002_price.sql"],
    ),
}


def of(**settings: Any) -> Migrations:
    return Migrations.model_validate(settings)


@pytest.mark.parametrize("tool", STATUSES)
def test_a_status_is_read(tool: str) -> None:
    """Somebody would believe that nothing is pending."""
    text, applied, pending = STATUSES[tool]
    status = read_status(of(tool=tool), text.split("\n"), 0)
    assert (status.known, list(status.applied), list(status.pending)) == (True, applied, pending)
    strange = read_status(of(tool=tool), ["Traceback", "could not connect"], 1)
    assert (strange.known, strange.sentence) == (False, "could not connect")


def test_what_moved_is_known_from_both_statuses() -> None:
    """The tool's own output says it in its own words."""
    before = read_status(of(tool="dbmate"), ["[X] 1_a.sql", "[ ] 2_b.sql", "[ ] 3_c.sql"], 0)
    after = read_status(of(tool="dbmate"), ["[X] 1_a.sql", "[X] 2_b.sql", "[ ] 3_c.sql"], 0)
    assert list(moved(before, after)) == list(moved(after, before)) == ["2_b.sql"]


@pytest.mark.parametrize(
    ("settings", "to", "command"),
    [
        ({"tool": "alembic", "program": "venv/bin/alembic"}, "a1", "venv/bin/alembic downgrade a1"),
        ({"tool": "alembic"}, "none", "alembic downgrade base"),
        ({"tool": "django"}, "shop.0001_initial", "python3 manage.py migrate --no-input shop 0001_initial"),
        ({"tool": "rails"}, "20240101000000", "bin/rails db:migrate VERSION=20240101000000"),
        ({"commands": {"up": "u", "down": "d -t {to}", "status": "s"}}, "7", "d -t 7"),
    ],
)
def test_down_goes_to_a_version(settings: dict[str, Any], to: str, command: str) -> None:
    assert down_command(of(**settings), to) == command


@pytest.mark.parametrize(
    ("settings", "to", "said"),
    [
        ({"tool": "flyway"}, "1", "no command that goes back"),
        ({"commands": {"up": "u", "status": "s"}}, "1", "no command that goes back"),
        ({"tool": "alembic"}, "-1", "expected a version"),
        ({"tool": "alembic"}, "1; rm x", "expected a version"),
        ({"tool": "django"}, "0001_initial", "APP.NAME"),
        ({"tool": "django"}, "none", "one app at a time"),
    ],
)
def test_no_other_word_reaches_the_command(settings: dict[str, Any], to: str, said: str) -> None:
    """A shell would read it."""
    with pytest.raises(UsageError, match=said):
        down_command(of(**settings), to)


def test_a_version_that_the_database_lacks_is_refused() -> None:
    """dbmate goes back one by one until it meets it, so it would take everything back."""
    tool = of(tool="dbmate")
    status = read_status(tool, ["[X] 001_items.sql", "[ ] 002_price.sql"], 0)
    require_applied(tool, status, "001")
    require_applied(tool, status, "none")
    assert down_command(tool, "001_items.sql") == down_command(tool, "001")
    for to in ("002", "00", "3"):
        with pytest.raises(UsageError, match="no such migration"):
            require_applied(tool, status, to)
    with pytest.raises(UsageError, match="not understood"):
        require_applied(tool, read_status(tool, ["Error: no such host"], 1), "001")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "exactly one of folder, tool and commands; it has none"),
        ({"folder": "db", "tool": "django"}, "it has folder and tool"),
        ({"tool": "sqitch"}, "'alembic', 'django'"),
        ({"commands": {"up": "u", "down": "d", "status": "s"}}, "down must say {to}"),
        ({"commands": {"up": "u", "status": "s"}, "program": "x"}, "program goes with tool only"),
        ({"folder": "db", "environment": {"A": "b"}}, "are for a tool"),
        ({"tool": "django", "rehearsal": {"required": True}}, "is not rehearsed"),
        ({"tool": "django", "window": {"opens": "02:30", "closes": "05:00"}}, "window needs a folder"),
    ],
)
def test_wrong_settings_say_so(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("{", r"\{").replace("}", r"\}")):
        of(**settings)


def test_a_tools_commands() -> None:
    assert commands_of(of(tool="dbmate", program="bin/dbmate")).status == "bin/dbmate status"
    assert commands_of(of(tool="django")).up == "python3 manage.py migrate --no-input"
