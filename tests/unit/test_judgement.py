"""Judgement: what must be caught is, what is good stays, and too little is never called good."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.judgement.counts import Counts
from playbooks.judgement.judge import Judge
from playbooks.judgement.sequential import BETTER, WORSE, Evidence, Table, gains_of_rate, gains_of_table, log_normaliser
from playbooks.judgement.verdict import Finding, Signal, Verdict
from playbooks.settings.judgement import Criteria, Judgement, Step, blue_green, canary, short_canary, watch

ERRORS_ONLY = {"worse_errors": None, "worse_latency": None}
LATENCY_ONLY = {"worse_errors": None}
ODDS = st.floats(0.01, 100)
SMALL = st.integers(0, 25)


def judge(criteria: dict[str, Any], **options: Any) -> Judge:
    return Judge(Criteria.model_validate(criteria), Judgement.model_validate({}), **options)


def finding(verdict: Verdict, rule: str) -> Finding:
    return next(found for found in verdict.findings if found.rule == rule)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance that is the same each time is what a test wants


def binomial(chance: random.Random, requests: int, rate: float) -> int:
    return sum(chance.random() < rate for _ in range(requests))


def timed(
    chance: random.Random, requests: int, *, factor: float = 1.0, plus: float = 0.0, median: float = 50.0
) -> Counts:
    """Requests whose latencies scatter as they do: many near the median, some four times as long."""
    found = Counter(float(round(chance.lognormvariate(math.log(median), 0.5) * factor + plus)) for _ in range(requests))
    return Counts(requests, 0, dict(found))


def weights(new: int, old: int, events: int, odds: Fraction) -> dict[int, Fraction]:
    """The distribution of the new version's events, by counting, exactly."""
    possible = range(max(0, events - old), min(events, new) + 1)
    return {k: math.comb(new, k) * math.comb(old, events - k) * odds**k for k in possible}


# The tests themselves


@settings(deadline=None)
@given(SMALL, SMALL, st.data(), ODDS)
def test_the_distribution_is_the_one_that_counting_gives(new: int, old: int, data: st.DataObject, odds: float) -> None:
    """Every figure of a comparison hangs on this sum."""
    events = data.draw(st.integers(0, new + old))
    exact = sum(weights(new, old, events, Fraction(odds)).values())
    assert log_normaliser(new, old, events, odds) == pytest.approx(math.log(exact), abs=1e-9)


def test_the_sum_is_right_where_it_is_cut_short() -> None:
    """Tens of thousands of requests a tick are summed near the largest term only."""
    exact = sum(weights(3000, 20000, 2500, Fraction(5, 4)).values())
    logarithm = math.log(exact.numerator) - math.log(exact.denominator)  # more than a float holds
    assert log_normaliser(3000, 20000, 2500, 1.25) == pytest.approx(logarithm, rel=1e-12)


@settings(deadline=None)
@given(SMALL, SMALL, st.data(), st.floats(0.2, 5), st.floats(0.1, 1))
def test_a_comparison_is_a_fair_game_at_the_limit_and_a_losing_one_below(
    new: int, old: int, data: st.DataObject, odds: float, share: float
) -> None:
    """That nobody can hope to win is what the stated false-alarm rate follows from."""
    events = data.draw(st.integers(0, new + old))
    for true, fair in ((odds, True), (odds * share, share == 1)):
        chances = weights(new, old, events, Fraction(true))
        whole = sum(chances.values())
        for index in range(len(WORSE)):
            won = sum(
                float(weight / whole) * math.exp(gains_of_table(Table(k, new, events - k, old), odds, WORSE)[index])
                for k, weight in chances.items()
            )
            assert won <= 1 + 1e-9
            assert not fair or won == pytest.approx(1)


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.001, 0.45), st.floats(0.1, 1))
def test_a_limit_is_a_fair_game_too_from_either_side(requests: int, rate: float, share: float) -> None:
    """Above it for what is bad, below it for what is good."""
    for grid, others in ((WORSE, (rate, rate * share)), (BETTER, (rate, 1 - (1 - rate) * share))):
        for true in others:
            for index in range(len(grid)):
                won = sum(
                    math.comb(requests, k)
                    * true**k
                    * (1 - true) ** (requests - k)
                    * math.exp(gains_of_rate(k, requests, rate, grid)[index])
                    for k in range(requests + 1)
                )
                assert won <= 1 + 1e-9


def test_what_is_kept_for_later_bets_is_not_more_than_there_is() -> None:
    """Ticks that tell nothing must leave the stake below 1 for ever, or there would be more false alarms."""
    evidence = Evidence(2, late=True)
    for _ in range(2000):
        evidence = evidence.after([0.0, 0.0])
    assert -0.001 < evidence.log < 0


def test_false_alarms_stay_below_what_is_stated_however_often_one_looks() -> None:
    """600 stages of a release exactly as bad as is still allowed, looked at 30 times each: the worst case there is."""
    chance, alarm, alarms = seeded(5), 0.1, 0
    for _ in range(600):
        evidence = Evidence(len(WORSE), late=True)
        for _ in range(30):
            table = Table(binomial(chance, 10, 0.02), 10, binomial(chance, 40, 0.02), 40)
            evidence = evidence.after(gains_of_table(table, 1.0, WORSE))
        alarms += evidence.peak >= -math.log(alarm)
    assert 0 < alarms < alarm * 600


# Errors


def test_a_bad_release_is_caught_at_once_and_stays_caught() -> None:
    """One request of five fails: thirty seconds must do."""
    court = judge({"errors": "1%"}, stages=3)
    court.feed(30, Counts(60, 12), Counts(940, 1))
    assert court.verdict().outcome == "bad"
    for _ in range(50):
        court.feed(30, Counts(60, 0), Counts(940, 1))
    verdict = court.verdict()
    assert (verdict.outcome, verdict.rule) == ("bad", "errors")
    assert "12 of 3,060 requests" in verdict.sentence


def test_three_unlucky_requests_do_not_stop_a_good_release() -> None:
    """Three failures of forty requests are three times in a row bad luck; a fixed threshold stops at the first."""
    court = judge({"errors": "1%"}, stages=3)
    court.feed(30, Counts(40, 3), Counts(760, 1))
    assert court.verdict().outcome == "inconclusive"
    for _ in range(50):
        court.feed(30, Counts(40, 0), Counts(760, 1), [Signal("app1", "restarts", bad=False, sentence="none")])
    verdict = court.verdict()
    assert verdict.outcome != "bad"
    assert finding(verdict, "errors").outcome == "good"
    assert finding(verdict, "worse errors").outcome == "good"


def test_a_baseline_without_an_error_is_no_division_by_zero_and_no_excuse() -> None:
    """The ratio to zero is infinite: three errors among many requests are none the less too few to be sure of."""
    few, many = (judge({"errors": "5%", "worse_latency": None}) for _ in range(2))
    for errors in (0, 2, 0):
        few.feed(30, Counts(700, errors), Counts(13000, 0))
    assert few.verdict().outcome == "good"
    for _ in range(3):
        many.feed(30, Counts(700, 14), Counts(13000, 0))
    assert (many.verdict().outcome, many.verdict().rule) == ("bad", "worse errors")
    assert "0 of 39,000" in many.verdict().sentence


def test_a_share_of_one_percent_is_enough_to_see_by() -> None:
    """100 requests of the new release against 9,900 of the old one, each half minute."""
    chance = seeded(11)
    court = judge({"worse_latency": None}, stages=5)
    for _ in range(30):
        court.feed(30, Counts(100, binomial(chance, 100, 0.03)), Counts(9900, binomial(chance, 9900, 0.002)))
    assert (court.verdict().outcome, court.verdict().rule) == ("bad", "worse errors")
    good = judge({"worse_latency": None}, stages=5)
    for _ in range(30):
        good.feed(30, Counts(100, binomial(chance, 100, 0.002)), Counts(9900, binomial(chance, 9900, 0.002)))
    assert good.verdict().outcome == "good"


def test_what_hits_both_versions_is_not_the_releases_fault() -> None:
    """The database is away for a minute: one request of five fails, everywhere."""
    court = judge({"worse_latency": None})
    for minute in range(40):
        rate = 0.2 if minute in (10, 11) else 0.001
        court.feed(30, Counts(100, round(100 * rate)), Counts(1900, round(1900 * rate)))
    assert court.verdict().outcome == "good"


def test_a_rare_difference_wakes_nobody() -> None:
    """0.04 % is surely more than 0.01 % with enough requests, and below the floor of 0.1 %."""
    court = judge({"worse_latency": None})
    for _ in range(20):
        court.feed(30, Counts(50_000, 20), Counts(50_000, 5))
    assert finding(court.verdict(), "worse errors").outcome == "good"


def test_a_release_that_turns_bad_late_is_caught_about_as_soon() -> None:
    """A leak shows after an hour: its good hour must not speak for it."""
    chance = seeded(2)
    court = judge({"errors": "1%", **ERRORS_ONLY})
    for _ in range(120):
        court.feed(30, Counts(500, binomial(chance, 500, 0.002)), None)
    assert court.verdict().outcome == "good"
    for _ in range(4):
        court.feed(30, Counts(500, binomial(chance, 500, 0.05)), None)
    assert court.verdict().outcome == "bad"


# Too little to judge by


def test_no_data_is_inconclusive_and_so_is_little_and_it_says_how_much_is_lacking() -> None:
    """Flagger calls no data a failure, Argo a success; it is neither."""
    court = judge({"errors": "1%", "p95": "2s"}, stages=3)
    assert court.verdict().outcome == "inconclusive"
    for _ in range(30):
        court.feed(30, Counts(), Counts())
    assert court.verdict().outcome == "inconclusive"
    court.feed(30, Counts(37), Counts(703))
    verdict = court.verdict()
    assert verdict.outcome == "inconclusive"
    assert finding(verdict, "errors").lacking.startswith("37 of about 2")
    assert "errors: 37 of about 2" in verdict.sentence


def test_enough_is_what_was_announced() -> None:
    """A person who is told to wait for 300 requests must not be told the same again then."""
    court = judge({"errors": "1%", **ERRORS_ONLY})
    court.feed(30, Counts(37), None)
    words = finding(court.verdict(), "errors").lacking.split()
    court.feed(30, Counts(int(words[3]) - 37 + 10), None)
    assert court.verdict().outcome == "good"


def test_without_an_old_version_comparisons_are_left_out_and_it_says_so() -> None:
    """At 100 % there is none left; but an old version without requests is no missing one."""
    court = judge({"errors": "1%"})
    court.feed(30, Counts(5000, 2), None)
    verdict = court.verdict()
    assert verdict.outcome == "good"
    assert "no old version" in verdict.sentence
    nothing = judge({})
    nothing.feed(30, Counts(5000, 2), None)
    assert nothing.verdict().outcome == "inconclusive"
    idle = judge({"worse_latency": None})
    idle.feed(30, Counts(5000, 2), Counts())
    assert finding(idle.verdict(), "worse errors").outcome == "inconclusive"


def test_near_a_limit_on_either_side() -> None:
    """Between the limit and its margin a little data says nothing; below it, much data says good."""
    court = judge({"errors": "1%", **ERRORS_ONLY})
    court.feed(30, Counts(200, 3), None)
    assert court.verdict().outcome == "inconclusive"
    below = judge({"errors": "1%", **ERRORS_ONLY})
    below.feed(30, Counts(20_000, 180), None)
    assert below.verdict().outcome == "good"
    above = judge({"errors": "1%", **ERRORS_ONLY})
    above.feed(30, Counts(20_000, 300), None)
    assert above.verdict().outcome == "bad"


def test_counters_read_one_after_the_other_may_not_agree() -> None:
    """An error that was counted a moment before its request must not break the judge."""
    court = judge({"errors": "1%"})
    court.feed(30, Counts(3, 5), Counts(-2, 1))
    assert finding(court.verdict(), "errors").numerator == 3


# Latency


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


# What comes of it


def test_a_signal_of_a_host_ends_the_stage() -> None:
    """A unit that restarts needs no statistics, and what it said is kept."""
    court = judge({"errors": "1%"})
    court.feed(
        30, Counts(5000), Counts(5000), [Signal("app2", "restarts", bad=True, sentence="shop-web restarted twice")]
    )
    court.feed(30, Counts(5000), Counts(5000))
    verdict = court.verdict()
    assert (verdict.outcome, verdict.rule) == ("bad", "restarts")
    assert verdict.sentence == "app2: shop-web restarted twice"


def test_a_verdict_is_kept_with_all_its_numbers() -> None:
    """Whoever asks in a month why a release was stopped finds what it was stopped by."""
    court = judge({"errors": "1%"}, stages=4)
    for _ in range(3):
        court.feed(30, Counts(400, 20), Counts(7600, 8))
    document = json.loads(json.dumps(court.verdict().to_json(), allow_nan=False))
    errors = next(one for one in document["findings"] if one["rule"] == "worse errors")
    assert (errors["numerator"], errors["denominator"], errors["seconds"]) == (60, 1200, 90)
    assert (errors["baseline_numerator"], errors["baseline_denominator"]) == (24, 22800)
    # 1 % of false alarms over four stages of four tests each.
    assert errors["needed"] == pytest.approx(1600)
    assert errors["evidence"] > 1600
    assert errors["limit"] == 1.25


def test_with_no_rule_only_the_time_is_waited() -> None:
    """Somebody who asks for nothing wants a pause."""
    court = judge(ERRORS_ONLY)
    court.feed(30, Counts(), None)
    assert court.verdict().outcome == "good"


# Settings


def test_percentages_have_their_sign() -> None:
    """1 is 100 % to one and 1 % to another."""
    assert Criteria.model_validate({"errors": "0.5 %"}).errors == pytest.approx(0.005)
    for wrong in (1, 0.01, "1", "-1%", "one"):
        with pytest.raises(ValidationError, match="a percentage such as"):
            Criteria.model_validate({"errors": wrong})


def test_what_is_to_be_noticed_is_above_what_is_let_through() -> None:
    """Else a comparison would call itself satisfied by a release that it could never stop."""
    with pytest.raises(ValidationError, match="noticed must be higher than floor"):
        Judgement.model_validate({"floor": "1%", "noticed": "0.5%"})


def test_stock_ladders_are_those_of_the_requirements() -> None:
    """B2, B3, A5 and B5: these figures are the users' own."""

    def told(steps: list[Step]) -> list[tuple[float, float, float | None, float | None, float | None, float | None]]:
        kept = [(step, step.criteria) for step in steps]
        return [(s.share, s.for_ / 60, c.errors, c.p95, c.p99, c.worse_latency) for s, c in kept]

    assert told(canary()) == [
        (0.05, 15, 0.01, 2.0, None, 0.2),
        (0.2, 30, 0.005, 1.5, None, 0.2),
        (1.0, 30, 0.001, 1.0, None, 0.2),
    ]
    assert [step.share for step in short_canary()] == [0.05, 0.25, 1]
    assert told(blue_green()) == [(share, 5, 0.02, None, 2.0, 0.5) for share in (0.1, 0.25, 0.5, 0.75, 1)]
    assert told([watch()]) == [(1, 30, 0.01, None, 2.0, 0.5)]
