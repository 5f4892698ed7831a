"""How fast this machine sends and makes deltas, which decides whether a delta saves time.

Both are measured at every deploy and remembered here, since another machine may have another line.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

# What a delta leaves to be sent is not known before it is made; most are far smaller than this leaves.
SAVES = 0.9
# Bytes of an artifact a second that a delta is made of, where it was never measured.
USUAL = 20_000_000.0
# With fewer bytes it is the round trips that are measured.
MIN_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Pace:
    """What was measured last.

    Args:
        sent: bytes a second, to all hosts together; None: not known.
        made: bytes of an artifact a second that a delta was made of; None: not known.
    """

    sent: float | None = None
    made: float | None = None


def pays(pace: Pace, size: int, hosts: int) -> bool:
    """Whether making a delta takes less time than it saves.

    Args:
        pace: what is known; where nothing is, a delta is made.
        size: of the artifact, in bytes.
        hosts: how many it would be sent to.
    """
    if pace.sent is None:
        return True
    return making(pace, size) < SAVES * size * hosts / pace.sent


def making(pace: Pace, size: int) -> float:
    """Seconds that making a delta of an artifact of this size takes, probably."""
    return size / (pace.made or USUAL)


@dataclass
class Stopwatch:
    """Takes the time of a deploy's sending and making. Threads share it."""

    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _bytes: int = 0
    _began: float | None = None
    _ended: float = 0.0
    _made: float | None = None

    def sent(self, size: int, began: float, ended: float) -> None:
        """One host was sent so many bytes, from then to then by the monotonic clock."""
        with self._guard:
            self._bytes += size
            self._began = began if self._began is None else min(self._began, began)
            self._ended = max(self._ended, ended)

    @contextlib.contextmanager
    def making(self, size: int) -> Iterator[None]:
        """Take the time of making a delta of an artifact of this size."""
        began = time.monotonic()
        yield
        self._made = size / max(time.monotonic() - began, 0.001)

    def pace(self, before: Pace) -> Pace:
        """What is known now.

        Args:
            before: what was known, for what was not measured.
        """
        found = before if self._made is None else replace(before, made=self._made)
        if self._began is None or self._bytes < MIN_BYTES:
            return found
        return replace(found, sent=self._bytes / max(self._ended - self._began, 0.001))


def read_pace(path: Path) -> Pace:
    """What is remembered; nothing where it is gone or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = {name: float(kept[name]) for name in ("sent", "made") if kept.get(name) is not None}
    except (OSError, ValueError, TypeError, AttributeError):
        return Pace()
    return Pace(**{name: value for name, value in found.items() if 0 < value < float("inf")})


def keep_pace(path: Path, pace: Pace) -> None:
    """Remember it. That it cannot be written changes nothing."""
    if not path.is_absolute():  # whoever has no home remembers nothing
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{threading.get_native_id()}")
        beside.write_text(json.dumps({"sent": pace.sent, "made": pace.made}), encoding="utf-8")
        beside.replace(path)
