"""Values that nobody means: deep, wide, huge, of the wrong kind."""

from __future__ import annotations

import random

from tests.fuzz.mutate import TEXTS

_SCALARS: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 65536, 10**18, 10**30, -(10**400), 1e308, float("inf"), float("nan"), 0.1, "", " ",
    "\ud800", "/", "~", ".", "..", "0", "1s", "all", "{{ x }}", *TEXTS,
)  # fmt: skip
_KEYS = ("id", "who", "what", "since", "version", "by", "status", "created", "at", "", "prev", "\x1b[1m", "hosts")


def document(rng: random.Random, depth: int = 4) -> object:
    """Something JSON can say, or nearly."""
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice(_SCALARS)
    if kind < 0.55:
        deep: object = rng.choice(_SCALARS)
        for _ in range(rng.choice((5, 50, 400))):
            deep = [deep] if rng.random() < 0.5 else {"id": deep}
        return deep
    size = rng.choice((0, 1, 2, 3, 8))
    if kind < 0.75:
        return [document(rng, depth - 1) for _ in range(size)]
    return {rng.choice(_KEYS): document(rng, depth - 1) for _ in range(size)}


def deep_json(rng: random.Random) -> str:
    """JSON nested deeper than any reader goes."""
    depth = rng.choice((900, 1100, 5000, 100_000))
    return rng.choice(("[" * depth, '{"id":' * depth, "[" * depth + "]" * depth))
