"""Records the phases of a task and when they began, for --timings and --report."""

from __future__ import annotations

import threading
import time

from playbooks.core.phases import Phase
from playbooks.fleet.progress import PassesOn, Progress


class PhaseRecorder(PassesOn):
    """Passes progress on to a watcher, and keeps the phases. Called from many threads.

    Args:
        watcher: who watches.
    """

    def __init__(self, watcher: Progress) -> None:
        super().__init__(watcher)
        self._began = time.monotonic()
        self._mutex = threading.Lock()
        self._phases: list[tuple[float, Phase]] = []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def phases(self) -> tuple[tuple[float, Phase], ...]:
        """The phases, each with the seconds after which it began."""
        return tuple(self._phases)

    def phase(self, phase: Phase) -> None:
        with self._mutex:
            self._phases.append((self.seconds, phase))
        super().phase(phase)
