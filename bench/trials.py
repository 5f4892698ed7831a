"""Releases that are made up, tick by tick, and what judges of several kinds make of them."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from statistics import NormalDist

from playbooks.judgement.counts import Counts, total
from playbooks.judgement.judge import Judge
from playbooks.settings.judgement import Criteria, Judgement

TICK = 30.0
STAGES = 4  # three stages of the stock ladder and its watch share the false alarms
LIMIT = 0.01  # what fixed thresholds call too many errors; Slipway's limit here too
WORSE = 1.25  # and what a ratio of means does
SPREAD, MEDIAN, BINS = 0.5, 80.0, 30  # latencies: lognormal, in so many parts of equal chance

Ticks = Sequence[tuple[Counts, Counts]]


@dataclass(frozen=True)
class Burst:
    """One bad tick of a release that is good before and after it.

    Args:
        at: which tick, counted from 0.
        part: of the new version's requests that it hits: those of one host of several.
        slower: how many times as long they take.
        fails: whether they fail.
        both: whether it hits all of the old version's too.
    """

    at: int
    part: float = 1.0
    slower: float = 1.0
    fails: bool = False
    both: bool = False


@dataclass(frozen=True)
class Release:
    """A release, and the traffic it gets.

    Args:
        per_second: requests of both versions.
        share: the part of them that the new release has.
        errors, old_errors: the rates at which requests fail.
        slower: how many times as long requests take; None: nothing is timed.
        plus: milliseconds that they take longer.
        good_for: ticks in which the release is as good as the old one.
        median: of the old version's latencies, in milliseconds.
        burst: a bad tick, if there is one.
    """

    per_second: float
    errors: float
    old_errors: float = 0.001
    share: float = 0.05
    slower: float | None = None
    plus: float = 0.0
    good_for: int = 0
    median: float = MEDIAN
    burst: Burst | None = None

    @property
    def turned(self) -> int:
        """The tick in which something became bad."""
        return self.burst.at if self.burst else self.good_for


@dataclass
class Chance:
    """Poisson numbers, the same for the same seed; tables are kept, because the same few means come again."""

    seed: int
    tables: dict[float, tuple[int, list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = random.Random(self.seed)  # noqa: S311 - the same each time is what is wanted

    def poisson(self, mean: float) -> int:
        """How many come when so many are expected."""
        if mean <= 0:
            return 0
        if mean not in self.tables:
            reach = 9 * math.sqrt(mean) + 30
            first, last = max(0, int(mean - reach)), int(mean + reach)
            terms = (math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(first, last))
            self.tables[mean] = first, list(accumulate(terms))
        first, sums = self.tables[mean]
        return first + bisect(sums, self.source.random())


def ticks(release: Release, count: int, chance: Chance) -> Ticks:
    """What is counted of both versions."""
    new, old = release.per_second * TICK * release.share, release.per_second * TICK * (1 - release.share)
    found = []
    for number in range(count):
        bad = number >= release.good_for
        rate = release.errors if bad else release.old_errors
        slower = (release.slower if bad else 1.0) if release.slower else None
        plus = release.plus if bad else 0.0
        burst = release.burst if release.burst and release.burst.at == number else None
        hit = new * burst.part if burst else 0.0
        found.append(
            (
                counts(new - hit, rate, chance, latencies(release.median, slower, plus)) + _hit(release, hit, chance),
                _hit(release, old, chance)
                if burst and burst.both
                else counts(old, release.old_errors, chance, latencies(release.median, release.slower and 1.0, 0.0)),
            )
        )
    return found


def _hit(release: Release, mean: float, chance: Chance) -> Counts:
    """Requests of a burst."""
    burst = release.burst
    if burst is None or not mean:
        return Counts()
    rate = 1.0 if burst.fails else release.old_errors
    return counts(mean, rate, chance, latencies(release.median, release.slower and burst.slower, 0.0))


def counts(mean: float, rate: float, chance: Chance, values: Sequence[float]) -> Counts:
    """Requests of a tick: failed and served ones come independently of each other."""
    errors = chance.poisson(mean * rate)
    if not values:
        return Counts(errors + chance.poisson(mean * (1 - rate)), errors)
    timed = {value: chance.poisson(mean * (1 - rate) / len(values)) for value in values}
    return Counts(errors + sum(timed.values()), errors, timed)


def latencies(median: float, slower: float | None, plus: float) -> list[float]:
    """Milliseconds that are equally frequent."""
    if slower is None:
        return []
    parts = ((2 * part + 1) / (2 * BINS) for part in range(BINS))
    return [median * math.exp(SPREAD * NormalDist().inv_cdf(part)) * slower + plus for part in parts]


def slipway(criteria: Criteria, seen: Ticks, *, every_tick: bool = True) -> tuple[str, float | None, str]:
    """Outcome, seconds until it was bad, and the rule."""
    judge = Judge(criteria, Judgement.model_validate({}), stages=STAGES)
    for number, (new, old) in enumerate(seen, start=1):
        judge.feed(TICK, new, old)
        if every_tick or number == len(seen):
            verdict = judge.verdict()
            if verdict.outcome == "bad":
                return "bad", TICK * number, verdict.rule
    return verdict.outcome, None, verdict.rule


def minutes(seen: Ticks) -> Iterator[tuple[Counts, Counts]]:
    """Two ticks as one: the others look once a minute, as is their default or their documents' example."""
    for first, second in list(pairwise(seen))[::2]:
        yield total((first[0], second[0])), total((first[1], second[1]))


def failed_checks(seen: Ticks, *, most: int, no_data_fails: bool) -> float | None:
    """A counter of minutes with too many errors, which is never set back; seconds until it passes what is allowed."""
    failed = 0
    for number, (new, _) in enumerate(minutes(seen), start=1):
        rate = new.error_rate
        failed += no_data_fails if rate is None else rate > LIMIT
        if failed > most:
            return 2 * TICK * number
    return None


def ratio_of_means(seen: Ticks) -> float | None:
    """All errors so far over all requests so far, of one over the other."""
    ours = theirs = Counts()
    for number, (new, old) in enumerate(minutes(seen), start=1):
        ours, theirs = ours + new, theirs + old
        if (ours.error_rate or 0.0) > WORSE * (theirs.error_rate or 0.0):
            return 2 * TICK * number
    return None


def others() -> Mapping[str, Callable[[Ticks], float | None]]:
    """The judges that Slipway is compared with, by their names."""
    return {
        "Flagger-like, threshold 1": lambda seen: failed_checks(seen, most=0, no_data_fails=True),
        "Flagger-like, threshold 5": lambda seen: failed_checks(seen, most=4, no_data_fails=True),
        "Argo-like, failureLimit 3": lambda seen: failed_checks(seen, most=3, no_data_fails=False),
        "ratio of means": ratio_of_means,
    }
