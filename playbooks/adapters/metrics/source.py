"""Metrics: each server's counts since the last reading, from any source."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from playbooks.core.errors import SlipwayError
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal

Totals = Mapping[Hashable, float]
MAX_SERIES = 20_000  # of one server, that are read and remembered


class MetricsError(SlipwayError):
    """A source of metrics cannot be used."""

    code = "metrics.failed"


@dataclass(frozen=True)
class MeasuredServer:
    """Who is asked for numbers, or asked about: a server, and the host it runs on.

    Args:
        name: the server's, which is the inventory host's; with slots HOST-SLOT.
        host: the inventory host it runs on.
        address: of that host, as others reach it.
        port: where it listens.
    """

    name: str
    host: str
    address: str
    port: int


@dataclass(frozen=True)
class MetricsReading:
    """What was read. A server that is in neither has no data: that is neither good nor bad.

    Args:
        counts: since the last reading, by server; the first reading of a server sets its start and counts nothing.
        signals: what numbers that are as they are at the moment came to, each held against its limit.
        problems: a sentence for each thing that could not be read.
        buckets: where latencies can be told apart, in milliseconds: bounds that the histograms of all servers have.
    """

    counts: Mapping[str, Counts] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    problems: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class MetricsSource(Protocol):
    """A source of metrics."""

    def read(self) -> MetricsReading:
        """What has come since the last time.

        Raises:
            MetricsError: at the first reading, what the settings name is not there.
        """


@dataclass(frozen=True)
class Snapshot:
    """A server's counters at one moment.

    Args:
        requests, errors: by series; a source that has them added up already has one.
        latencies: by series and upper limit (milliseconds), cumulative as Prometheus has them.
    """

    requests: Totals
    errors: Totals
    latencies: Totals


class Counting:
    """Makes what came since last time out of counters that only rise, and that begin anew when a process does."""

    def __init__(self) -> None:
        self._last: dict[str, Snapshot] = {}

    @property
    def buckets(self) -> tuple[float, ...]:
        """Bounds, in milliseconds, that every server's histogram has; two releases may have different ones."""
        found = [{_limit(key) for key in snapshot.latencies} for snapshot in self._last.values() if snapshot.latencies]
        return tuple(sorted(limit for limit in set.intersection(*found) if math.isfinite(limit))) if found else ()

    def feed(self, server: str, now: Snapshot) -> Counts | None:
        """What came since this server's last snapshot; None for its first."""
        last = self._last.get(server)
        self._last[server] = now if last is None else _known(last, now)
        if last is None:
            return None
        requests = round(sum(_since(last.requests, now.requests).values()))
        # Of a page that was made while requests ended, errors may be ahead.
        errors = min(requests, round(sum(_since(last.errors, now.errors).values())))
        return Counts(requests, errors, _apart(_since(last.latencies, now.latencies)))


def _known(last: Snapshot, now: Snapshot) -> Snapshot:
    """What the next snapshot is compared with. A series that is away for once is no new one when it is back.

    Of a process that began anew, what is away is gone.
    """
    pairs = [(last.requests, now.requests), (last.errors, now.errors), (last.latencies, now.latencies)]
    if any(value < was.get(key, 0.0) for was, is_now in pairs for key, value in is_now.items()):
        return now
    both = Snapshot(*({**was, **is_now} for was, is_now in pairs))
    # Names that are new each time would fill the memory.
    return both if len(both.requests) + len(both.errors) + len(both.latencies) <= MAX_SERIES else now


def _since(last: Totals, now: Totals) -> dict[Hashable, float]:
    found = {}
    for key, value in now.items():
        before = last.get(key, 0.0)
        # A counter that fell began anew, and all that it has is new. A new series of a known server began at 0.
        found[key] = value - before if value >= before else value
    return found


def _limit(key: Hashable) -> float:
    """The upper limit of a bucket, in milliseconds; NaN for what is none."""
    limit = key[-1] if isinstance(key, tuple) else key
    return limit if isinstance(limit, float) else math.nan


def _apart(latencies: Mapping[Hashable, float]) -> dict[float, int]:
    """Buckets that hold all up to their limit, as buckets that hold what is above the next smaller limit."""
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
