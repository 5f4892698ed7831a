"""Judgement: what must be caught is, what is good stays, and too little is never called good."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal
from playbooks.settings.judgement import Criteria, Judgement
from playbooks.settings.rollout import RolloutSettings
from tests.unit.judging import ERRORS_ONLY, binomial, finding, judge, seeded

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


# Not enough data


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
    """Somebody who asks for nothing wants a pause; what nobody has judged is not good."""
    court = judge(ERRORS_ONLY)
    court.feed(30, Counts(), None)
    assert (court.verdict().outcome, court.verdict().findings) == ("inconclusive", ())


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

    def told(kept: Criteria) -> tuple[float | None, ...]:
        return kept.errors, kept.p95, kept.p99, kept.worse_latency

    stock = RolloutSettings.model_validate({})
    assert [(step.share, step.for_ / 60, told(step.criteria)) for step in stock.canary] == [
        (0.05, 15, (0.01, 2.0, None, 0.2)),
        (0.2, 30, (0.005, 1.5, None, 0.2)),
        (1.0, 30, (0.001, 1.0, None, 0.2)),
    ]
    shifting = (0.02, None, 2.0, 0.5)
    assert [(step.share, step.for_ / 60, told(step.criteria)) for step in stock.blue_green] == [
        (share, 5, shifting) for share in (0.1, 0.25, 0.5, 0.75, 1)
    ]
    assert told(stock.shifting) == shifting
    assert told(stock.watch.criteria) == (0.01, None, 2.0, 0.5)
