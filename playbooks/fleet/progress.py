"""The progress that a procedure reports while it runs; playbooks/report draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from playbooks.core.errors import SlipwayError
from playbooks.core.phases import Phase


@dataclass(frozen=True)
class Trip:
    """Something asked of a host, with its answer.

    Args:
        host: its inventory name.
        name: connect, lock, a step, confirm.
        began, sent, answered: when it began, when its last byte was handed on, and when its answer was there; seconds
            by the monotonic clock.
        work: seconds that the host was at it, by the host's own clock, to 10 ms; None where it does not tell.
        bytes_out, bytes_in: sent and received, before compression and encryption.
        round_trips: how often the way there and back was waited for; 0 for connecting, which has its own.
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
    """What one version did in a window.

    Args:
        version: which.
        requests, errors: counts.
        p50, p95, p99: latencies in milliseconds; None where nobody timed any.
    """

    version: str
    requests: int
    errors: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Look:
    """One look at a stage that is watched.

    Args:
        stage: its name.
        share: of the traffic that the new version has, 0 to 1; None: what the number of its servers gives.
        at: seconds since the watching began.
        passed, seconds: how much of the stage has passed, and how long it is.
        window: seconds since the look before.
        new, old: both versions in that window; None where nothing runs the old one any more.
        new_so_far, old_so_far: the same since the stage began.
        outcome: good, bad or inconclusive, as far as is known.
        sentence: why.
        lacking: rules that cannot tell yet, each with what is missing.
        then: what follows the stage, if all is well; of one that is held, what a person can do.
        held: whether its time is over, and it goes on until there is enough to judge by or a person decides.
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
    """Whoever watches. Called from many threads."""

    def hosts(self, names: Sequence[str]) -> None:
        """These hosts take part."""

    def phase(self, phase: Phase) -> None:
        """What the fleet as a whole begins to do now."""

    def begin(self, host: str, step: str) -> None:
        """A host begins a step."""

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        """A host was sent something to do, or has answered: connect, lock, a step, confirm."""

    def trip(self, trip: Trip) -> None:
        """A host has answered; this is what it took."""

    def look(self, look: Look) -> None:
        """A stage that is watched was looked at."""

    def note(self, host: str, text: str) -> None:
        """Something worth seeing while a step runs."""

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        """A step has ended."""

    def warn(self, text: str) -> None:
        """Something a person should know that stops nothing."""


class Silent:
    """Tells nobody."""

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
    """Passes everything on to whoever watches; the base of those who keep some of it.

    Args:
        watcher: who watches.
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
