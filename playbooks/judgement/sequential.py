"""Sequential tests that may be evaluated after every tick and stopped at any: e-processes.

An e-process is a bet against a hypothesis in which nobody can hope to win while the hypothesis is true. That it ever
multiplies its stake by 1/α has then a probability of α at the most (Ville's inequality), however often one looks. So a
false-alarm rate can be stated for a whole stage, and not just for one look at it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

# How many times the odds may be those of the hypothesis: what is bet on, an equal part of the stake on each.
WORSE = (1.25, 1.5, 2.0, 3.0, 6.0, 15.0, 60.0)
BETTER = (1 / 1.5, 1 / 2, 1 / 4, 1 / 16, 1 / 1000)
NEGLIGIBLE = 1e-17  # of a sum of floats


@dataclass(frozen=True)
class Table:
    """Events among the requests of both versions within one tick.

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
    """What the bets against a hypothesis have come to.

    Args:
        bets: how many alternatives share the stake.
        late: whether a part of the stake is kept for later, so that a release which turns bad after an hour is found
            about as soon as one that is bad from the start, and its good hour does not speak for it.
        logs: logarithm of what each alternative's bet is worth, without its share.
        ticks: how many had anything in them.
        peak: the logarithm of the most that all were worth together.
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
        if self.late:  # half at the first tick; then 1/2·1/(j(j-1)), which comes to the other half over all j
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
    """One sample: log likelihood ratios of rates beyond one to that rate itself.

    Against every rate on the other side it is a worse bet still (the likelihood ratio is monotone), so what holds for
    the rate itself holds for "at most" with WORSE, and for "at least" with BETTER.

    Args:
        events, requests: what was counted.
        rate: the hypothesis, above 0 and below 1.
        grid: the alternatives, as multiples of its odds.
    """
    found = []
    for factor in grid:
        other = times_odds(rate, factor)
        found.append(events * math.log(other / rate) + (requests - events) * math.log((1 - other) / (1 - rate)))
    return found


def gains_of_table(table: Table, odds: float, grid: Sequence[float]) -> list[float]:
    """Two samples: log likelihood ratios of odds ratios above one to that odds ratio itself.

    Given how many events there were in both together, how many of them fall to the new release follows Fisher's
    noncentral hypergeometric distribution, whatever the rate of the moment is. No rate is estimated: it is exact with
    no events at all, with few, and with a share of 1 %; what hits both versions at once cancels out.

    Args:
        table: the tick.
        odds: the hypothesis: the new release's odds of an event are at most so many times the old one's.
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

    Summed from the largest term outwards until what is left is no part of a float: some hundreds of terms where there
    are hundreds of thousands of requests.
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
    """The log evidence that so many requests hold against a limit, when the rate is another one."""
    return requests * _divergence(rate, limit)


def expected_of_table(table: Table, new_rate: float, old_rate: float, odds: float) -> float:
    """The log evidence that so many requests of both hold against an odds ratio, when the rates are such.

    Args:
        table: how many requests; its events do not count.
        new_rate, old_rate: both above 0 and below 1.
        odds: the hypothesis.
    """
    # The hypothesis at its best: the pair of rates on its edge that lies nearest to these. One crossing, by halves.
    below, above = -50.0, 50.0
    for _ in range(60):
        middle = (below + above) / 2
        slope = table.new * (_rate(middle + math.log(odds)) - new_rate) + table.old * (_rate(middle) - old_rate)
        below, above = (below, middle) if slope > 0 else (middle, above)
    return table.new * _divergence(new_rate, _rate(below + math.log(odds))) + table.old * _divergence(
        old_rate, _rate(below)
    )


def times_odds(rate: float, factor: float) -> float:
    """The rate whose odds are so many times this one's."""
    return factor * rate / (1 - rate + factor * rate)


def _rate(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _divergence(one: float, other: float) -> float:
    """What a request tells on average, in nats, of a rate that is `one` and not `other`."""
    yes = one * math.log(one / other) if one > 0 else 0.0
    no = (1 - one) * math.log((1 - one) / (1 - other)) if one < 1 else 0.0
    return yes + no


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_add(one: float, other: float) -> float:
    top = max(one, other)
    return top + math.log(math.exp(one - top) + math.exp(other - top))
