"""What became of this machine's processor time: on a rented one, others take a share of it."""

from __future__ import annotations

from pathlib import Path

_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # proc_stat(5)


def ticks() -> tuple[int, ...]:
    """All that was spent since the machine started, by kind."""
    return tuple(int(word) for word in Path("/proc/stat").read_text(encoding="utf-8").split()[1 : len(_KINDS) + 1])


def stolen(since: tuple[int, ...]) -> float:
    """How much of the time others had while something wanted it, 0 to 1.

    Args:
        since: what `ticks` said before.
    """
    spent = [now - then for now, then in zip(ticks(), since, strict=True)]
    return spent[_KINDS.index("steal")] / max(1, sum(spent))
