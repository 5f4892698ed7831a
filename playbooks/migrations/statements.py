"""Split a file of SQL into statements, by PostgreSQL's own parser (libpg_query).

So a syntax error is known before anything is touched, and with it whatever psql would read beside SQL: a backslash
outside of quotes, which is a command of psql's (``\\!`` runs a shell), is no SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from playbooks.core.invisible import find_invisible

Node = Mapping[str, Any]

_COMMENT_OR_SPACE = re.compile(r"(?:\s+|--[^\n]*|(/\*))", re.DOTALL)
_END_OF_COMMENT = re.compile(r"/\*|\*/")
MAX_SHOWN = 80  # characters of a statement in a message
# The statements that PostgreSQL refuses in a transaction, by their names in its parser.
ALONE = frozenset({
    "CreatedbStmt", "DropdbStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt", "AlterSystemStmt",
    "CreateSubscriptionStmt", "DropSubscriptionStmt",
})  # fmt: skip


class SqlMistake(ValueError):
    """A file is no SQL, or has what Slipway does not run.

    Args:
        line: the line in the file, from 1.
        why: the rest of the sentence.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


@dataclass(frozen=True)
class Statement:
    """One statement.

    Args:
        text: its text, without the semicolon and without comments before it.
        line: the line of the file where it begins, from 1.
        alone: whether PostgreSQL refuses it in a transaction.
        index: the index that it makes concurrently, as schema and name; None if it makes none.
    """

    text: str
    line: int
    alone: bool = False
    index: tuple[str, str] | None = None

    @property
    def shown(self) -> str:
        """The statement in one short line, for a person."""
        words = " ".join(self.text.split())
        return words if len(words) <= MAX_SHOWN else words[: MAX_SHOWN - 1] + "…"


def split(text: str) -> list[Statement]:
    """Split a file into its statements.

    Args:
        text: the file.

    Raises:
        SqlMistake: it is no SQL, or has what Slipway does not run.
    """
    # Eleven megabytes that only those need who migrate by SQL files.
    import pgparse

    if "\0" in text:
        raise SqlMistake(_line(text, text.index("\0")), "a character NUL")
    try:
        parsed = pgparse.parse(text)
    except pgparse.PGQueryError as error:
        at = max(0, int(error.position) - 1)
        command = text[at : at + 20].split("\n")[0]
        why = f"{command} is a command of psql; a migration has SQL only" if command[:1] == "\\" else error.message
        raise SqlMistake(_line(text, at), why) from None
    whole = text.encode()
    found = []
    for node in parsed:
        begin = node.get("stmt_location", 0)
        end = begin + node["stmt_len"] if "stmt_len" in node else len(whole)
        part = whole[begin:end].decode()
        skipped = _before(part)
        line = whole.count(b"\n", 0, begin) + part.count("\n", 0, skipped) + 1
        found.append(_statement(part[skipped:].rstrip(), line, node["stmt"]))
    return found


def _statement(text: str, line: int, node: Node) -> Statement:
    ((kind, inner),) = node.items()
    if kind == "TransactionStmt":
        raise SqlMistake(
            line,
            f"{text.split()[0].upper()}: Slipway itself begins and ends the transaction; for statements without one, "
            "say -- slipway: no-transaction at the head of the file",
        )
    if kind == "DiscardStmt":
        raise SqlMistake(line, "DISCARD would give up the lock that lets only one task migrate")
    if kind == "CopyStmt" and not inner.get("filename"):
        raise SqlMistake(line, "COPY from or to psql: there is no data here; use INSERT")
    index = None
    if kind == "IndexStmt" and inner.get("concurrent"):
        if not inner.get("idxname"):
            raise SqlMistake(
                line, "an index that is made concurrently needs a name, so that a half-made one can be found"
            )
        index = (str(inner["relation"].get("schemaname", "")), str(inner["idxname"]))
        # It is found again by its name, which goes to the host beside the statement.
        if found := find_invisible("".join(index)):
            raise SqlMistake(line, f"the name of the index, or of its schema, has the character {found}")
    return Statement(text, line, kind in ALONE or _is_alone(kind, inner), index)


def _is_alone(kind: str, inner: Node) -> bool:
    """Whether PostgreSQL refuses it in a transaction because of an option."""
    if kind in ("IndexStmt", "DropStmt"):
        return bool(inner.get("concurrent"))
    if kind == "VacuumStmt":
        return bool(inner.get("is_vacuumcmd"))
    if kind == "ReindexStmt":
        names = {str(option["DefElem"]["defname"]) for option in inner.get("params", [])}
        return "concurrently" in names or inner.get("kind") in ("REINDEX_OBJECT_SCHEMA", "REINDEX_OBJECT_DATABASE")
    if kind == "AlterTableStmt":
        return any(_detaches(command["AlterTableCmd"]) for command in inner.get("cmds", []))
    return False


def _detaches(command: Node) -> bool:
    return bool(command.get("def", {}).get("PartitionCmd", {}).get("concurrent"))


def _before(part: str) -> int:
    """Return where a statement begins, behind blanks and comments; comments of PostgreSQL nest."""
    at = 0
    while found := _COMMENT_OR_SPACE.match(part, at):
        at = found.end()
        depth = 1 if found[1] else 0
        for mark in _marks(part, at) if depth else ():
            depth += 1 if mark[0] == "/*" else -1
            at = mark.end()
            if depth == 0:
                break
    return at


def _marks(part: str, at: int) -> Iterator[re.Match[str]]:
    return _END_OF_COMMENT.finditer(part, at)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
