"""What the fleet as a whole began to do, and when; --timings and --report both lay a task out by it."""

from __future__ import annotations

import threading
import time

from playbooks.fleet.progress import PassesOn, Progress


class PhaseRecorder(PassesOn):
    """Passes on to whoever watches what a playbook tells, and keeps the phases. Called from many threads.

    Args:
        watcher: who watches.
    """

    def __init__(self, watcher: Progress) -> None:
        super().__init__(watcher)
        self._began = time.monotonic()
        self._mutex = threading.Lock()
        self._phases: list[tuple[float, str]] = []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def phases(self) -> tuple[tuple[float, str], ...]:
        """What began, each after so many seconds."""
        return tuple(self._phases)

    def phase(self, text: str) -> None:
        with self._mutex:
            self._phases.append((self.seconds, text))
        super().phase(text)
