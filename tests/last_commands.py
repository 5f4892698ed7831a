"""The newest commands of a test that fails: an exit status alone shows neither why it failed nor what came before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

_newest: deque[tuple[str, str]] = deque(maxlen=4)


def forget() -> None:
    """A new test begins."""
    _newest.clear()


def remember(words: Sequence[str], status: int, out: str, err: str) -> None:
    """Keep a command and what it wrote."""
    _newest.append((f"invoke {' '.join(words)}: status {status}", f"{out}\n{err}".strip()))


def told() -> list[tuple[str, str]]:
    """Each one's command line with its status, and what it wrote; the newest is the last."""
    return list(_newest)
