"""Write counts of things for a person."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, thing: str) -> str:
    """Return a count with its noun: 1 host, 2 hosts."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def few(sentences: Sequence[str], most: int = 3) -> str:
    """Return the first of several short sentences, and how many more there are."""
    more = f", and {len(sentences) - most} more" if len(sentences) > most else ""
    return ", ".join(sentences[:most]) + more
