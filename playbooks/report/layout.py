"""How text is laid out on a terminal: between words, and never within a word, a time or a size. Pure functions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

GAP = 2
# A cell with at most this many characters is not broken: a host, a time, a result.
WHOLE = 20
_BOUND = re.compile(
    r"(?<=\d) (?=(?:ms|s|min|h|d|kB|MB|GB|%)\b)|(?<=\d) (?=%)|(?<=\d (?:h|d|s)) (?=ago\b)|(?<=\d min) (?=ago\b)"
    r"|(?<=\d{4}-\d\d-\d\d) (?=\d\d:\d\d)"
)
# Stands for a space at which a line must not break. It is of Unicode's private use, so no text contains it.
_TIE = "\ue000"


@dataclass(frozen=True)
class Piece:
    """A part of a line.

    Args:
        text: what is printed.
        cell: what it is a part of; its colour is that of the whole.
    """

    text: str
    cell: str = ""


def wrapped(text: str, width: int, *, indent: str = "") -> list[str]:
    """A line's text in lines that are no longer than that, unless a word is.

    Args:
        text: without a line's end.
        width: characters.
        indent: before every line but the first, beside the text's own.
    """
    if len(text) <= width:
        return [text]
    own = text[: len(text) - len(text.lstrip(" "))]
    lines = textwrap.wrap(
        _tied(text),
        max(width, 1),
        subsequent_indent=own + indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return [line.replace(_TIE, " ") for line in lines] or [""]


def table(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[Piece]]:
    """A table's lines. What does not fit beside each other, even in several lines, is a paragraph for each row.

    Args:
        names: of the columns.
        rows: their cells.
        width: characters.
    """
    # Short cells are not broken while there is space for that.
    for whole in (WHOLE, 0):
        widths = _widths(names, rows, width, whole)
        if widths is not None:
            return _table(names, rows, widths, whole)
    return [line for row in rows for line in _paragraph(names, row, width)]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], whole: int) -> list[list[Piece]]:
    lines = [_in_columns([[Piece(name)] for name in names], widths)]
    for row in rows:
        cells = [
            [Piece(line, cell) for line in ([cell] if len(cell) <= whole else wrapped(cell, size))]
            for cell, size in zip(row, widths, strict=True)
        ]
        height = max(len(cell) for cell in cells)
        lines += [_in_columns([cell[at : at + 1] for cell in cells], widths) for at in range(height)]
    return lines


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, whole: int) -> list[int] | None:
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(names)]
    found = [max(map(len, column)) for column in columns]
    # The first cell of a row is never broken.
    least = [found[0], *(max(_longest(cell, whole) for cell in column) for column in columns[1:])]
    room = width - GAP * (len(names) - 1)
    if sum(least) > room:
        return None
    while sum(found) > room:
        widest = max((at for at in range(len(found)) if found[at] > least[at]), key=lambda at: found[at])
        found[widest] -= 1
    return found


def _longest(cell: str, whole: int) -> int:
    """The longest part of a cell that is not broken."""
    return len(cell) if len(cell) <= whole else max(map(len, _tied(cell).split(" ")))


def _in_columns(cells: Sequence[Sequence[Piece]], widths: Sequence[int]) -> list[Piece]:
    line: list[Piece] = []
    for cell, width in zip(cells, widths, strict=True):
        piece = cell[0] if cell else Piece("")
        line.append(Piece(f"{piece.text:{width}}{' ' * GAP}", piece.cell))
    line[-1] = Piece(line[-1].text.rstrip(), line[-1].cell)
    return line


def _paragraph(names: Sequence[str], row: Sequence[str], width: int) -> list[list[Piece]]:
    lines = [[Piece(row[0], row[0])]]
    room = 0
    for name, cell in zip(names[1:], row[1:], strict=True):
        if not cell:
            continue
        before = f"  {name}: "
        size = len(before) + len(cell)
        if size > room:
            lines.append([])
            room = width
        if size <= room:
            lines[-1] += [Piece(before), Piece(cell, cell)]
            room -= size
            continue
        first, *more = wrapped(before + cell, width, indent="  ")
        lines[-1] += [Piece(before), Piece(first.removeprefix(before), cell)]
        lines += [[Piece(line, cell)] for line in more]
        room = 0
    return lines


def _tied(text: str) -> str:
    return _BOUND.sub(_TIE, text)
