"""Find secrets in text, in every form in which programs write them, and hide them.

Text and secret are converted to a plain form before the comparison: escapes of JSON, URLs, HTML and programming
languages are decoded, quotes and backslashes are removed. So one entry finds a secret with any quoting,
also nested. Base64 and hex hide the letters, so they have their own entries.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
from collections.abc import Iterator
from enum import Enum, auto
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "••••••"
# A shorter value would strike out parts of ordinary text.
SHORTEST_MASKED = 4
# Of a longer value so much of its beginning is struck out where a text or a line ends, and of its end where one begins:
# text is cut, and lines are broken, on hosts.
PIECE = 8
# And this much of any part anywhere. Less would strike out words: a password may begin with "postgres".
ANYWHERE = 2 * PIECE
# Marks where a text was cut, or lines were joined.
_CUT_AFTER = re.compile(r"\Z|[\n\r|…]|\.\.\.")
_CUT_BEFORE = re.compile(r"(?:\A|[\n\r|…]|\.\.\.)\Z")

_ESCAPE = re.compile(
    r"(?:\\++(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|u\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2})"
    r"|%(?:25)*[0-9A-Fa-f]{2})+"
    r"|&(?:amp;)*(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|['\"`]+|\\++"
)
_UNIT = re.compile(
    r"\\++(?:[uU]\{?(?P<point>[0-9A-Fa-f]{4,8}|[0-9A-Fa-f]{1,6}(?=\}))\}?|x(?P<x>[0-9A-Fa-f]{2})|(?P<octal>[0-3][0-7]{2}))"
    r"|%(?:25)*(?P<percent>[0-9A-Fa-f]{2})"
)
# Quotes and backslashes, however they are written: they are left out of a plain form, also where it begins and ends.
_QUOTES = re.compile(
    r"(?:\\++(?:[uU]0*(?:22|27|5c|60)|x(?:22|27|5c|60)|042|047|134|140)|%(?:25)*(?:22|27|5c|60)"
    r"|&(?:amp;)*(?:quot|apos|bsol|grave|\#0*(?:34|39|92|96)|\#x0*(?:22|27|5c|60));|[\\'\"`])+",
    re.IGNORECASE,
)
_LONGEST_QUOTES = 200
_LEFT_OUT = frozenset("\\'\"`")
_BLANKS = str.maketrans("\t\n\v\f\r+\u2028\u2029\xa0", " " * 9)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?::|%3A)(?:\\?/|%2F){2}", re.IGNORECASE)
# How many times over a text may be quoted; more is undone only where it is of the same kind (%2525, \\\\").
_DEPTH = 2
_PEM = re.compile("-----(BEGIN|END) [A-Z0-9 ]+-----")  # a key's first and last lines are not secret
_IN_DSN = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)


class Striker:
    """Strikes values out of texts. Threads may share it."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._quoted = False  # whether a value begins or ends with a quote or a backslash
        self._short: frozenset[str] = frozenset()  # values too short to be found by a piece
        self._pieces: dict[str, list[tuple[_Form, int]]] = {}  # pieces of the other values, with their positions
        self._mutex = threading.Lock()

    def add(self, value: str) -> None:
        """Strike this value out from now on: each of its lines, and the password if it is a URL."""
        with self._mutex:
            for one in _parts(value):
                if len(one) >= SHORTEST_MASKED and one not in self._values:
                    self._values.add(one)
                    self._quoted |= one[0] in _LEFT_OUT or one[-1] in _LEFT_OUT
                    for form in {plain for written in forms(one) for plain, _, _ in _undone(written)}:
                        self._add_form(form)

    def _add_form(self, form: str) -> None:
        if SHORTEST_MASKED <= len(form) < PIECE:
            self._short |= {form}  # a new set, because another thread may iterate over the old one
        elif len(form) >= PIECE:
            entry = _Form(form)
            last = len(form) - PIECE
            for offset in {*range(0, last, PIECE), last, min(entry.head, last)}:
                self._pieces.setdefault(form[offset : offset + PIECE], []).append((entry, offset))

    def strike(self, text: str) -> str:
        """Return the text with a mark in place of each secret."""
        if len(text) < SHORTEST_MASKED or not self._values:
            return text
        spans = [
            (starts[begin], ends[end - 1])
            for plain, starts, ends in _undone(text)
            for begin, end, part in self._find(plain)
            if part.counts(text, starts[begin], ends[end - 1])
        ]
        if self._quoted:
            spans = [_with_quotes(text, *span) for span in spans]
        return _marked(text, spans) if spans else text

    def _find(self, text: str) -> Iterator[tuple[int, int, _Part]]:
        """Find secrets and parts of them in a plain text."""
        for form in self._short:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form), _Part.WHOLE
                at = text.find(form, at + 1)
        pieces = self._pieces
        reached: dict[_Form, int] = {}
        for at in [at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in pieces]:
            for form, offset in pieces[text[at : at + PIECE]]:
                if at < reached.get(form, 0):
                    continue
                begin, end = form.extend(text, at, offset)
                if part := form.part(offset - (at - begin), offset + (end - at)):
                    reached[form] = end
                    yield begin, end, part


def _with_quotes(text: str, begin: int, end: int) -> tuple[int, int]:
    """Extend a range of a text by the quotes and backslashes around it."""
    behind = _QUOTES.match(text, end, end + _LONGEST_QUOTES)
    before = (
        one.start() for one in _QUOTES.finditer(text, max(0, begin - _LONGEST_QUOTES), begin) if one.end() == begin
    )
    return next(before, begin), behind.end() if behind else end


def _marked(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the text with one mark for each range, even if it holds several secrets."""
    told: list[str] = []
    done = 0
    for begin, end in sorted(spans):
        if begin > done or not told:
            told += text[done:begin], MASK
        done = max(done, end)
    return "".join([*told, text[done:]])


class _Part(Enum):
    """How much of a secret was found."""

    WHOLE = auto()  # or enough of it to count as whole
    BEGINNING = auto()
    END = auto()

    def counts(self, text: str, begin: int, end: int) -> bool:
        """Return whether it is struck out: a beginning before a cut, an end after one."""
        if self is _Part.BEGINNING:
            return bool(_CUT_AFTER.match(text, end))
        return self is _Part.WHOLE or bool(_CUT_BEFORE.search(text[max(0, begin - 3) : begin]))


class _Form(str):
    """A secret in its plain form."""

    __slots__ = ("head",)

    def __init__(self, text: str) -> None:
        # The scheme of a URL is not secret.
        match = _SCHEME.match(text)
        self.head = match.end() if match else 0

    def extend(self, text: str, at: int, offset: int) -> tuple[int, int]:
        """Return how far a text matches this form around a common piece."""
        begin, end = at, at + PIECE
        left, right = offset, offset + PIECE
        while begin and left and text[begin - 1] == self[left - 1]:
            begin, left = begin - 1, left - 1
        while end < len(text) and right < len(self) and text[end] == self[right]:
            end, right = end + 1, right + 1
        return begin, end

    def part(self, begin: int, end: int) -> _Part | None:
        """Return which part of the secret a match is; None if it is too short to strike out."""
        length = end - max(begin, self.head)
        if (begin == 0 and end == len(self)) or length >= ANYWHERE:
            return _Part.WHOLE
        if length < PIECE:
            return None
        return _Part.BEGINNING if begin == 0 else _Part.END if end == len(self) else None


def forms(value: str) -> set[str]:
    """Return the encodings of a value that its plain form does not cover."""
    as_json = json.dumps(value)[1:-1]
    data = value.encode("utf-8", "surrogatepass")
    texts = {
        value,
        as_json,
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(as_json)[1:-1],
        quote(data, safe=""),
        quote_plus(data),
        html.escape(value),
        shlex.quote(value),
        repr(value)[1:-1],
        repr(data)[2:-1],
    }
    hidden = {data.hex(), data.hex().upper()}
    for text in texts:
        hidden |= _base64(text.encode("utf-8", "surrogatepass"))
    return texts | hidden


def _base64(data: bytes) -> set[str]:
    """Return the parts of a value's base64 that do not depend on its position, in both alphabets."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        whole = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(whole) >= SHORTEST_MASKED:
            found |= {whole, whole.translate(str.maketrans("+/", "-_"))}
    return found


def _parts(value: str) -> Iterator[str]:
    for line in value.splitlines():
        if not _PEM.fullmatch(line.strip()):
            yield line.strip()
    if password := _IN_DSN.search(value):
        yield password[1].strip("'")
    try:
        password_in_url = urlsplit(value.strip()).password if _SCHEME.match(value) else None
    except ValueError:
        return
    if password_in_url:
        yield password_in_url
        yield unquote(password_in_url)


_Places = list[int] | range


def _undone(text: str) -> Iterator[tuple[str, _Places, _Places]]:
    """Return a text with escapes undone zero times, once, twice, …, and each character's position in the text."""
    plain = text.translate(_BLANKS)
    starts: _Places = range(len(text))
    ends: _Places = range(1, len(text) + 1)
    yield plain, starts, ends
    for _ in range(_DEPTH):
        if not _ESCAPE.search(plain):
            return
        plain, inner_starts, inner_ends = _plain(plain)
        starts, ends = [starts[at] for at in inner_starts], [ends[at - 1] for at in inner_ends]
        yield plain, starts, ends


def _plain(text: str) -> tuple[str, list[int], list[int]]:
    """Return a text with its escapes undone, and each character's position in the text."""
    made: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for found in _ESCAPE.finditer(text):
        begin, end = found.span()
        made.append(text[done:begin])
        starts += range(done, begin)
        ends += range(done + 1, begin + 1)
        for sign, first, last in _unescaped(found[0]):
            made.append(sign.translate(_BLANKS))
            starts.append(begin + first)
            ends.append(begin + last)
        done = end
    made.append(text[done:])
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return "".join(made), starts, ends


def _unescaped(escape: str) -> Iterator[tuple[str, int, int]]:
    """Return the characters of one or several escapes, with their positions."""
    if escape[0] == "&":
        entity = "&" + escape.rpartition("amp;")[2].lstrip("&") if escape.count(";") > 1 else escape
        for sign in html.unescape(entity):
            yield sign, 0, len(escape)
        return
    if escape[-1] in _LEFT_OUT:
        return
    units = [(_code(unit), *unit.span()) for unit in _UNIT.finditer(escape)]
    index = 0
    while index < len(units):
        sign, count = _character([code for code, _, _ in units[index : index + 4]])
        yield sign, units[index][1], units[index + count - 1][2]
        index += count


def _code(unit: re.Match[str]) -> tuple[int, bool]:
    """Return a code unit's number, and whether it is a byte rather than a character."""
    if unit["point"]:
        return int(unit["point"], 16), False
    return (int(unit["octal"], 8) if unit["octal"] else int(unit["x"] or unit["percent"], 16)), True


def _character(codes: list[tuple[int, bool]]) -> tuple[str, int]:
    """Return the first character of some code units, and how many units it takes."""
    first, is_byte = codes[0]
    if not is_byte:
        if 0xD800 <= first < 0xDC00 and len(codes) > 1 and 0xDC00 <= codes[1][0] < 0xE000:
            return chr(0x10000 + ((first - 0xD800) << 10) + codes[1][0] - 0xDC00), 2
        return chr(first) if first < 0x110000 else "\ufffd", 1
    for count in (2, 3, 4):
        if first >= 0xC0 and len(codes) >= count and all(byte for _, byte in codes[:count]):
            try:
                return bytes(code for code, _ in codes[:count]).decode(), count
            except UnicodeDecodeError:
                continue
    return chr(first), 1
