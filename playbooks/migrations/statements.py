"""Split a file of SQL into statements, by PostgreSQL's own parser (libpg_query).

So a syntax error is known before anything is touched, and with it whatever psql would read beside SQL: a backslash
outside of quotes, which is a command of psql's (``\\!`` runs a shell), is no SQL.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from playbooks.core.confined import Limits, ask
from playbooks.core.invisible import find_invisible

Node = Mapping[str, Any]

_COMMENT_OR_SPACE = re.compile(r"(?:\s+|--[^\n]*|(/\*))", re.DOTALL)
_END_OF_COMMENT = re.compile(r"/\*|\*/")
MAX_SHOWN = 80  # characters of a statement in a message
# Of all files of a folder together. A thousand usual ones take a second.
LIMITS = Limits(seconds=20, waiting=120, memory=1 << 30)
MAX_DEPTH = 20_000  # calls: a text of some thousand parts that are joined with || is nested as deeply
TOO_MUCH = (
    "PostgreSQL's parser needs too much time or memory for this file, or does not survive it: it is nested too "
    "deeply, or too long; make several files of it"
)
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
    counted, lines = 0, 1
    for node in parsed:
        begin = node.get("stmt_location", 0)
        end = begin + node["stmt_len"] if "stmt_len" in node else len(whole)
        lines += whole.count(b"\n", counted, begin)
        counted = begin
        part = whole[begin:end].decode()
        skipped = _before(part)
        found.append(_statement(part[skipped:].rstrip(), lines + part.count("\n", 0, skipped), node["stmt"]))
    return found


def split_all(texts: Sequence[str]) -> list[list[Statement] | SqlMistake]:
    """Split files into their statements in a process of its own, because the parser does not survive every text.

    Args:
        texts: the files.

    Returns:
        For each file its statements, or what is wrong with it.
    """
    if not texts:
        return []
    found = [_told(line) for line in ask(__name__, LIMITS, json.dumps(list(texts)).encode()).lines]
    ended_in = [SqlMistake(1, TOO_MUCH)] if len(found) < len(texts) else []
    not_read = len(texts) - len(found) - len(ended_in)
    return [*found, *ended_in, *[SqlMistake(1, "not read, because of a file before it")] * not_read]


def answer(_: Sequence[str], source: IO[bytes], out: IO[str]) -> None:
    """Split each file of a list, and write a line for each; see `split_all`."""
    sys.setrecursionlimit(MAX_DEPTH)
    for text in json.load(source):
        try:
            told: object = [[one.text, one.line, one.alone, one.index] for one in split(text)]
        except SqlMistake as error:
            told = {"line": error.line, "why": error.why}
        json.dump(told, out)
        out.write("\n")
        out.flush()


def _told(line: Any) -> list[Statement] | SqlMistake:  # noqa: ANN401
    if isinstance(line, dict):
        return SqlMistake(line["line"], line["why"])
    return [Statement(text, number, alone, tuple(index) if index else None) for text, number, alone, index in line]


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
