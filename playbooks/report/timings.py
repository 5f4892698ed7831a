"""Where a task's time went: records every round trip while the task runs, and adds them up at its end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from playbooks.core.errors import SlipwayError
from playbooks.core.phases import Phase
from playbooks.fleet.progress import Progress, Trip
from playbooks.report.phase_recorder import PhaseRecorder

# Seconds. Of steps without an answer, shorter ones sent nothing to a host, or failed by an answer that had just come.
MIN_SECONDS = 0.05
JUST = 0.05


@dataclass(frozen=True)
class Cost:
    """What some round trips took together.

    Args:
        seconds: from the first byte sent to the answer, added up.
        work: seconds of work on the host; None if no trip reports it.
        wire: the rest of the seconds of the trips whose work is known; None if no trip reports it.
        bytes_out, bytes_in: sent and received.
        round_trips: how many round trips were waited for.
    """

    seconds: float
    work: float | None
    wire: float | None
    bytes_out: int
    bytes_in: int
    round_trips: int


@dataclass(frozen=True)
class HostTimings:
    """One host's part in a task.

    Args:
        host: its inventory name.
        trips: its round trips, by their beginning.
        seconds: how long it was busy; trips at the same time count once.
    """

    host: str
    trips: tuple[Trip, ...]
    seconds: float

    @cached_property
    def steps(self) -> dict[str, Cost]:
        """What each step took, by its name, in the order of their beginning."""
        return {name: cost(trip for trip in self.trips if trip.name == name) for name in names_of(self.trips)}

    @property
    def total(self) -> Cost:
        """The cost of all its trips."""
        return cost(self.trips)


@dataclass(frozen=True)
class Timings:
    """The times of a task. All times are seconds since its beginning.

    Args:
        seconds: how long the whole took.
        hosts: those that took part, in inventory order.
        phases: the task's phases and when they began.
    """

    seconds: float
    hosts: tuple[HostTimings, ...]
    phases: tuple[tuple[float, Phase], ...] = ()

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The names of all steps, in the order of their beginning."""
        return names_of(sorted(self.trips, key=lambda trip: trip.began))

    @property
    def trips(self) -> list[Trip]:
        """The round trips of all hosts."""
        return [trip for host in self.hosts for trip in host.trips]

    @property
    def slowest(self) -> HostTimings | None:
        """The host that was busy longest; None if none was reached."""
        return max((host for host in self.hosts if host.trips), key=lambda host: host.seconds, default=None)

    def to_json(self) -> dict[str, Any]:
        """As a JSON document; seconds to the millisecond."""
        return {
            "seconds": round(self.seconds, 3),
            "phases": [{"at": round(at, 3), **asdict(phase)} for at, phase in self.phases],
            "hosts": {host.host: _host_document(host) for host in self.hosts},
        }


class Recorder(PhaseRecorder):
    """Records the round trips too.

    Args:
        watcher: who watches.
    """

    def __init__(self, watcher: Progress) -> None:
        super().__init__(watcher)
        self._hosts: dict[str, list[Trip]] = {}
        self._running: dict[tuple[str, str], float] = {}

    def timings(self) -> Timings:
        """The timings so far."""
        with self._mutex:
            for host, step in list(self._running):
                self._ended(host, step, "not ended")
            hosts = tuple(self._host(name, list(trips)) for name, trips in self._hosts.items())
            return Timings(self.seconds, hosts, self.phases)

    def _host(self, name: str, trips: list[Trip]) -> HostTimings:
        moved = sorted((_since(trip, self._began) for trip in trips), key=lambda trip: trip.began)
        return HostTimings(name, tuple(moved), busy(moved))

    def hosts(self, names: Sequence[str]) -> None:
        with self._mutex:
            for name in names:
                self._hosts.setdefault(name, [])
        super().hosts(names)

    def begin(self, host: str, step: str) -> None:
        with self._mutex:
            self._running[host, step] = time.monotonic()
        super().begin(host, step)

    def trip(self, trip: Trip) -> None:
        with self._mutex:
            self._hosts.setdefault(trip.host, []).append(trip)
        super().trip(trip)

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        with self._mutex:
            self._ended(host, step, "failed" if error else "")
        super().end(host, step, error, seconds)

    def _ended(self, host: str, step: str, badly: str) -> None:
        """Keep a step without an answer as a trip of its own, since it is often the cause of a problem."""
        began = self._running.pop((host, step), None)
        now = time.monotonic()
        if began is None or not badly or now - began < MIN_SECONDS:
            return
        trips = self._hosts.setdefault(host, [])
        answered = any(trip.began >= began and (trip.name == step or now - trip.answered < JUST) for trip in trips)
        if not answered:
            trips.append(Trip(host, f"{step} ({badly})", began, now, now, round_trips=0))


def split(trip: Trip) -> tuple[float, float | None]:
    """A trip's seconds, and how many of them were work on the host; the rest was on the wire.

    The host counts to 10 ms, so its figure may come out a little longer than the trip itself.
    """
    seconds = max(0.0, trip.answered - trip.began)
    return seconds, None if trip.work is None else min(max(0.0, trip.work), seconds)


def cost(trips: Iterable[Trip]) -> Cost:
    """The cost of several trips together."""
    parts = [(trip, *split(trip)) for trip in trips]
    told = [(seconds, work) for _, seconds, work in parts if work is not None]
    return Cost(
        seconds=sum(seconds for _, seconds, _ in parts),
        work=sum(work for _, work in told) if told else None,
        wire=sum(seconds - work for seconds, work in told) if told else None,
        bytes_out=sum(trip.bytes_out for trip, _, _ in parts),
        bytes_in=sum(trip.bytes_in for trip, _, _ in parts),
        round_trips=sum(trip.round_trips for trip, _, _ in parts),
    )


def busy(trips: Sequence[Trip]) -> float:
    """Seconds in which at least one of these trips was running; they are sorted by their beginning."""
    seconds, until = 0.0, float("-inf")
    for trip in trips:
        seconds += max(0.0, trip.answered - max(trip.began, until))
        until = max(until, trip.answered)
    return seconds


def names_of(trips: Iterable[Trip]) -> tuple[str, ...]:
    """The names of steps, each once, in order."""
    return tuple(dict.fromkeys(trip.name for trip in trips))


def _since(trip: Trip, began: float) -> Trip:
    return replace(trip, began=trip.began - began, sent=trip.sent - began, answered=trip.answered - began)


def _host_document(host: HostTimings) -> dict[str, Any]:
    total = host.total
    return {
        "seconds": round(host.seconds, 3),
        "round_trips": total.round_trips,
        "bytes_out": total.bytes_out,
        "bytes_in": total.bytes_in,
        "trips": [_trip_document(trip) for trip in host.trips],
    }


def _trip_document(trip: Trip) -> dict[str, Any]:
    seconds, work = split(trip)
    return {
        "name": trip.name,
        "at": round(trip.began, 3),
        "seconds": round(seconds, 3),
        "work": None if work is None else round(work, 3),
        "wire": None if work is None else round(seconds - work, 3),
        "bytes_out": trip.bytes_out,
        "bytes_in": trip.bytes_in,
        "round_trips": trip.round_trips,
    }
