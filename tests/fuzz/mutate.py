"""Damage done to valid inputs: bits flipped, pieces cut, doubled, swapped and spliced, hostile words put in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# Numbers at the edges of what machines hold, and bytes that end, open or escape something for somebody.
NUMBERS = ("0", "-1", "-0", "1e999", "nan", "9" * 19, "9" * 5000, "0x" + "f" * 5000, "2147483648", "1.5", "٣")
TEXTS = (
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "-rf",
    "--",
    "../../outside",
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "\u202egnp.exe",
    "\x00",
    "\t",
    "\n",
    "\r\n",
    "\u2028",
    "\ufeff",
    "é" * 50,
    "A" * 3000,
    "%s%n%(x)s{0}{x.__class__}",
)
WORDS = (*(text.encode() for text in (*NUMBERS, *TEXTS)), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(rng: random.Random, data: bytes, words: Sequence[bytes] = WORDS) -> bytes:
    """A damaged copy.

    Args:
        rng: decides everything.
        data: a valid input.
        words: what may be put in.
    """
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8, 20))):
        rng.choice(_ALL)(rng, damaged, words)
    return bytes(damaged)


def _piece(rng: random.Random, data: bytearray) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, start + rng.choice((1, 1, 2, 4, 8, 32, 128, 512)))


def _flip(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 9, 10, 13, 27, 32, 34, 39, 47, 58, 91, 123, 127, 128, 255))


def _cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_piece(rng, data)]


def _double(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    piece = data[_piece(rng, data)]
    at = rng.randrange(len(data) + 1)
    data[at:at] = piece * rng.choice((1, 1, 1, 2, 50))


def _move(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    where = _piece(rng, data)
    piece = data[where]
    del data[where]
    at = rng.randrange(len(data) + 1)
    data[at:at] = piece


def _word(rng: random.Random, data: bytearray, words: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, 0, 1, 8))] = rng.choice(words)


def _line(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    lines = data.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first] = lines[second]
    data[:] = b"\n".join(lines)


def _truncate(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


_ALL: tuple[Mutation, ...] = (_flip, _byte, _cut, _double, _move, _word, _word, _line, _truncate)
