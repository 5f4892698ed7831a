"""The fault matrix in its short form: every twelfth point. `script/chaos` tries them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import up as lab_up
from tests.chaos.run_matrix import HOSTS_EACH, SUBJECTS, run
from tests.hosts.conftest import own_lab

EVERY = 12


def test_whatever_is_broken_the_fleet_is_whole_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A point at which a dead controller, a cut cable or a lost host leaves a fleet half-way is an outage in wait."""
    name = f"{own_lab()}-matrix"
    try:
        lab, _ = lab_up.up(name, hosts=HOSTS_EACH * SUBJECTS)
        score = run(lab, tmp_path, every=EVERY)
    finally:
        lab_up.down(name)
    with capfd.disabled():
        print(f"\n{score.table()}")
    assert score.tried.total() >= 20
    assert not score.violations, score.table()
