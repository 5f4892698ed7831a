"""The application's own migration tool: its commands, and what its status says, as pure functions (C1)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from playbooks.core.errors import UsageError
from playbooks.settings.migrations import Migrations, ToolCommands

# A version as tools name it. It becomes a word of a command, and must not be taken for an option.
VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,119}")
MAX_KEPT = 20  # names of migrations, and lines, in a record


@dataclass(frozen=True)
class ToolStatus:
    """What a tool's status says.

    Args:
        known: whether Slipway understands the tool's output; else only `said` counts.
        applied, pending: migrations by the tool's names, in its order.
        said: the output's lines.
        exit: the command's exit status. Some tools report pending migrations, or a new database, by another one than 0.
    """

    known: bool
    applied: tuple[str, ...]
    pending: tuple[str, ...]
    said: tuple[str, ...]
    exit: int

    @property
    def sentence(self) -> str:
        """The status in a few words."""
        if not self.known:
            return self.said[-1] if self.said else "it says nothing"
        last = f", {self.applied[-1]} the last" if self.applied else ""
        return f"{len(self.applied)} applied{last}; {len(self.pending)} pending"


# What is read of a status: whether it was understood, what is applied, and what is pending.
_Read = tuple[bool, list[str], list[str]]
_NOTHING: _Read = (False, [], [])


@dataclass(frozen=True)
class _Tool:
    """A tool that Slipway knows.

    Args:
        program: how its commands begin.
        up, down, status: its commands behind that; no `down`: it has no way back to a version.
        none: the version that stands for "nothing is applied"; empty for none.
        read: reads its status.
        split: whether its versions are APP.NAME, which its command takes as two words.
    """

    program: str
    up: str
    down: str
    status: str
    none: str
    read: Callable[[Sequence[str]], _Read]
    split: bool = False


def commands_of(migrations: Migrations) -> ToolCommands:
    """Return the commands of a database's tool."""
    if migrations.commands:
        return migrations.commands
    assert migrations.tool is not None  # the settings have one of them  # noqa: S101
    tool = _TOOLS[migrations.tool]
    program = migrations.program or tool.program

    def line(words: str) -> str:
        return words.replace("{program}", program) if "{program}" in words else f"{program} {words}"

    return ToolCommands(up=line(tool.up), down=line(tool.down) if tool.down else None, status=line(tool.status))


def down_command(migrations: Migrations, to: str) -> str:
    """Return the command that goes back to a version.

    Raises:
        UsageError: the tool has no way back, or this is no version.
    """
    name = migrations.tool or "the tool"
    down = commands_of(migrations).down
    if down is None:
        raise UsageError(
            f"--to={to}: {name} has no command that goes back to a version; nothing was touched",
            hint="give commands with a down of your own: docs/migrations.md, The application's own tool",
        )
    if not VERSION.fullmatch(to):
        raise UsageError(
            f"--to={to}: expected a version of {name}: letters, digits and _ . : - only; nothing was touched"
        )
    tool = _TOOLS[migrations.tool] if migrations.tool else None
    if tool and to == "none":
        if not tool.none:
            raise UsageError(f"--to=none: {name} goes back one app at a time, e.g. --to=shop.zero; nothing was touched")
        to = tool.none
    if migrations.tool == "dbmate":  # whose status has the whole name
        to = to.partition("_")[0]
    if tool and tool.split:
        app, dot, version = to.partition(".")
        if not dot or not version:
            raise UsageError(f"--to={to}: {name} names it APP.NAME, e.g. --to=shop.0001_initial; nothing was touched")
        return down.replace("{to}", f"{shlex.quote(app)} {shlex.quote(version)}")
    return down.replace("{to}", shlex.quote(to))


def require_applied(migrations: Migrations, before: ToolStatus, to: str) -> None:
    """Refuse to go back to a version that the database does not have, where the tool's status is understood.

    A tool that goes back step by step until it meets it would take everything back.

    Raises:
        UsageError: the database does not have it.
    """
    name = str(migrations.tool)
    if not before.known:
        if migrations.tool is not None:
            raise UsageError(
                f"--to={to}: the status of {name} is not understood, so it is not known whether the database has it; "
                f"nothing was touched. It says: {before.sentence}"
            )
        return
    if to == "none" or (migrations.tool == "django" and to.endswith(".zero")):
        return
    if not any(one == to or re.match(rf"{re.escape(to)}(?=[_ ]|\.[a-z]+$)", one) for one in before.applied):
        raise UsageError(
            f"--to={to}: the database has no such migration; nothing was touched",
            hint=f"it has: {', '.join(before.applied[-12:]) or 'none'}; or --to=none",
        )


def read_status(migrations: Migrations, lines: Sequence[str], exit_status: int) -> ToolStatus:
    """Read what a tool's status command wrote."""
    said = tuple(line.rstrip() for line in lines if line.strip())
    read = _TOOLS[migrations.tool].read(said) if migrations.tool else _NOTHING
    known, applied, pending = read
    return ToolStatus(known, tuple(applied), tuple(pending), said, exit_status)


_ALEMBIC = re.compile(
    r"(?P<below>\S+(?:, \S+)*) -> (?P<id>\w[\w.-]*)(?P<marks>(?: \([^)]*\))*)(?: \([^)]*\))*, ?(?P<message>.*)"
)


def _alembic(lines: Sequence[str]) -> _Read:
    """``history --indicate-current``, from the newest on: ``001 -> 002 (head) (current), a message``."""
    below: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    current: list[str] = []
    for line in lines:
        found = _ALEMBIC.fullmatch(line)
        if not found:
            continue
        id_ = found["id"]
        below[id_] = [one for one in found["below"].split(", ") if one != "<base>"]
        labels[id_] = f"{id_} {found['message']}".strip()
        if "(current)" in found["marks"]:
            current.append(id_)
    there: set[str] = set()
    while current:
        id_ = current.pop()
        if id_ not in there:
            there.add(id_)
            current += below.get(id_, [])
    oldest_first = list(reversed(below))
    return (
        bool(below),
        [labels[id_] for id_ in oldest_first if id_ in there],
        [labels[id_] for id_ in oldest_first if id_ not in there],
    )


def _boxes(lines: Sequence[str]) -> _Read:
    """A box each, as Django's ``showmigrations --plan`` and dbmate's ``status`` have it: ``[X]  shop.0001_initial``."""
    found = [match for line in lines if (match := re.fullmatch(r"\s*\[([Xx ])\]\s+(\S+)(?:\s.*)?", line))]
    applied = [match[2] for match in found if match[1] != " "]
    pending = [match[2] for match in found if match[1] == " "]
    return (
        bool(found) or any(re.fullmatch(r"Pending: 0|\(no migrations\)", line.strip()) for line in lines),
        applied,
        pending,
    )


def _rails(lines: Sequence[str]) -> _Read:
    """``up     20240101000000  Create items``, below a head."""
    found = [match for line in lines if (match := re.fullmatch(r"\s*(up|down)\s+(\d+)\s+(.*)", line))]
    known = bool(found) or any("Migration ID" in line for line in lines)
    applied = [f"{match[2]} {match[3]}" for match in found if match[1] == "up"]
    return known, applied, [f"{match[2]} {match[3]}" for match in found if match[1] == "down"]


def _flyway(lines: Sequence[str]) -> _Read:
    """A table with a column for the version, one for the description, and one for the state."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    heads = next((row for row in rows if "Version" in row and "State" in row), None)
    if heads is None:
        return any("No migrations found" in line for line in lines), [], []
    applied, pending = [], []
    for row in rows:
        if row == heads or len(row) != len(heads):
            continue
        cells = dict(zip(heads, row, strict=True))
        name = " ".join(filter(None, (cells["Version"], cells.get("Description", ""))))
        if cells["State"] in ("Pending", "Outdated"):
            pending.append(name)
        elif cells["State"] in ("Success", "Baseline", "Out of Order", "Future"):
            applied.append(name)
    return True, applied, pending


def _prisma(lines: Sequence[str]) -> _Read:
    """Only what is pending has names."""
    if any("Database schema is up to date" in line for line in lines):
        return True, [], []
    at = next((n for n, line in enumerate(lines) if "have not yet been applied" in line), None)
    if at is None:
        return _NOTHING
    return True, [], [line.strip() for line in lines[at + 1 :] if re.fullmatch(r"\s*\d{8,}_\S*\s*", line)]


def _knex(lines: Sequence[str]) -> _Read:
    """Names below two heads, ``Found 2 Completed Migration file/files.`` and the same with Pending."""
    lists: dict[str, list[str]] = {}
    into: list[str] | None = None
    for line in lines:
        head = re.search(r"\b(Completed|Pending) Migration", line)
        if head:
            into = lists.setdefault(head[1], [])
        elif into is not None:
            into.append(line.strip())
    return bool(lists), lists.get("Completed", []), lists.get("Pending", [])


# dbmate goes back one migration at a time.
_DBMATE_DOWN = (
    r"set -e; while :; do last=$({program} status | sed -n 's/^\[X\] \([^_]*\)_.*/\1/p' | tail -n 1); "
    r'[ -n "$last" ] && [ "$last" != {to} ] || break; {program} --no-dump-schema rollback; done'
)
_TOOLS: Mapping[str, _Tool] = {
    "alembic": _Tool("alembic", "upgrade head", "downgrade {to}", "history --indicate-current", "base", _alembic),
    "django": _Tool(
        "python3 manage.py",
        "migrate --no-input",
        "migrate --no-input {to}",
        "showmigrations --plan",
        "",
        _boxes,
        split=True,
    ),
    "rails": _Tool("bin/rails", "db:migrate", "db:migrate VERSION={to}", "db:migrate:status", "0", _rails),
    # Its free edition takes nothing back, and the other one's undo -target=V also takes V back.
    "flyway": _Tool("flyway", "migrate", "", "info", "", _flyway),
    "prisma": _Tool("npx prisma", "migrate deploy", "", "migrate status", "", _prisma),
    # It takes back the last batch, or one migration by name.
    "knex": _Tool("npx knex", "migrate:latest", "", "migrate:list", "", _knex),
    "dbmate": _Tool("dbmate", "--no-dump-schema migrate", _DBMATE_DOWN, "status", "-", _boxes),
}


def moved(before: ToolStatus, after: ToolStatus) -> Iterator[str]:
    """Yield what is applied now and was not before, or the other way round."""
    if before.known and after.known:
        was, is_ = set(before.pending), set(after.pending)
        yield from (one for one in before.pending if one not in is_)
        yield from (one for one in after.pending if one not in was)
