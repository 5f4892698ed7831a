"""The machinery that runs a plan: switch, wait until healthy, and take back what isn't (A5, B1). It exists once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from playbooks.errors import Interrupted, SlipwayError, StepFailed, Unreachable
from playbooks.fleet.fleet import Fleet
from playbooks.mover import Mover
from playbooks.strategies.plan import Plan, Stage


class Stand(StrEnum):
    """Where a host stands at the end."""

    UNTOUCHED = "untouched"
    UNCHANGED = "unchanged"  # it ran the wanted release already
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    UNHEALTHY = "unhealthy"  # on the new release, and left there
    GUARDED = "left to its guard"  # it cannot be reached, and goes back by itself
    STUCK = "stuck"  # it could not be brought to a known good state
    UNREACHABLE = "unreachable"


@dataclass
class Rollout:
    """How far a plan got.

    Args:
        stands: where each host of the plan stands.
        reasons: why hosts failed, by host.
        verdict: what became of the whole.
    """

    stands: dict[str, Stand]
    reasons: dict[str, SlipwayError] = field(default_factory=dict)
    verdict: Literal["deployed", "rolled back", "halted", "guarded", "stuck"] = "deployed"
    interrupted: bool = False


def roll_out(fleet: Fleet, plan: Plan, mover: Mover, *, on_failure: Literal["rollback", "halt"]) -> Rollout:
    """Run a plan to its end, or to the failure that ends it.

    Args:
        fleet: open sessions.
        plan: stages of hosts.
        mover: moves them.
        on_failure: what happens when more hosts fail than the plan tolerates.

    Returns:
        Where every host stands. A host that fails is taken back, whatever happens to the others.
    """
    rollout = Rollout({host: Stand.UNTOUCHED for stage in plan.stages for host in stage.hosts})
    try:
        for stage in plan.stages:
            fleet.progress.phase(f"switching, {stage.name}")
            failed = _change(fleet, mover, stage, rollout)
            if len(rollout.reasons) > plan.tolerate:
                _give_up(fleet, mover, rollout, on_failure)
                return rollout
            _take_back(fleet, mover, failed, rollout)
            time.sleep(stage.pause)
        _confirm(fleet, plan, mover, rollout, on_failure)
    except Interrupted:
        rollout.interrupted = True
        _give_up(fleet, mover, rollout, "rollback")
    return rollout


def _confirm(fleet: Fleet, plan: Plan, mover: Mover, rollout: Rollout, on_failure: Literal["rollback", "halt"]) -> None:
    """Every host is healthy: let them stay so. If one is lost just now it goes back by itself, and so do the others."""
    touched = [host for host, stand in rollout.stands.items() if stand in (Stand.DEPLOYED, Stand.ROLLED_BACK)]
    lost = mover.confirm(touched)
    for host, error in lost.items():
        rollout.reasons[host] = error
        rollout.stands[host] = Stand.GUARDED if isinstance(error, Unreachable) else Stand.UNHEALTHY
    if len(rollout.reasons) > plan.tolerate:
        _give_up(fleet, mover, rollout, on_failure)
    elif lost:
        mover.confirm([host for host in touched if host not in lost])


def _change(fleet: Fleet, mover: Mover, stage: Stage, rollout: Rollout) -> list[str]:
    """Switch a stage's hosts and wait for their health; returns those that failed."""
    # Until it is known better: a host whose switch was cut may be on either release.
    rollout.stands.update(dict.fromkeys(stage.hosts, Stand.UNHEALTHY))
    moved = fleet.each("", mover.forward, hosts=stage.hosts, finish=True)
    rollout.stands.update(dict.fromkeys(moved.ok, Stand.DEPLOYED))
    rollout.reasons.update(moved.failed)
    return list(moved.failed)


def _give_up(fleet: Fleet, mover: Mover, rollout: Rollout, how: Literal["rollback", "halt"]) -> None:
    rollout.verdict = "rolled back" if how == "rollback" else "halted"
    if how == "rollback":
        _go_back(fleet, mover, rollout)
    # Where a person is needed, no guard gets in the way; where nobody can be reached, it does its work.
    settled = [host for host, stand in rollout.stands.items() if stand not in (Stand.UNTOUCHED, Stand.GUARDED)]
    mover.confirm(settled, together=False)
    for verdict, stand in (("guarded", Stand.GUARDED), ("stuck", Stand.STUCK)):
        if stand in rollout.stands.values() and how == "rollback":
            rollout.verdict = verdict  # type: ignore[assignment]


def _go_back(fleet: Fleet, mover: Mover, rollout: Rollout) -> None:
    touched = [host for host, stand in rollout.stands.items() if stand in (Stand.DEPLOYED, Stand.UNHEALTHY)]
    if touched:
        fleet.progress.phase(f"taking {len(touched)} hosts back" if len(touched) > 1 else f"taking {touched[0]} back")
    _take_back(fleet, mover, touched, rollout)


def _take_back(fleet: Fleet, mover: Mover, hosts: Sequence[str], rollout: Rollout) -> None:
    if not hosts:
        return
    try:
        results = fleet.each("", mover.back, hosts=hosts, finish=True)
    except Interrupted:
        # A person insists. Nobody here sees how it ends; the guards see to it that it does.
        rollout.stands.update(dict.fromkeys(hosts, Stand.GUARDED))
        return
    rollout.stands.update(dict.fromkeys(results.ok, Stand.ROLLED_BACK))
    for host, error in results.failed.items():
        by_itself = isinstance(error, Unreachable) or (isinstance(error, StepFailed) and error.code == "fenced")
        rollout.stands[host] = Stand.GUARDED if by_itself else Stand.STUCK
        rollout.reasons.setdefault(host, error)
        how = "goes back by itself" if by_itself else "could not be taken back"
        fleet.progress.warn(f"{host} {how}: {error.message}")
