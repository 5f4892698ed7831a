"""Measure how fast this machine sends and makes deltas, to decide whether a delta saves time.

Every deploy measures both, and this machine keeps them, because another machine may have another network.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

# The assumed part of an artifact that a delta saves; its size is unknown before it is made, and most save more.
SAVES = 0.9
# The assumed speed of making a delta, in bytes of the artifact a second, until it is measured.
USUAL = 20_000_000.0
# A smaller upload would measure the round trips instead.
MIN_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Pace:
    """The last measurements.

    Args:
        sent: bytes a second to all hosts together; None if unknown.
        made: bytes of an artifact a second while making a delta; None if unknown.
    """

    sent: float | None = None
    made: float | None = None


def pays(pace: Pace, size: int, hosts: int) -> bool:
    """Return whether making a delta takes less time than it saves.

    Args:
        pace: the measurements; if they are unknown, a delta is made.
        size: the artifact's size in bytes.
        hosts: the number of hosts that would get it.
    """
    if pace.sent is None:
        return True
    return making(pace, size) < SAVES * size * hosts / pace.sent


def making(pace: Pace, size: int) -> float:
    """Estimate the seconds that a delta of an artifact of this size takes."""
    return size / (pace.made or USUAL)


@dataclass
class Stopwatch:
    """Measures the time of a deploy's uploads and deltas. Threads may share it."""

    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _bytes: int = 0
    _began: float | None = None
    _ended: float = 0.0
    _made: float | None = None

    def sent(self, size: int, began: float, ended: float) -> None:
        """Record an upload to one host: bytes, start and end by the monotonic clock."""
        with self._guard:
            self._bytes += size
            self._began = began if self._began is None else min(self._began, began)
            self._ended = max(self._ended, ended)

    @contextlib.contextmanager
    def making(self, size: int) -> Iterator[None]:
        """Measure the making of a delta of an artifact of this size."""
        began = time.monotonic()
        yield
        self._made = size / max(time.monotonic() - began, 0.001)

    def pace(self, before: Pace) -> Pace:
        """Return the measurements.

        Args:
            before: the earlier measurements, for what this deploy did not measure.
        """
        found = before if self._made is None else replace(before, made=self._made)
        if self._began is None or self._bytes < MIN_BYTES:
            return found
        return replace(found, sent=self._bytes / max(self._ended - self._began, 0.001))


def read_pace(path: Path) -> Pace:
    """Read the stored measurements; empty if the file is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = {name: float(kept[name]) for name in ("sent", "made") if kept.get(name) is not None}
    except (OSError, ValueError, TypeError, AttributeError):
        return Pace()
    return Pace(**{name: value for name, value in found.items() if 0 < value < float("inf")})


def keep_pace(path: Path, pace: Pace) -> None:
    """Store the measurements. A failure to write is ignored."""
    if not path.is_absolute():  # a user without a home folder stores nothing
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = path.with_name(f".{path.name}.{threading.get_native_id()}")
        scratch.write_text(json.dumps({"sent": pace.sent, "made": pace.made}), encoding="utf-8")
        scratch.replace(path)
