"""Counts of one server or of several, in the form that every source of metrics uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counts:
    """Requests within a window.

    Args:
        requests: how many there were, answered or not.
        errors: how many of them failed: status 5xx, no answer, no connection.
        latencies: milliseconds → how many answers took at most that long, and longer than the next smaller key.
            It may be a sample of the requests.
    """

    requests: int = 0
    errors: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        latencies = Counter(self.latencies)
        latencies.update(other.latencies)
        return Counts(self.requests + other.requests, self.errors + other.errors, dict(latencies))

    @property
    def error_rate(self) -> float | None:
        """Errors divided by requests; None without a request."""
        return self.errors / self.requests if self.requests else None

    def quantile(self, share: float) -> float | None:
        """The latency, in milliseconds, that this share of the answers did not exceed; None if none was timed.

        Args:
            share: e.g. 0.95.
        """
        left = share * sum(self.latencies.values())
        for milliseconds in sorted(self.latencies):
            left -= self.latencies[milliseconds]
            if left <= 1e-9:
                return milliseconds
        return None


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of several counts."""
    return sum(counts, Counts())
