"""Progress as plain lines: for logs, pipes and CI."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal, TextIO

from playbooks.core.errors import SlipwayError
from playbooks.core.phases import Phase
from playbooks.fleet.progress import Look, Trip
from playbooks.report.looks import in_words

# Seconds between lines about a stage in which nothing changes, so that a log of half an hour stays readable.
LOOK_EVERY = 30.0


class Plain:
    """A line for each finished step, and for each look with something new. All its texts are `Shown`.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._width = 4
        self._told: Look | None = None

    def hosts(self, names: Sequence[str]) -> None:
        self._width = max([self._width, *(len(name) for name in names)])

    def phase(self, phase: Phase) -> None:
        self._write(f"== {phase.text}")

    def begin(self, host: str, step: str) -> None: ...

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None: ...

    def trip(self, trip: Trip) -> None: ...

    def look(self, look: Look) -> None:
        told = self._told
        if (
            told is None
            or (told.stage, told.outcome, told.held) != (look.stage, look.outcome, look.held)
            or look.at - told.at >= LOOK_EVERY
        ):
            self._told = look
            self._write(f"{'':<{self._width}}  {'watch':<9} {in_words(look)}")

    def note(self, host: str, text: str) -> None:
        self._write(f"{host:<{self._width}}  {'':<9} {text}")

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        told = f"FAILED  {error.message}" if error else "ok"
        self._write(f"{host:<{self._width}}  {step:<9} {seconds:6.1f}s  {told}")

    def warn(self, text: str) -> None:
        self._write(f"warning: {text}")

    def _write(self, line: str) -> None:
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()
