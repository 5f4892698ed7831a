"""Read a folder of SQL files: ``ID_NAME.up.sql``, and ``ID_NAME.down.sql`` where the migration can be undone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from playbooks.core.errors import ConfigError
from playbooks.core.invisible import find_invisible
from playbooks.core.names import cut
from playbooks.migrations.statements import SqlMistake, Statement, split_all
from playbooks.settings.types import parse_duration

MigrationPhase = Literal["expand", "contract"]
Direction = Literal["up", "down"]

NAME = re.compile(r"(?P<id>[0-9A-Za-z][0-9A-Za-z.-]{0,39})_(?P<name>[A-Za-z0-9_.-]{1,80})\.(?P<direction>up|down)\.sql")
# A comment at the head of a file: -- slipway: contract, lock-timeout=3s
_HEADER = re.compile(r"--\s*slipway:(?P<words>.*)")
MAX_STATEMENTS = 500  # of one file
MAX_PROBLEMS = 50  # that are told: whoever made the artifact chose how many files it has, and their names


@dataclass(frozen=True)
class SqlFile:
    """One direction of a migration.

    Args:
        path: its name.
        sha256: of its content, in hex.
        statements: in order.
        transaction: whether they are one transaction.
        lock_timeout, statement_timeout: seconds, if the file says so.
    """

    path: str
    sha256: str
    statements: tuple[Statement, ...]
    transaction: bool = True
    lock_timeout: float | None = None
    statement_timeout: float | None = None


@dataclass(frozen=True)
class Migration:
    """A migration.

    Args:
        id: what orders it.
        name: what a person calls it.
        phase: expand: the release before still works with it. contract: it does not.
        up: does it.
        down: undoes it; None if nothing does.
    """

    id: str
    name: str
    phase: MigrationPhase
    up: SqlFile
    down: SqlFile | None

    @property
    def label(self) -> str:
        """The migration in a message."""
        return f"{self.id}_{self.name}"


class _Mistake(ValueError):
    """A file is wrong; says why."""


@dataclass
class _Head:
    """What the comments at the head of a file say."""

    phase: MigrationPhase = "expand"
    transaction: bool = True
    irreversible: bool = False
    times: dict[str, float] = field(default_factory=dict)


def read_sql_files(files: Mapping[str, bytes], folder: str) -> tuple[Migration, ...]:
    """Read every migration of a folder.

    Args:
        files: the content of each file by its name in the folder; those that do not end in .sql are left out.
        folder: the folder's name in the release, for messages.

    Returns:
        The migrations in their order: by number if all ids are numbers, else as text.

    Raises:
        ConfigError: a file is wrong; the message has every mistake.
    """
    problems: list[str] = []
    pairs: dict[str, dict[Direction, tuple[str, SqlFile, _Head]]] = {}
    paths = [path for path in sorted(files) if path.endswith(".sql")]
    read_as = {path: _text(files[path]) for path in paths}
    texts = {path: text for path, text in read_as.items() if isinstance(text, str)}
    parsed = dict(zip(texts, split_all(list(texts.values())), strict=True))
    for path in paths:
        found = NAME.fullmatch(path)
        if found is None:
            problems.append(f"{folder}/{path}: expected ID_NAME.up.sql or ID_NAME.down.sql")
            continue
        direction: Direction = "up" if found["direction"] == "up" else "down"
        try:
            if isinstance(text := read_as[path], _Mistake):
                raise text
            read = _read(files[path], text, parsed[path], path)
        except _Mistake as error:
            problems.append(f"{folder}/{path}: {error}")
            continue
        one = pairs.setdefault(found["id"], {})
        other = next((name for name, _, _ in one.values() if name != found["name"]), None)
        if direction in one or other:
            problems.append(f"{folder}/{path}: the id {found['id']} is there twice, also as {found['id']}_{other}")
            continue
        one[direction] = (found["name"], *read)
    migrations = [_paired(id_, pair, folder, problems) for id_, pair in pairs.items()]
    if problems:
        told = [cut(problem) for problem in problems[:MAX_PROBLEMS]]
        if more := len(problems) - len(told):
            told.append(f"{folder}: and {more} more of these")
        raise ConfigError(told, hint="docs/migrations.md says what a file may have")
    there = {one.id: one for one in migrations if one}
    return tuple(there[id_] for id_ in sorted(there, key=order(list(there))))


def order(ids: list[str]) -> Callable[[str], tuple[int, str]]:
    """Return the key by which ids are sorted."""
    if all(one.isascii() and one.isdigit() for one in ids):
        return lambda one: (int(one), one)
    return lambda one: (0, one)


def _paired(
    id_: str, pair: Mapping[Direction, tuple[str, SqlFile, _Head]], folder: str, problems: list[str]
) -> Migration | None:
    if "up" not in pair:
        problems.append(f"{folder}/{pair['down'][1].path}: its up file is missing")
        return None
    name, up, head = pair["up"]
    down = pair["down"][1] if "down" in pair else None
    if down is None and not head.irreversible:
        problems.append(
            f"{folder}/{up.path}: its down file is missing; if nothing can undo it, say -- slipway: irreversible "
            "at its head"
        )
    if down is not None and head.irreversible:
        problems.append(f"{folder}/{up.path}: says that it is irreversible, and has a down file")
    return Migration(id_, name, head.phase, up, down)


def _text(content: bytes) -> str | _Mistake:
    """Return a file as text, or what is wrong with it."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        return _Mistake(f"line {content[: error.start].count(10) + 1}: not UTF-8")


def _read(content: bytes, text: str, parsed: list[Statement] | SqlMistake, path: str) -> tuple[SqlFile, _Head]:
    """Read a file.

    Args:
        content: the file.
        text: the same, from `_text`.
        parsed: its statements.
        path: its name.

    Raises:
        _Mistake: it is wrong.
    """
    try:
        head = _head(text)
    except SqlMistake as error:
        raise _Mistake(str(error)) from None
    if isinstance(parsed, SqlMistake):
        raise _Mistake(str(parsed))
    statements = tuple(parsed)
    if not statements:
        raise _Mistake("has no statement")
    if len(statements) > MAX_STATEMENTS:
        raise _Mistake(f"has {len(statements)} statements; {MAX_STATEMENTS} are the most for one file")
    alone = next((one for one in statements if one.alone), None)
    if alone and head.transaction:
        raise _Mistake(
            f"line {alone.line}: PostgreSQL refuses this in a transaction ({alone.shown}); say "
            "-- slipway: no-transaction at the head of the file"
        )
    times = {name: head.times.get(name) for name in ("lock-timeout", "statement-timeout")}
    digest = hashlib.sha256(content).hexdigest()
    file = SqlFile(path, digest, statements, head.transaction, times["lock-timeout"], times["statement-timeout"])
    return file, head


def _head(text: str) -> _Head:
    """Read the comments before the first statement.

    Raises:
        SqlMistake: one says what is not known.
    """
    head = _Head()
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("--"):
            break
        found = _HEADER.fullmatch(line.strip())
        for word in found["words"].split(",") if found else ():
            _apply(head, word.strip(), number)
    return head


def _apply(head: _Head, word: str, line: int) -> None:
    key, has_value, value = word.partition("=")
    if word in ("expand", "contract"):
        head.phase = "contract" if word == "contract" else "expand"
    elif word == "no-transaction":
        head.transaction = False
    elif word == "irreversible":
        head.irreversible = True
    elif has_value and key in ("lock-timeout", "statement-timeout"):
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise SqlMistake(line, f"{key}: {error}") from None
        if not isinstance(seconds, float) or not 0 < seconds <= 86400:
            raise SqlMistake(line, f"{key}={value}: expected more than 0, and a day at the most")
        head.times[key] = seconds
    else:
        seen = "a character that cannot be seen" if find_invisible(word) else word[:40]
        raise SqlMistake(
            line,
            f"-- slipway: {seen}: expected expand, contract, no-transaction, irreversible, lock-timeout=TIME or "
            "statement-timeout=TIME",
        )
