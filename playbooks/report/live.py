"""Progress as a live display on a terminal, with a row for each host."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.text import Text

from playbooks.core.counting import counted
from playbooks.core.errors import SlipwayError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.fleet.progress import Look, Trip
from playbooks.report.looks import MAX_LINES, STYLES, in_lines, in_short

FRAMES_PER_SECOND = 8
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
LONGEST_NAME = 40
MAX_STEPS = 6  # of a host, the last ones
# Steps that are not shown if they succeed quickly.
QUIET = {"connect", "lock", "facts", "preflight", "record", "rendered", "check", "tidy"}


@dataclass
class _Row:
    done: list[tuple[str, float]] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)
    note: str = ""
    error: str = ""
    well: bool = False  # something ended well, if only a quiet step


class Live:
    """A table that is drawn again while hosts work; its last state stays on the screen. All its texts are `Shown`.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._rows: dict[str, _Row] = {}
        self._look: Look | None = None
        self._looked = 0.0
        self._phase = "reaching the hosts"
        self._titled = ""  # the stage whose name is the phase's text
        self._started = time.monotonic()
        self._lock = threading.RLock()
        self._finished = False
        self._live = RichLive(
            console=self._console, refresh_per_second=FRAMES_PER_SECOND, get_renderable=self._draw, transient=False
        )

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_look()
        self._finished = True
        self._phase = "done" if kind is None else f"{self._phase}: stopped"
        self._live.stop()

    def hosts(self, names: Sequence[str]) -> None:
        with self._lock:
            for name in names:
                self._rows.setdefault(name, _Row())

    def phase(self, phase: Phase) -> None:
        with self._lock:
            self._phase = phase.text
            self._titled = phase.stage if phase.code == PhaseCode.SHIFTING else ""
        self._forget_look()

    def begin(self, host: str, step: str) -> None:
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.running[step] = time.monotonic()
            row.note = ""

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None: ...

    def trip(self, trip: Trip) -> None: ...

    def look(self, look: Look) -> None:
        if self._look is not None and self._look.stage != look.stage:
            self._forget_look()
        with self._lock:
            self._look, self._looked = look, time.monotonic()

    def note(self, host: str, text: str) -> None:
        with self._lock:
            self._rows.setdefault(host, _Row()).note = text

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.running.pop(step, None)
            row.well |= error is None
            if error:
                row.error = f"{step}: {error.message}"
            elif step not in QUIET:
                row.done.append((step, seconds))
            row.note = ""

    def warn(self, text: str) -> None:
        self._console.print(Text(f"warning: {text}", style="yellow"))

    def _forget_look(self) -> None:
        """A stage is over: leave its result on the screen."""
        with self._lock:
            look, self._look = self._look, None
        if look is not None:
            self._console.print(Text(in_short(look), style=STYLES.get(look.outcome, "")))

    def _draw(self) -> RenderableType:
        with self._lock:
            width, height = self._console.size
            # One line is for the phase, one may say that there are more hosts, and one has the cursor.
            room = max(1, height - 3 - (MAX_LINES if self._look else 0))
            rows = sorted(self._rows.items(), key=_urgency) if len(self._rows) > room else list(self._rows.items())
            longest = min(LONGEST_NAME, max(map(len, self._rows), default=1))
            # Not a table: for a long line Rich would shrink the columns before it.
            lines = [self._line(name, row, longest) for name, row in rows[:room]]
            for line in lines:
                line.truncate(width, overflow="ellipsis")
            left = len(rows) - room
            more = [Text(f"  … and {counted(left, 'more host')}", style="dim")] if left > 0 else []
            seconds = time.monotonic() - self._started
            watched = self._watched(width)
            return Group(Text(f"{self._phase}  {seconds:.0f}s", style="bold"), *lines, *more, *watched)

    def _watched(self, width: int) -> list[Text]:
        look = self._look
        if look is None:
            return []
        passed = look.passed + time.monotonic() - self._looked
        return in_lines(look, passed, width, titled=look.stage != self._titled)

    def _line(self, name: str, row: _Row, longest: int) -> Text:
        shown = name if len(name) <= longest else f"{name[: longest - 1]}…"
        return Text.assemble(self._glyph(row), " ", (shown.ljust(longest), "bold"), " ", _steps(row))

    def _glyph(self, row: _Row) -> Text:
        if row.error:
            return Text("✗", style="red")
        if row.running and not self._finished:
            frame = SPINNER[int(time.monotonic() * FRAMES_PER_SECOND) % len(SPINNER)]
            return Text(frame, style="cyan")
        if row.running:
            return Text("…", style="yellow")
        return Text("✓", style="green") if row.done or (self._finished and row.well) else Text("·", style="dim")


def _urgency(item: tuple[str, _Row]) -> int:
    """Failed ones first, then those that work, then the rest."""
    row = item[1]
    return 0 if row.error else 1 if row.running else 2


def _steps(row: _Row) -> Text:
    text = Text()
    # A balancer moves traffic again and again.
    runs = [(step, [seconds for _, seconds in run]) for step, run in groupby(row.done, key=lambda done: done[0])]
    for step, seconds in runs[-MAX_STEPS:]:
        text.append(f"{step} ", style="green")
        text.append(f"{seconds[-1]:.1f}s{f' ×{len(seconds)}' if len(seconds) > 1 else ''}  ", style="dim")
    for step, since in row.running.items():
        text.append(f"{step} {time.monotonic() - since:.0f}s  ", style="cyan")
    if row.error:
        text.append(row.error, style="red")
    elif row.note:
        text.append(row.note, style="dim")
    return text
