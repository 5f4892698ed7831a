"""Requests while a release was rolled out, compared with those before; nothing is said without a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.judgement.counts import Counts
from playbooks.judgement.headroom import BalancerReading, merged
from playbooks.judgement.sentences import milliseconds


@dataclass(frozen=True)
class Requests:
    """Requests within a window.

    Args:
        seconds: how long it was.
        counts: what was counted.
    """

    seconds: float
    counts: Counts

    @property
    def timed(self) -> int:
        """How many answers have latencies: a balancer may remember only the last ones."""
        return sum(self.counts.latencies.values())

    @property
    def sentence(self) -> str:
        """For a person."""
        counts = self.counts
        if not counts.requests:
            return "none"
        failed = f"{counts.errors:,}" if counts.errors else "none"
        p99 = counts.quantile(0.99)
        of = "" if self.timed >= 0.9 * counts.requests else f" of the {self.timed:,} that were timed"
        return f"{counts.requests:,}, {failed} failed" + (f", p99 {milliseconds(p99)}{of}" if p99 is not None else "")

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        counts = self.counts
        return {
            "seconds": round(self.seconds, 1),
            "requests": counts.requests,
            "failed": counts.errors,
            "p50_ms": counts.quantile(0.5),
            "p99_ms": counts.quantile(0.99),
            "timed": self.timed,
        }


@dataclass(frozen=True)
class RequestSummary:
    """Requests before the first change, and from then to the end."""

    before: Requests
    during: Requests

    @property
    def any(self) -> bool:
        """Whether there were any requests."""
        return bool(self.before.counts.requests or self.during.counts.requests)

    @property
    def sentence(self) -> str:
        """For a person."""
        return f"requests meanwhile: {self.during.sentence}; before: {self.before.sentence}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"before": self.before.to_json(), "during": self.during.to_json()}


def meanwhile(readings: Sequence[Sequence[BalancerReading]], changed: float) -> RequestSummary | None:
    """Add up several balancers' readings; None if there are no counts from the rollout.

    Args:
        readings: by balancer, in order.
        changed: when the first change began, by the monotonic clock.
    """
    before = [[one for one in each if one.ended <= changed] for each in readings]
    during = [[one for one in each if one.ended > changed] for each in readings]
    if not any(during):
        return None
    return RequestSummary(_of(before), _of(during))


def _of(readings: Sequence[Sequence[BalancerReading]]) -> Requests:
    seconds = max((sum(one.seconds for one in each) for each in readings), default=0.0)
    return Requests(seconds, merged(one for each in readings for one in each))
