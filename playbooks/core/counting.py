"""Numbers of things, as one says them."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """A number and what it is of: 1 host, 2 hosts."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
