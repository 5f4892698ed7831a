"""Define the progress that a procedure reports while it runs; playbooks/report shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from playbooks.core.errors import SlipwayError
from playbooks.core.phases import Phase


@dataclass(frozen=True)
class Trip:
    """One operation on a host, with its times.

    Args:
        host: its inventory name.
        name: connect, lock, a step's name, or confirm.
        began, sent, answered: the times of its start, its last byte sent and its complete answer; seconds
            by the monotonic clock.
        work: seconds that the host worked, by the host's clock, to 10 ms; None if unknown.
        bytes_out, bytes_in: sent and received, before compression and encryption.
        round_trips: how many round trips it waited for; 0 for connecting.
    """

    host: str
    name: str
    began: float
    sent: float
    answered: float
    work: float | None = None
    bytes_out: int = 0
    bytes_in: int = 0
    round_trips: int = 1


@dataclass(frozen=True)
class Side:
    """One version's requests in a window.

    Args:
        version: the version.
        requests, errors: counts.
        p50, p95, p99: latencies in milliseconds; None if there are none.
    """

    version: str
    requests: int
    errors: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Look:
    """One look at a watched stage.

    Args:
        stage: the stage's name.
        share: the new version's part of the traffic, 0 to 1; None if it follows from the number of its servers.
        at: seconds since the watching began.
        passed, seconds: the elapsed time of the stage, and its length.
        window: seconds since the previous look.
        new, old: both versions in that window; None if the old one does not run any more.
        new_so_far, old_so_far: the same since the stage began.
        outcome: good, bad or inconclusive, so far.
        sentence: why.
        lacking: rules without a result yet, each with what is missing.
        then: what follows a good stage; for a held stage, what a person can do.
        held: whether its time is over and it waits for more data or a person's decision.
    """

    stage: str
    share: float | None
    at: float
    passed: float
    seconds: float
    window: float
    new: Side
    old: Side | None
    new_so_far: Side
    old_so_far: Side | None
    outcome: str
    sentence: str
    lacking: tuple[tuple[str, str], ...] = ()
    then: str = ""
    held: bool = False


class Progress(Protocol):
    """Receives the progress of a task. Many threads call it."""

    def hosts(self, names: Sequence[str]) -> None:
        """These hosts take part in the task."""

    def phase(self, phase: Phase) -> None:
        """The fleet as a whole enters a phase."""

    def begin(self, host: str, step: str) -> None:
        """A host begins a step."""

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        """An operation was sent to a host, or a host has answered: connect, lock, a step, confirm."""

    def trip(self, trip: Trip) -> None:
        """A host has answered; the trip has the times."""

    def look(self, look: Look) -> None:
        """A watched stage has a new look."""

    def note(self, host: str, text: str) -> None:
        """A running step has a message."""

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        """A step has ended."""

    def warn(self, text: str) -> None:
        """A warning, which does not stop the task."""


class Silent:
    """Reports nothing."""

    def hosts(self, names: Sequence[str]) -> None: ...
    def phase(self, phase: Phase) -> None: ...
    def begin(self, host: str, step: str) -> None: ...
    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None: ...
    def trip(self, trip: Trip) -> None: ...
    def look(self, look: Look) -> None: ...
    def note(self, host: str, text: str) -> None: ...
    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None: ...
    def warn(self, text: str) -> None: ...


class PassesOn:
    """Passes everything on; a base class for observers that also record some of it.

    Args:
        watcher: receives everything.
    """

    def __init__(self, watcher: Progress) -> None:
        self._watcher = watcher

    def hosts(self, names: Sequence[str]) -> None:
        self._watcher.hosts(names)

    def phase(self, phase: Phase) -> None:
        self._watcher.phase(phase)

    def begin(self, host: str, step: str) -> None:
        self._watcher.begin(host, step)

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        self._watcher.operation(host, name, moment)

    def trip(self, trip: Trip) -> None:
        self._watcher.trip(trip)

    def look(self, look: Look) -> None:
        self._watcher.look(look)

    def note(self, host: str, text: str) -> None:
        self._watcher.note(host, text)

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        self._watcher.end(host, step, error, seconds)

    def warn(self, text: str) -> None:
        self._watcher.warn(text)
