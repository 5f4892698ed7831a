"""What a deploy is said to have come to, from where its hosts stand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from playbooks.core.artifact import Artifact, Release
from playbooks.core.errors import SlipwayError, StepFailed, Unreachable
from playbooks.core.requests import DeployRequest
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.fleet.lock_owner import LockOwner
from playbooks.releases.members import UNKNOWN
from playbooks.rollout.recording import naming
from playbooks.rollout.rollout import HostState, Rollout, StageVerdict
from playbooks.rollout.runs import Deployment
from playbooks.rollout.summary import abandoned, deployed
from playbooks.steps.facts import Facts
from playbooks.strategies.plan import Plan
from tests.unit.test_groups import facts

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(("seconds", "watched", "told"), [(299, 0, False), (301, 0, True), (2100, 1900, False)])
def test_a_deploy_that_takes_longer_than_it_should_says_so(seconds: float, watched: float, told: bool) -> None:
    """Five minutes is what a deploy may take (A8); what a person has asked to be watched is no delay."""
    took = seconds - watched
    assert warnings(StageVerdict("batch 1", True, "good", {}, seconds=watched), seconds) == (
        (f"it took {took:.0f} s; slipway_timeouts.slow allows 300 s",) if told else ()
    )


def test_a_watch_without_a_verdict_is_told() -> None:
    """A person who asked for a watch would take the release for judged, though nobody had asked for anything."""
    stage_verdict = StageVerdict(
        "the watch after the switch", True, "the watch …: Too little.", {"outcome": "inconclusive"}
    )
    assert warnings(stage_verdict, 1) == (
        "the watch …: Too little. The release stays, and this watch did not judge it",
    )
    assert warnings(replace(stage_verdict, record={"outcome": "good"}), 1) == ()


RELEASE = Release(
    "20261130T100000Z-1.1.0",
    Artifact("1.1.0", "here", None, "zstd", "0" * 64, 0),
    "2026-11-30T10:00:00Z",
    "ann@laptop",
)
NOTHING = Plan("rolling", ())
FIRST, SECOND = "staging-web1", "staging-web2"
BEFORE = {host: facts(host, "20261129T100000Z-1.0.0") for host in (FIRST, SECOND)}
ILL = StepFailed("port 8000 does not answer", host=FIRST, step="health", code=StepCode.UNHEALTHY)
LOST = Unreachable("the connection broke", host=FIRST)


def test_a_backup_that_failed_is_not_called_staging() -> None:
    """The record of a deploy whose backup failed said that staging had, and a person looked at the wrong thing."""
    env = load_environment("staging", PROJECT)
    full = StepFailed("the repository's disk is full", host=FIRST, step="backup")
    assert abandoned(run(env, BEFORE), full).message == (
        "the deploy stopped before any host switched: the repository's disk is full"
    )


def test_a_fleet_of_which_no_host_was_switched_was_not_taken_back() -> None:
    """One sentence said that the fleet was taken back, and that no host was switched."""
    rollout = Rollout(dict.fromkeys(BEFORE, HostState.UNTOUCHED), reasons={FIRST: LOST}, verdict="rolled back")
    failed = f"shop 1.1.0 failed: {FIRST}: the connection broke"
    assert message(rollout) == f"{failed}. No host was switched: every host runs what it ran before"
    rollout.host_states[SECOND] = HostState.ROLLED_BACK
    assert message(rollout) == f"{failed}. The fleet was taken back: every host runs what it ran before"


@pytest.mark.parametrize(
    ("environment", "states", "told"),
    [
        (
            "staging",
            (HostState.GUARDED, HostState.ROLLED_BACK),
            f"{FIRST} is left to its guard, which takes it back when the controller has been silent for 60 s; "
            "every other host runs what it ran before",
        ),
        (
            "production",  # its hosts are behind a balancer, whose guard comes first
            (HostState.GUARDED, HostState.GUARDED),
            f"{FIRST}, {SECOND} are left to their guards, which take them back when the controller has been silent "
            "for 72 s",
        ),
        (
            "production",
            (HostState.UNTOUCHED, HostState.UNTOUCHED),
            "The balancers' guards move the traffic back when the controller has been silent for 60 s; "
            "every host runs what it ran before",
        ),
    ],
)
def test_what_guards_have_still_to_do_is_told(environment: str, states: tuple[HostState, HostState], told: str) -> None:
    """It said that others were back where there were none, and named a time in which a guard does not act yet."""
    rollout = Rollout(dict(zip(BEFORE, states, strict=True)), reasons={FIRST: LOST}, verdict="guarded")
    assert message(rollout, environment) == f"shop 1.1.0 failed: {FIRST}: the connection broke. {told}"


@pytest.mark.parametrize(
    ("state", "error", "but"),
    [
        (HostState.ROLLED_BACK, ILL, f"{FIRST} was taken back"),
        (HostState.GUARDED, LOST, f"{FIRST} goes back by its guard"),
        (HostState.STUCK, ILL, f"{FIRST} could not be taken back"),
        (HostState.UNHEALTHY, ILL, f"its guard on {FIRST} could not be removed"),
    ],
)
def test_a_tolerated_host_is_told_with_its_state(state: HostState, error: SlipwayError, but: str) -> None:
    """That the settings tolerate a host does not say what runs on it."""
    rollout = Rollout({FIRST: state, SECOND: HostState.DEPLOYED}, reasons={FIRST: error})
    stuck = state == HostState.STUCK
    allowed = "" if stuck else " (slipway_rollout.tolerate allows that)"
    outcome = deployed(run(load_environment("staging", PROJECT), BEFORE), NOTHING, rollout, [])
    assert outcome.message == f"shop 1.1.0 is deployed on 1 host, but {but}{allowed}: {FIRST}: {error.message}"
    # Settings tolerate a host on the old release; nobody knows what serves on one that is stuck.
    assert (outcome.status, outcome.exit_status) == (("partial", 3) if stuck else ("done", 0))


def test_the_record_of_a_task_that_changes_no_host_names_those_that_get_it() -> None:
    """Signed for no host, a rehearsal's record was misplaced on every one, and the history could not be proven."""
    outcome = deployed(run(load_environment("staging", PROJECT), BEFORE), NOTHING, Rollout({}), [])
    named = naming(replace(outcome, task="rehearse", hosts=()), BEFORE)
    assert named.record()["hosts"] == {FIRST: "untouched", SECOND: "untouched"}
    assert naming(named, {}) == named


def run(env: Environment, before: Mapping[str, Facts], began: float | None = None) -> Deployment:
    """A deploy that has read its hosts' facts."""
    owner = LockOwner(RELEASE.by, "deploy 1.1.0", RELEASE.created, RELEASE.id)
    began = time.monotonic() if began is None else began
    return Deployment(env, DeployRequest(), RELEASE, {}, lambda: UNKNOWN, NOTHING, owner, began, facts=before)


def message(rollout: Rollout, environment: str = "staging") -> str:
    return deployed(run(load_environment(environment, PROJECT), BEFORE), NOTHING, rollout, []).message


def warnings(stage_verdict: StageVerdict, seconds: float) -> tuple[str, ...]:
    rollout = Rollout({"app1": HostState.DEPLOYED}, stage_verdicts=[stage_verdict])
    before = {"app1": facts("app1", "20261129T100000Z-1.0.0")}
    env = load_environment("staging", PROJECT)
    return deployed(run(env, before, time.monotonic() - seconds), NOTHING, rollout, []).warnings
