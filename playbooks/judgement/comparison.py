"""Rules that compare the new release with the old one, measured at the same time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from playbooks.judgement.counts import Counts, total
from playbooks.judgement.rules import Sureness, Tick, events_of, value_of
from playbooks.judgement.sentences import about, chance, milliseconds, percent, rate, window
from playbooks.judgement.sequential import (
    WORSE,
    Evidence,
    Table,
    expected_of_rate,
    expected_of_table,
    gains_of_rate,
    gains_of_table,
    times_odds,
)
from playbooks.judgement.verdict import Finding

WORSE_ERRORS = "worse errors"
REMEMBERED = 20  # a threshold comes from at most this many ticks of the baseline, since latencies drift over a day
MIN_TIMED = 50  # a quantile needs at least this many answers
TWICE = 2.0  # a comparison must be able to find this ratio of the odds of a slow request
# Requests are less independent than the test assumes: what stops one host for a second makes many requests slow at
# once, and a canary may be one host. So evidence must come from at least this many ticks. (Limiting the gain of a tick
# does not make the test wrong.)
LOOKS_LATENCY = 6
LOOKS_ERRORS = 3


@dataclass(frozen=True)
class Compared:
    """The sequential test of two versions, and its counts.

    Args:
        odds: how many times the old version's odds the new one's may be.
        looks: the least number of ticks from which evidence must come.
        most: the logarithm of the most that one tick can gain.
        table, seconds: all counts.
        rising, rising_seconds: the counts since the evidence was lowest, which are the ones against the release.
        lowest: the logarithm of the lowest evidence.
    """

    odds: float
    looks: int = 1
    most: float = math.inf
    table: Table = field(default_factory=Table)
    seconds: float = 0.0
    looked: int = 0
    rising: Table = field(default_factory=Table)
    rising_seconds: float = 0.0
    lowest: float = 0.0
    evidence: Evidence = field(default_factory=lambda: Evidence(len(WORSE), late=True))

    def after(self, table: Table, seconds: float) -> Compared:
        """The test, knowing one tick more."""
        looked = self.looked + bool(table.new and table.old)
        more = replace(self, table=self.table + table, seconds=self.seconds + seconds, looked=looked)
        if not (table.new and table.old and table.new_events + table.old_events):
            return more  # such a tick has no information on either version
        gains = [min(gain, self.most) for gain in gains_of_table(table, self.odds, WORSE)]
        evidence = self.evidence.after(gains)
        if evidence.log <= self.lowest:
            return replace(more, evidence=evidence, lowest=evidence.log, rising=Table(), rising_seconds=0.0)
        rising, seconds = self.rising + table, self.rising_seconds + seconds
        return replace(more, evidence=evidence, rising=rising, rising_seconds=seconds)

    def telling(self, *, bad: bool) -> tuple[Table, float]:
        """The counts to show: if a release turned bad after a good hour, those after the hour."""
        return (self.rising, self.rising_seconds) if bad and self.rising.new else (self.table, self.seconds)

    @property
    def old_rate(self) -> float:
        """The old version's rate, never quite 0 or 1."""
        return (self.table.old_events + 0.5) / (self.table.old + 1)

    def finding(self, found: Finding, sure: Sureness, *, evidence: float, expected: float) -> Finding:
        """The finding so far.

        Args:
            found: the rule, its threshold, and the counts as a sentence.
            sure: when it may decide.
            evidence: the logarithm of the evidence against the release.
            expected: the logarithm of the evidence that a release which must be found would give. It does not depend on
                this release's results.
        """
        table, seconds = self.telling(bad=evidence >= sure.needed)
        found = replace(
            found,
            numerator=table.new_events,
            denominator=table.new,
            seconds=seconds,
            baseline_numerator=table.old_events,
            baseline_denominator=table.old,
            limit=self.odds,
            evidence=value_of(evidence),
            needed=value_of(sure.needed),
        )
        told = f"{found.rule}: {found.sentence}"
        if evidence >= sure.needed:
            return replace(found, outcome="bad", sentence=f"{told} {chance(sure.alarm)}")
        enough = enough_for(sure)
        if expected >= enough and self.looked >= self.looks:
            return replace(found, outcome="good", sentence=told)
        lacking = self._lacking(enough / expected if expected > 0 else None)
        return replace(found, lacking=lacking, sentence=f"{told} Not enough data: {lacking}.")

    def _lacking(self, factor: float | None) -> str:
        if factor is not None and factor <= 1:
            return f"{self.looked} of {self.looks} intervals with requests of both versions"
        if not self.table.old:
            return "no requests of the old version to compare with"
        if factor is None:
            return f"{self.table.new:,} requests of the new version"
        return f"{self.table.new:,} of about {about(max(self.table.new * factor, self.table.new + 1))} requests needed"

    def expected(self, new_rate: float) -> float:
        """The log evidence that a release with this rate would have shown by now."""
        return expected_of_table(self.table, new_rate, self.old_rate, self.odds) if self.table.old else 0.0


@dataclass(frozen=True)
class WorseErrors:
    """The new release fails more often than the old one, and more often than a floor.

    The data must show both. With enough requests 0.02 % is certainly more than 0.01 %, but it does no harm. And three
    failures among forty requests are a high rate, but chance alone causes them now and then.
    """

    compared: Compared
    sure: Sureness
    floor: float
    noticed: float
    above: Evidence = field(default_factory=lambda: Evidence(len(WORSE), late=True))
    measured: bool = False

    def after(self, tick: Tick) -> WorseErrors:
        if tick.old is None:
            return self
        (new_events, new), (old_events, old) = events_of(tick.new, None), events_of(tick.old, None)
        above = self.above.after(gains_of_rate(new_events, new, self.floor, WORSE)) if new else self.above
        compared = self.compared.after(Table(new_events, new, old_events, old), tick.seconds)
        return replace(self, compared=compared, above=above, measured=True)

    def finding(self) -> Finding:
        if not self.measured:
            return left_out(WORSE_ERRORS)
        evidence, odds = min(self.compared.evidence.peak, self.above.peak), self.compared.odds
        table, seconds = self.compared.telling(bad=evidence >= self.sure.needed)
        noticed = max(self.noticed, times_odds(self.compared.old_rate, TWICE * odds))
        return self.compared.finding(
            Finding(
                WORSE_ERRORS,
                "inconclusive",
                f"{rate(table.new_events, table.new)} failed on the new version and "
                f"{rate(table.old_events, table.old)} on the old one within {window(seconds)}; "
                f"the limit is {percent(odds - 1)} more than the old one, and at least {percent(self.floor)}.",
            ),
            self.sure,
            evidence=evidence,
            expected=min(
                self.compared.expected(noticed), expected_of_rate(self.compared.table.new, noticed, self.floor)
            ),
        )


@dataclass(frozen=True)
class WorseLatency:
    """The new release is slower than the old one at a quantile.

    A request of the old version is slow if it takes longer than the old version's quantile, one of the new release if
    it takes longer than that plus the tolerance. The quantile comes from earlier ticks: if it came from the same one,
    the old version's part of slow requests would be fixed.

    Args:
        share: the quantile, e.g. 0.95.
        by: how much slower it may be, e.g. 0.2.
        slack: milliseconds that it may be slower in any case.
        buckets: bounds of the source's histogram, if it is one. A threshold between two bounds is moved up, because
            requests between them might be below it.
        past: the old version's latencies from which the next threshold comes.
    """

    share: float
    by: float
    slack: float
    compared: Compared
    sure: Sureness
    buckets: tuple[float, ...] = ()
    past: tuple[Counts, ...] = ()
    threshold: float | None = None
    measured: bool = False

    @property
    def rule(self) -> str:
        """Its name."""
        return f"worse latency p{100 * self.share:g}"

    def after(self, tick: Tick) -> WorseLatency:
        if tick.old is None:
            return self
        known = total(self.past)
        next_one = replace(self, past=(*self.past, tick.old)[-REMEMBERED:], measured=True)
        ours = known.quantile(self.share) if sum(known.latencies.values()) >= MIN_TIMED else None
        if ours is None:
            return next_one
        limit = bound(max(ours * (1 + self.by), ours + self.slack), self.buckets)
        table = Table(*events_of(tick.new, limit), *events_of(tick.old, ours))
        return replace(next_one, compared=self.compared.after(table, tick.seconds), threshold=limit)

    def finding(self) -> Finding:
        if not self.measured:
            return left_out(self.rule)
        table = self.compared.table
        # If many answers take the same time, fewer are beyond the quantile. That makes it no harder to find.
        noticed = times_odds(max(self.compared.old_rate, 1 - self.share), TWICE)
        return self.compared.finding(
            Finding(self.rule, "inconclusive", self._told(), threshold=self.threshold),
            self.sure,
            evidence=self.compared.evidence.peak,
            expected=self.compared.expected(noticed) if table.old else 0.0,
        )

    def _told(self) -> str:
        table, seconds = self.compared.telling(bad=self.compared.evidence.peak >= self.sure.needed)
        if self.threshold is None:
            return f"fewer than {MIN_TIMED} requests of the old version have a latency so far."
        return (
            f"{rate(table.new_events, table.new)} took longer than {milliseconds(self.threshold)} on the new version "
            f"within {window(seconds)}; the limit, {percent(self.by)} or {milliseconds(self.slack)} slower than the "
            f"old one, allows {percent(table.old_events / table.old) if table.old else '0 %'}."
        )


def enough_for(sure: Sureness) -> float:
    """The expected log evidence with which a release that must be found is found in four cases of five.

    The stake is divided among alternatives and time, so the best of them must gain that much more. And evidence
    scatters by about √(2·its mean). Four of five are above the mean less 0.84 of that.
    """
    least = sure.needed + math.log(2 * len(WORSE))
    scatter = 0.84 * math.sqrt(2)
    return ((scatter + math.sqrt(scatter**2 + 4 * least)) / 2) ** 2


def compared(odds: float, sure: Sureness, looks: int) -> Compared:
    """A comparison that needs at least this many ticks to call a release bad."""
    return Compared(odds, looks, (sure.needed + math.log(2 * len(WORSE))) / looks)


def left_out(rule: str) -> Finding:
    """A comparison without anything to compare with."""
    return Finding(rule, "left out", f"{rule}: not compared, no old version is running.")


def bound(threshold: float, buckets: tuple[float, ...]) -> float:
    """The threshold, moved up to the next bound of a histogram."""
    return min((one for one in buckets if one >= threshold), default=threshold)
