"""The fault matrix in its short form. `script/chaos` tries all of its points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.run_matrix import SCENARIOS, Chosen, run
from tests.hosts.conftest import own_lab

pytestmark = pytest.mark.load_sensitive("breaks things at a given operation while guards' clocks run")

# Which points, and how many there are at the least.
HOSTS = Chosen((), (), every=20), 12
TRAFFIC = Chosen((), (), operations=("traffic",), every=60), 2
HOSTILE = Chosen((), (), every=48, first=5), 5
DATABASES = Chosen((), (), every=64, first=7), 5


SHORT = {"hosts": HOSTS, "traffic": TRAFFIC, "hostile": HOSTILE, "databases": DATABASES}


@pytest.mark.parametrize(("scenario", "short"), SHORT.items(), ids=SHORT)
def test_whatever_is_broken_the_fleet_is_whole_again(
    scenario: str, short: tuple[Chosen, int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A point at which a dead controller, a cut cable or a lost host leaves a fleet half-way is an outage in wait."""
    chosen, least = short
    every = SCENARIOS[scenario]
    score = run(scenario, f"{own_lab()}-matrix", tmp_path, replace(chosen, tasks=every.tasks, faults=every.faults))
    with capfd.disabled():
        print(f"\n{score.table()}")
    assert score.tried.total() >= least
    assert not score.violations, score.table()
