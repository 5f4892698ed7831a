"""Measure this machine's processor time, of which other tenants of a rented machine may take a part."""

from __future__ import annotations

from pathlib import Path

_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # proc_stat(5)


def ticks() -> tuple[int, ...]:
    """Return the time spent since the machine started, by kind."""
    return tuple(int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split()[1 : len(_KINDS) + 1])


def stolen(since: tuple[int, ...]) -> float:
    """Return the part of demanded processor time that other tenants had, 0 to 1.

    Args:
        since: an earlier result of `ticks`.
    """
    spent = [now - then for now, then in zip(ticks(), since, strict=True)]
    return spent[_KINDS.index("steal")] / max(1, sum(spent))
