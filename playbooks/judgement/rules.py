"""The rules that judge a release: each gets tick after tick, and gives its finding at any time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from playbooks.judgement.counts import Counts
from playbooks.judgement.sentences import about, chance, milliseconds, percent, rate, window
from playbooks.judgement.sequential import (
    BETTER,
    WORSE,
    Evidence,
    expected_of_rate,
    gains_of_rate,
)
from playbooks.judgement.verdict import Finding

MAX_EVIDENCE = 1e12  # JSON has no infinity, and larger values make no difference


@dataclass(frozen=True)
class Tick:
    """The counts since the last tick.

    Args:
        seconds: how long that was.
        new: of the judged release.
        old: of the baseline at the same time; None if there is none.
    """

    seconds: float
    new: Counts
    old: Counts | None = None


@dataclass(frozen=True)
class Sureness:
    """When a rule may decide.

    Args:
        alarm: how often this rule may call a good release bad.
        missed: how often it may call a release beyond the margin good.
        margin: a release is good if the data shows that its odds are below this many times the limit's.
    """

    alarm: float
    missed: float
    margin: float

    @property
    def needed(self) -> float:
        """The log evidence that calls a release bad."""
        return -math.log(self.alarm)


class Rule(Protocol):
    """What a rule can do."""

    def after(self, tick: Tick) -> Rule:
        """The rule after one more tick."""
        ...

    def finding(self) -> Finding:
        """Its finding so far."""
        ...


@dataclass(frozen=True)
class Threshold:
    """At most a share of all requests may be events: errors, or slower than a threshold.

    Args:
        rule: its name.
        share: the limit.
        sure: when it may decide.
        threshold: milliseconds beyond which a request is an event; None: errors are the events.
    """

    rule: str
    share: float
    sure: Sureness
    threshold: float | None = None
    events: int = 0
    requests: int = 0
    seconds: float = 0.0
    bad: Evidence = field(default_factory=lambda: Evidence(len(WORSE), late=True))
    good: Evidence = field(default_factory=lambda: Evidence(len(BETTER)))

    def after(self, tick: Tick) -> Threshold:
        events, requests = events_of(tick.new, self.threshold)
        waited = replace(self, seconds=self.seconds + tick.seconds)
        if not requests:
            return waited
        return replace(
            waited,
            events=self.events + events,
            requests=self.requests + requests,
            bad=self.bad.after(gains_of_rate(events, requests, self.share, WORSE)),
            good=self.good.after(gains_of_rate(events, requests, self.beyond, BETTER)),
        )

    @property
    def beyond(self) -> float:
        """The share below which the data must show a release to be, so that it is good."""
        return self.share * self.sure.margin / (1 - self.share + self.share * self.sure.margin)

    def finding(self) -> Finding:
        told = (
            f"{rate(self.events, self.requests)} {what(self.threshold)} on the new version within "
            f"{window(self.seconds)}; the limit is {percent(self.share)}."
        )
        found = Finding(
            self.rule,
            "inconclusive",
            "",
            self.events,
            self.requests,
            self.seconds,
            limit=self.share,
            threshold=self.threshold,
            evidence=value_of(self.bad.peak),
            needed=value_of(self.sure.needed),
        )
        if self.bad.peak >= self.sure.needed:
            return replace(found, outcome="bad", sentence=f"{self.rule}: {told} {chance(self.sure.alarm)}")
        if self.good.log >= -math.log(self.sure.missed):
            return replace(found, outcome="good", sentence=f"{self.rule}: {told}")
        lacking = self._lacking()
        return replace(found, lacking=lacking, sentence=f"{self.rule}: {told} Not enough data: {lacking}.")

    def _lacking(self) -> str:
        seen = (self.events + self.share / 2) / (self.requests + 1)
        if seen >= self.beyond:
            return f"{self.requests:,} requests do not rule out chance"
        needed = (len(BETTER) / self.sure.missed, expected_of_rate(1, seen, self.beyond))
        requests = max(math.log(needed[0]) / needed[1], self.requests + 1)
        if requests > 100 * (self.requests + 100):
            return f"after {self.requests:,} requests the rate is too close to {percent(self.beyond)}"
        return f"{self.requests:,} of about {about(requests)} requests needed"


def events_of(counts: Counts, threshold: float | None) -> tuple[int, int]:
    """Events and requests: errors of all requests, or slow ones of those with a latency.

    Sources read their counters one after another, so there may be one error more than there are requests.
    """
    if threshold is None:
        requests = max(0, counts.requests)
        return min(max(0, counts.errors), requests), requests
    slow = sum(count for latency, count in counts.latencies.items() if latency > threshold)
    return slow, sum(counts.latencies.values())


def what(threshold: float | None) -> str:
    """The words for an event, to follow a number."""
    return "failed" if threshold is None else f"took longer than {milliseconds(threshold)}"


def value_of(log: float) -> float:
    """An e-value that can be written down."""
    return min(MAX_EVIDENCE, math.exp(min(log, 100.0)))
