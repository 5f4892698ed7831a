"""The judge of a stage: it has criteria, gets tick after tick, and gives a verdict at any time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from playbooks.judgement.comparison import (
    LOOKS_ERRORS,
    LOOKS_LATENCY,
    WorseErrors,
    WorseLatency,
    bound,
    compared,
)
from playbooks.judgement.counts import Counts
from playbooks.judgement.rules import Rule, Sureness, Threshold, Tick
from playbooks.judgement.verdict import Signal, Verdict, concluded
from playbooks.settings.judgement import Criteria, Judgement, tests_of

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
COMPARED = (0.5, 0.95)


class Judge:
    """Judges one stage of a deploy.

    Args:
        criteria: what the release must keep to.
        settings: how certain it must be.
        stages: how many stages the deploy has, including its final watch; they share the rate of false alarms.
        before: the old version's counts just before, for a threshold from the first tick on.
        buckets: bounds, in milliseconds, of the source's histogram; none if it knows each latency.
    """

    def __init__(
        self,
        criteria: Criteria,
        settings: Judgement,
        *,
        stages: int = 1,
        before: Counts | None = None,
        buckets: Sequence[float] = (),
    ) -> None:
        alarm = settings.false_alarms / (max(1, stages) * max(1, tests_of(criteria)))
        sure = Sureness(alarm, settings.missed, settings.margin)
        self._rules: list[Rule] = list(_rules(criteria, settings, sure, before, tuple(sorted(buckets))))
        self._signals: list[Signal] = []

    def feed(self, seconds: float, new: Counts, old: Counts | None = None, signals: Iterable[Signal] = ()) -> None:
        """Take the counts since the last tick.

        Args:
            seconds: how long that was.
            new: of all servers on the new release.
            old: of all servers on the old one; None if none is left. A version without requests has empty counts.
            signals: the hosts' own signals.
        """
        tick = Tick(seconds, new, old)
        self._rules = [rule.after(tick) for rule in self._rules]
        self._signals += [signal for signal in signals if signal.bad]

    def verdict(self) -> Verdict:
        """The verdict so far. "bad" is final; "good" and "inconclusive" count at the end of the stage."""
        return concluded((rule.finding() for rule in self._rules), self._signals)


def _rules(
    criteria: Criteria, settings: Judgement, sure: Sureness, before: Counts | None, buckets: tuple[float, ...]
) -> Iterator[Rule]:
    if criteria.errors is not None:
        yield Threshold("errors", criteria.errors, sure)
    for name, share in QUANTILES.items():
        seconds = getattr(criteria, name)
        if seconds is not None:
            yield Threshold(name, 1 - share, sure, threshold=bound(1000 * seconds, buckets))
    if criteria.worse_errors is not None:
        worse = compared(1 + criteria.worse_errors, sure, LOOKS_ERRORS)
        yield WorseErrors(worse, sure, settings.floor, settings.noticed)
    if criteria.worse_latency is not None:
        past = () if before is None else (before,)
        for share in COMPARED:
            by, slack = criteria.worse_latency, 1000 * settings.slack
            slower = compared(1.0, sure, LOOKS_LATENCY)
            yield WorseLatency(share, by, slack, slower, sure, buckets, past)
