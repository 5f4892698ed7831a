"""What the benchmarks say must be so: an artifact of which 1 % changed, and verdicts that can go either way."""

from __future__ import annotations

from typing import Any

import pytest

from bench import artifacts
from bench.goals import goals

OLD = artifacts.fresh("1.0.0", megabytes=1, files=100)


def changed_bytes(new: artifacts.Content) -> int:
    return sum(one != other for a, b in zip(OLD.files, new.files, strict=True) for one, other in zip(a, b, strict=True))


def test_one_per_cent_of_the_files_are_new() -> None:
    new = artifacts.rewrite_files(OLD, "2.0.0", share=0.01)
    assert sum(a != b for a, b in zip(OLD.files, new.files, strict=True)) == 1
    assert new.version == "2.0.0"


def test_one_per_cent_of_every_file_is_new() -> None:
    new = artifacts.rewrite_ranges(OLD, "2.0.0", share=0.01)
    assert all(a != b for a, b in zip(OLD.files, new.files, strict=True))
    assert 0.009 < changed_bytes(new) / sum(map(len, OLD.files)) <= 0.01


def table(slipway: float, hands: float, *, hosts: int = 8) -> dict[str, Any]:
    rows = {"by hand": {"wall": [hands]}, "slipway": {"wall": [slipway]}}
    return {"full": [{"megabytes": 1, "round_trip": 50, "hosts": hosts, "rows": rows}]}


@pytest.mark.parametrize(("slipway", "hosts", "verdict"), [(1.2, 8, True), (1.3, 8, False), (1.1, 3, None)])
def test_a_goal_is_judged_for_its_own_size_only(slipway: float, hosts: int, verdict: bool | None) -> None:
    (goal,) = goals(table(slipway, 1.0, hosts=hosts))
    assert goal.met is verdict


def test_a_goal_whose_scenario_was_not_run_is_left_out() -> None:
    assert goals({}) == []


@pytest.mark.parametrize(("last", "met"), [(50.0, True), (90.0, False)])
def test_growth_that_bends_upward_is_no_straight_line(last: float, met: bool) -> None:
    values = {10: 1.0, 50: 5.0, 100: 10.0, 200: 20.0, 500: last}
    rows = [{"hosts": count, "cpu": [value], "memory": [value]} for count, value in values.items()]
    assert [goal.met for goal in goals({"crowd": rows})] == [met, met]
