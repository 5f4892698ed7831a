"""Define a source of metrics: each server's counts since the last reading."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from playbooks.core.errors import SlipwayError
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal

Totals = Mapping[Hashable, float]
MAX_SERIES = 20_000  # read and kept for each server


class MetricsError(SlipwayError):
    """A source of metrics cannot be used."""

    code = "metrics.failed"


@dataclass(frozen=True)
class MeasuredServer:
    """A server whose metrics are read, and its host.

    Args:
        name: the server's name: the host's inventory name; with slots HOST-SLOT.
        host: the inventory host it runs on.
        address: the host's address, as others reach it.
        port: the port on which it listens.
    """

    name: str
    host: str
    address: str
    port: int


@dataclass(frozen=True)
class MetricsReading:
    """The result of a reading. A server in neither of the first two has no data, which is neither good nor bad.

    Args:
        counts: the counts since the last reading, by server; a server's first reading only sets its start.
        signals: the present values of numbers, each compared with its limit.
        problems: a sentence for each thing that could not be read.
        buckets: the histogram bounds that all servers have in common, in milliseconds.
    """

    counts: Mapping[str, Counts] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    problems: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class MetricsSource(Protocol):
    """A source of metrics."""

    def read(self) -> MetricsReading:
        """Read the counts since the last reading.

        Raises:
            MetricsError: at the first reading, a metric of the settings does not exist.
        """


@dataclass(frozen=True)
class Snapshot:
    """A server's counters at one moment.

    Args:
        requests, errors: the counters by series; a source that sums them itself has one.
        latencies: the buckets by series and upper limit (milliseconds), cumulative as in Prometheus.
    """

    requests: Totals
    errors: Totals
    latencies: Totals


class Counting:
    """Turns rising counters into counts since the last reading. Counters restart at zero with their process."""

    def __init__(self) -> None:
        self._last: dict[str, Snapshot] = {}

    @property
    def buckets(self) -> tuple[float, ...]:
        """Return the bounds (milliseconds) that all servers' histograms share; releases may have different ones."""
        found = [{_limit(key) for key in snapshot.latencies} for snapshot in self._last.values() if snapshot.latencies]
        return tuple(sorted(limit for limit in set.intersection(*found) if math.isfinite(limit))) if found else ()

    def feed(self, server: str, now: Snapshot) -> Counts | None:
        """Return the counts since this server's last snapshot; None for the first."""
        last = self._last.get(server)
        self._last[server] = now if last is None else _known(last, now)
        if last is None:
            return None
        requests = round(sum(_since(last.requests, now.requests).values()))
        # A page that was made while requests ended may count more errors than requests.
        errors = min(requests, round(sum(_since(last.errors, now.errors).values())))
        return Counts(requests, errors, _apart(_since(last.latencies, now.latencies)))


def _known(last: Snapshot, now: Snapshot) -> Snapshot:
    """Return the base of the next comparison. It keeps a series that is missing once, so that it is not new later.

    After a restart, missing series are dropped.
    """
    pairs = [(last.requests, now.requests), (last.errors, now.errors), (last.latencies, now.latencies)]
    if any(value < was.get(key, 0.0) for was, is_now in pairs for key, value in is_now.items()):
        return now
    both = Snapshot(*({**was, **is_now} for was, is_now in pairs))
    # The limit protects the memory against series with ever new names.
    return both if len(both.requests) + len(both.errors) + len(both.latencies) <= MAX_SERIES else now


def _since(last: Totals, now: Totals) -> dict[Hashable, float]:
    found = {}
    for key, value in now.items():
        before = last.get(key, 0.0)
        # A counter that fell began anew, and all that it has is new. A new series of a known server began at 0.
        found[key] = value - before if value >= before else value
    return found


def _limit(key: Hashable) -> float:
    """Return a bucket's upper limit in milliseconds; NaN if invalid."""
    limit = key[-1] if isinstance(key, tuple) else key
    return limit if isinstance(limit, float) else math.nan


def _apart(latencies: Mapping[Hashable, float]) -> dict[float, int]:
    """Convert cumulative buckets to buckets that count only values above the next smaller limit."""
    cumulative: dict[float, float] = {}
    for key, value in latencies.items():
        limit = _limit(key)
        if not math.isnan(limit):
            cumulative[limit] = cumulative.get(limit, 0.0) + value
    counts, below = {}, 0.0
    for limit in sorted(cumulative):
        count = round(cumulative[limit] - below)
        if count > 0:
            counts[limit] = count
        below = max(below, cumulative[limit])
    return counts
