"""How long something has been at work: on a busy machine the clock on the wall says nothing of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

WAITS = 30  # times its limit in wall time, after which something that does no work hangs for sure
_TICKS = os.sysconf("SC_CLK_TCK")


def of_process(number: int) -> float:
    """Seconds of processor time of one process and of those it has waited for; 0 when it is gone."""
    return next((seconds for _, seconds in _processes([str(number)])), 0.0)


def of_session(number: int) -> float:
    """Seconds of processor time of all processes of a session."""
    numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sum(seconds for session, seconds in _processes(numbers) if session == number)


def _processes(numbers: list[str]) -> Iterator[tuple[int, float]]:
    for number in numbers:
        try:
            fields = (
                Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
        except OSError:  # it has ended
            continue
        # proc(5), counted from the third field on: session, then utime, stime, cutime and cstime.
        yield int(fields[3]), sum(map(int, fields[11:15])) / _TICKS
