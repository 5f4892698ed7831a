"""The sequential tests: what their false-alarm rate follows from is asked of every small case."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.judgement.sequential import BETTER, WORSE, Evidence, Table, gains_of_rate, gains_of_table, log_normaliser
from tests.unit.judging import binomial, seeded

ODDS = st.floats(0.01, 100)
SMALL = st.integers(0, 25)


def weights(new: int, old: int, events: int, odds: Fraction) -> dict[int, Fraction]:
    """The distribution of the new version's events, by counting, exactly."""
    possible = range(max(0, events - old), min(events, new) + 1)
    return {k: math.comb(new, k) * math.comb(old, events - k) * odds**k for k in possible}


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
