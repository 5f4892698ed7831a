"""Batches of hosts: what a number or a percentage of hosts means."""

from __future__ import annotations

from collections.abc import Sequence


def count(share: str, total: int) -> int:
    """How many hosts a number or a percentage means: a percentage is rounded down, but to at least one."""
    if share.endswith("%"):
        return max(1, total * int(share[:-1]) // 100)
    return max(1, min(int(share), total))


def batches(hosts: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Hosts in their order, in batches of this size."""
    return [tuple(hosts[start : start + size]) for start in range(0, len(hosts), size)]


def tolerance(share: str, total: int) -> int:
    """How many hosts may fail; "0" means none."""
    return 0 if share == "0" else count(share, total)
