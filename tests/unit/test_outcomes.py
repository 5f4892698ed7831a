"""What a deploy is said to have come to, from where its hosts stand."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from playbooks.core.artifact import Artifact, Release
from playbooks.environments.load import load_environment
from playbooks.rollout.rollout import HostState, Rollout, StageVerdict
from playbooks.rollout.summary import deployed
from playbooks.strategies.plan import Plan
from tests.unit.test_groups import facts

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(("seconds", "watched", "told"), [(299, 0, False), (301, 0, True), (2100, 1900, False)])
def test_a_deploy_that_takes_longer_than_it_should_says_so(seconds: float, watched: float, told: bool) -> None:
    """Five minutes is what a deploy may take (A8); what a person has asked to be watched is no delay."""
    took = seconds - watched
    assert warnings(StageVerdict("batch 1", True, "good", {}, seconds=watched), seconds) == (
        (f"it took {took:.0f} s, longer than the 300 s it should",) if told else ()
    )


def test_a_watch_without_a_verdict_is_told() -> None:
    """A person who asked for a watch would take the release for judged, though nobody had asked for anything."""
    stage_verdict = StageVerdict(
        "the watch after the switch", True, "the watch …: Too little.", {"outcome": "inconclusive"}
    )
    assert warnings(stage_verdict, 1) == ("the watch …: Too little. So the release was not judged by it",)
    assert warnings(replace(stage_verdict, record={"outcome": "good"}), 1) == ()


def warnings(stage_verdict: StageVerdict, seconds: float) -> tuple[str, ...]:
    artifact = Artifact("1.1.0", "here", None, "zstd", "0" * 64, 0)
    release = Release("20261130T100000Z-1.1.0", artifact, "2026-11-30T10:00:00Z", "ann@laptop")
    rollout = Rollout({"app1": HostState.DEPLOYED}, stage_verdicts=[stage_verdict])
    before = {"app1": facts("app1", "20261129T100000Z-1.0.0")}
    env = load_environment("staging", PROJECT)
    began = time.monotonic() - seconds
    return deployed(env, release, before, rollout, Plan("rolling", ()), None, [], began).warnings
