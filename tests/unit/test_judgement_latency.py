"""Judgement of latency: a slow release is caught, and one that only looks slow is not."""

from __future__ import annotations

import math
import random
from collections import Counter

from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Verdict
from tests.unit.judging import ERRORS_ONLY, LATENCY_ONLY, finding, judge, seeded


def timed(
    chance: random.Random, requests: int, *, factor: float = 1.0, plus: float = 0.0, median: float = 50.0
) -> Counts:
    """Requests whose latencies scatter as they do: many near the median, some four times as long."""
    found = Counter(float(round(chance.lognormvariate(math.log(median), 0.5) * factor + plus)) for _ in range(requests))
    return Counts(requests, 0, dict(found))


def run(factor: float, plus: float, *, median: float, ticks: int = 40, buckets: tuple[float, ...] = ()) -> Verdict:
    chance = seeded(8)
    court = judge(LATENCY_ONLY, stages=3, before=timed(chance, 500, median=median), buckets=buckets)
    for _ in range(ticks):
        court.feed(30, timed(chance, 100, factor=factor, plus=plus, median=median), timed(chance, 400, median=median))
    return court.verdict()


def test_slow_by_a_third_is_caught_and_slow_by_a_tenth_is_not() -> None:
    """20 % are allowed."""
    assert run(1.3, 0, median=300).outcome == "bad"
    assert run(3.0, 0, median=300, ticks=6).outcome == "bad"
    assert run(1.15, 0, median=300).outcome == "good"


def test_a_hiccup_of_one_host_is_no_slow_release() -> None:
    """A noisy neighbour, or a cache that is cold for a moment, makes many requests slow at once; it is not the code."""
    chance = seeded(3)
    court = judge(LATENCY_ONLY, stages=3, before=timed(chance, 500, median=300))
    for tick in range(40):
        slow = 20.0 if tick in (5, 20) else 1.0
        court.feed(30, timed(chance, 100, factor=slow, median=300), timed(chance, 400, median=300))
    assert court.verdict().outcome == "good"


def test_three_milliseconds_of_ten_are_no_reason() -> None:
    """30 % of next to nothing is next to nothing."""
    assert run(1, 3, median=10).outcome == "good"
    assert run(1, 25, median=10).outcome == "bad"


def test_a_histograms_buckets_do_not_make_a_release_slower() -> None:
    """12 ms lie in the bucket up to 25: whoever takes them for 25 finds them 2.5 times as slow as 9."""
    old, new = Counts(400, 0, {10.0: 400}), Counts(400, 0, {10.0: 40, 25.0: 360})
    verdicts = []
    for buckets in ((), (5.0, 10.0, 25.0, 50.0)):
        court = judge(LATENCY_ONLY, before=old, buckets=buckets)
        for _ in range(20):
            court.feed(30, new, old)
        verdicts.append(court.verdict().outcome)
    assert verdicts == ["bad", "good"]


def test_a_tick_is_measured_by_what_was_known_before_it() -> None:
    """Measured by its own median, half of the old version's requests would be slow whatever happens."""
    quick, slow = Counts(100, 0, {20.0: 100}), Counts(100, 0, {200.0: 100})
    court = judge(LATENCY_ONLY, before=quick)
    court.feed(30, quick, quick)
    found = finding(court.verdict(), "worse latency p50")
    assert (found.denominator, found.baseline_numerator, found.threshold) == (100, 0, 30)
    court.feed(30, slow, slow)
    found = finding(court.verdict(), "worse latency p50")
    assert (found.numerator, found.baseline_numerator) == (100, 100)
    assert court.verdict().outcome != "bad"
    unprepared = judge(LATENCY_ONLY)
    unprepared.feed(30, quick, quick)
    assert finding(unprepared.verdict(), "worse latency p50").denominator == 0


def test_limits_on_quantiles() -> None:
    """p95 below 2 s: one request of twenty may take longer."""
    slow, quick = {100.0: 90, 2500.0: 10}, {100.0: 97, 2500.0: 3}
    for latencies, outcome in ((slow, "bad"), (quick, "good")):
        court = judge({"p95": "2s", **ERRORS_ONLY})
        for _ in range(20):
            court.feed(30, Counts(100, 0, latencies), None)
        assert court.verdict().outcome == outcome
        assert finding(court.verdict(), "p95").threshold == 2000
    many = judge({"p50": "50ms", "p99": "5s", **ERRORS_ONLY})
    many.feed(30, Counts(2000, 0, {100.0: 2000}), None)
    assert (many.verdict().outcome, many.verdict().rule) == ("bad", "p50")
