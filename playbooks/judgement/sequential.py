"""Sequential tests that may be evaluated after every tick and stopped at any: e-processes.

An e-process is a bet against a hypothesis that gains nothing on average while the hypothesis is true. The probability
that it ever multiplies its stake by 1/α is then at most α (Ville's inequality), however often one looks. So a
false-alarm rate holds for a whole stage, not only for one look at it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

# The alternatives, as multiples of the hypothesis' odds. Each gets an equal part of the stake.
WORSE = (1.25, 1.5, 2.0, 3.0, 6.0, 15.0, 60.0)
BETTER = (1 / 1.5, 1 / 2, 1 / 4, 1 / 16, 1 / 1000)
NEGLIGIBLE = 1e-17  # of a sum of floats


@dataclass(frozen=True)
class Table:
    """Events and requests of both versions in one tick.

    Args:
        new_events, new: events, and requests, of the release that is judged.
        old_events, old: of the baseline.
    """

    new_events: int = 0
    new: int = 0
    old_events: int = 0
    old: int = 0

    def __add__(self, other: Table) -> Table:
        return Table(
            self.new_events + other.new_events,
            self.new + other.new,
            self.old_events + other.old_events,
            self.old + other.old,
        )


@dataclass(frozen=True)
class Evidence:
    """The result of the bets against a hypothesis so far.

    Args:
        bets: how many alternatives share the stake.
        late: whether a part of the stake is kept for later, so that a release which turns bad after an hour is found
            about as soon as one that is bad from the start, and its good hour does not count for it.
        logs: the logarithm of each alternative's bet, without its share of the stake.
        ticks: how many ticks had data.
        peak: the logarithm of the highest total so far.
    """

    bets: int
    late: bool = False
    logs: tuple[float, ...] = ()
    ticks: int = 0
    peak: float = 0.0

    def after(self, gains: Sequence[float]) -> Evidence:
        """The evidence after a tick.

        Args:
            gains: for each alternative, the log likelihood ratio of the tick to the hypothesis.
        """
        ticks = self.ticks + 1
        logs = self.logs or (-math.inf if self.late else 0.0,) * self.bets
        if self.late:  # half at the first tick; then 1/2·1/(j(j-1)), which adds up to the other half over all j
            stake = -math.log(2.0 if ticks == 1 else 2.0 * ticks * (ticks - 1))
            logs = tuple(_log_add(one, stake) for one in logs)
        logs = tuple(one + gain for one, gain in zip(logs, gains, strict=True))
        now = replace(self, logs=logs, ticks=ticks)
        return replace(now, peak=max(self.peak, now.log))

    @property
    def log(self) -> float:
        """The logarithm of the e-value: 0 is none; -log α rejects the hypothesis at α."""
        if not self.logs:
            return 0.0
        top = max(self.logs)
        return top + math.log(sum(math.exp(one - top) for one in self.logs) / self.bets)


def gains_of_rate(events: int, requests: int, rate: float, grid: Sequence[float]) -> list[float]:
    """One sample: log likelihood ratios of rates beyond a given rate to that rate itself.

    Against rates on the other side the bet gains even less (the likelihood ratio is monotone). So what holds for
    the rate itself also holds for "at most" with WORSE, and for "at least" with BETTER.

    Args:
        events, requests: the counts.
        rate: the hypothesis, above 0 and below 1.
        grid: the alternatives, as multiples of its odds.
    """
    found = []
    for factor in grid:
        other = times_odds(rate, factor)
        found.append(events * math.log(other / rate) + (requests - events) * math.log((1 - other) / (1 - rate)))
    return found


def gains_of_table(table: Table, odds: float, grid: Sequence[float]) -> list[float]:
    """Two samples: log likelihood ratios of odds ratios above a given one to that odds ratio itself.

    Given the number of events in both samples, the new release's part of them follows Fisher's noncentral
    hypergeometric distribution, whatever the rate is at the moment. No rate is estimated, so the test is exact without
    any events, with few, and with a share of 1 %. What affects both versions at once cancels out.

    Args:
        table: the tick.
        odds: the hypothesis: the new release's odds of an event are at most this many times the old one's.
        grid: the alternatives, as multiples of it.
    """
    events = table.new_events + table.old_events
    base = log_normaliser(table.new, table.old, events, odds)
    return [
        table.new_events * math.log(factor) - log_normaliser(table.new, table.old, events, odds * factor) + base
        for factor in grid
    ]


def log_normaliser(new: int, old: int, events: int, odds: float) -> float:
    """The logarithm of Σ C(new, k)·C(old, events - k)·odds^k over all k.

    The sum goes from the largest term outwards until the rest is too small for a float: some hundreds of terms for
    hundreds of thousands of requests.
    """
    low, high = max(0, events - old), min(events, new)

    def step(k: int) -> float:
        """The term of k + 1 over that of k: falls with k."""
        return odds * (new - k) * (events - k) / ((k + 1) * (old - events + k + 1))

    mode = bisect_left(range(low, high), True, key=lambda k: step(k) < 1) + low
    total = term = 1.0
    for k in range(mode, high):
        term *= step(k)
        total += term
        if term < NEGLIGIBLE * total:
            break
    term = 1.0
    for k in range(mode - 1, low - 1, -1):
        term /= step(k)
        total += term
        if term < NEGLIGIBLE * total:
            break
    return _log_choose(new, mode) + _log_choose(old, events - mode) + mode * math.log(odds) + math.log(total)


def expected_of_rate(requests: float, rate: float, limit: float) -> float:
    """The expected log evidence of this many requests against a limit, if the rate is another one."""
    return requests * _divergence(rate, limit)


def expected_of_table(table: Table, new_rate: float, old_rate: float, odds: float) -> float:
    """The expected log evidence of this many requests of both versions against an odds ratio, for given rates.

    Args:
        table: how many requests; its events do not count.
        new_rate, old_rate: both above 0 and below 1.
        odds: the hypothesis.
    """
    # The closest hypothesis: the pair of rates on its boundary nearest to these. There is one crossing; bisect.
    below, above = -50.0, 50.0
    for _ in range(60):
        middle = (below + above) / 2
        slope = table.new * (_rate(middle + math.log(odds)) - new_rate) + table.old * (_rate(middle) - old_rate)
        below, above = (below, middle) if slope > 0 else (middle, above)
    return table.new * _divergence(new_rate, _rate(below + math.log(odds))) + table.old * _divergence(
        old_rate, _rate(below)
    )


def times_odds(rate: float, factor: float) -> float:
    """The rate whose odds are this many times the given rate's."""
    return factor * rate / (1 - rate + factor * rate)


def _rate(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _divergence(one: float, other: float) -> float:
    """The average information of a request, in nats, for the rate `one` against `other`."""
    yes = one * math.log(one / other) if one > 0 else 0.0
    no = (1 - one) * math.log((1 - one) / (1 - other)) if one < 1 else 0.0
    return yes + no


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_add(one: float, other: float) -> float:
    top = max(one, other)
    return top + math.log(math.exp(one - top) + math.exp(other - top))
