"""The page of a rollout: it shows what was measured and what was not, and believes nothing from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from playbooks.judgement.counts import Counts
from playbooks.judgement.judge import Judge
from playbooks.judgement.verdict import Signal
from playbooks.report.rollout_page import Point, StageOnPage, Story, charts, rollout_page
from playbooks.settings.judgement import Criteria, Judgement


def story(acts: tuple[StageOnPage, ...] = (), points: tuple[Point, ...] = (), version: str = "1.1.0") -> Story:
    ended = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    return Story("deploy", "staging", version, "1.0.0", "canary", 1, "taken back", ended, 100.0, acts, points)


def test_what_was_not_measured_is_a_gap_and_no_zero() -> None:
    """A minute without requests is not a minute without errors."""
    rates = (0.01, 0.02, None, 0.03, 0.01, None, 0.02)
    points = tuple(Point(10.0 * at, 0.05, new_errors=rate, old_errors=0.001) for at, rate in enumerate(rates))
    traffic, errors = charts(story(points=points))
    old, new = errors.lines
    assert (len(old.parts), len(new.parts), len(new.dots)) == (1, 2, 1)
    assert new.parts[0] == "0.00,66.67 100.00,33.33"  # of a scale that ends at 3 %
    assert [told for _, told in errors.scale] == ["0 %", "1 %", "2 %", "3 %"]
    assert traffic.lines[0].parts[0].startswith("0.00,95.00")


def test_a_limit_far_away_does_not_press_the_curve_flat() -> None:
    """p95 of 20 ms under a limit of 2 s: the scale is that of what happened."""
    points = tuple(Point(10.0 * at, 0.05, new_latency=20.0 + at) for at in range(5))
    for limit, shown in ((2000.0, 0), (30.0, 1)):
        latency = charts(story((StageOnPage("5 %", 0, 50, latency=limit),), points))[1]
        assert len(latency.limits) == shown
        assert len(latency.scale) < 10


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\"><img src=x onerror='x'>", "{{ 7 * 7 }}"])
def test_nothing_from_outside_becomes_part_of_the_page(evil: str) -> None:
    """A version, a stage or a log line of a host may be anything."""
    court = Judge(Criteria.model_validate({"errors": "1%"}), Judgement.model_validate({}))
    court.feed(30, Counts(100, 40), Counts(900, 1), [Signal(evil, "log errors", bad=True, sentence=evil)])
    page = rollout_page(
        story((StageOnPage(evil, 0, 100, court.verdict()),), (Point(30, 0.1, 0.4, 0.001),), version=evil)
    )
    assert "<script" not in page
    assert "<img" not in page
    assert ">49<" not in page
    ElementTree.fromstring(page.partition("<!DOCTYPE html>")[2])  # noqa: S314 - ours, and well-formed
    assert "40 of 100 requests (40 %) failed" in page


def test_a_rollout_that_never_began_has_a_page_too() -> None:
    """A task may end before its first stage."""
    assert "no stage was begun" in rollout_page(story())
