"""The machinery that runs a plan: switch, wait until healthy, and take back what isn't (A5, B1). It exists once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Literal

from playbooks.environment import Environment
from playbooks.errors import Interrupted, SlipwayError, StepFailed
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.steps.health import HealthReport, wait_until_healthy
from playbooks.steps.switch import switch
from playbooks.strategies.plan import Plan, Stage


class Stand(StrEnum):
    """Where a host stands at the end."""

    UNTOUCHED = "untouched"
    UNCHANGED = "unchanged"  # it ran the wanted release already
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    UNHEALTHY = "unhealthy"  # on the new release, and left there
    STUCK = "stuck"  # it could not be brought to a known good state
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Move:
    """From which release to which a host goes; None is no release at all."""

    host: str
    before: str | None
    after: str | None
    units: tuple[str, ...]
    units_before: tuple[str, ...] = ()


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
    verdict: Literal["deployed", "rolled back", "halted", "stuck"] = "deployed"
    interrupted: bool = False


class Mover:
    """Moves hosts of one fleet between releases.

    Args:
        fleet: open sessions.
        env: settings and secrets.
        moves: what is to happen to each host.
        id: the deploy's or rollback's id.
        hooks: whether before_switch and after_switch hooks run.
    """

    def __init__(self, fleet: Fleet, env: Environment, moves: Mapping[str, Move], *, id: str, hooks: bool) -> None:
        self._fleet, self._env, self._moves, self._id, self._hooks = fleet, env, moves, id, hooks
        self._first = next(iter(moves), None)

    def forward(self, remote: Remote) -> None:
        """Switch a host to its new release."""
        move = self._moves[remote.name]
        switch(
            remote,
            self._env.target(remote.name).settings,
            target=move.after,
            expected=move.before,
            deploy=self._id,
            hooks=self._hooks,
            first=remote.name == self._first,
            note=partial(self._fleet.progress.note, remote.name),
        )

    def back(self, remote: Remote) -> None:
        """Switch a host to the release it had, and wait until that is healthy.

        Raises:
            StepFailed: it cannot be switched, or the old release is not healthy either.
        """
        move = self._moves[remote.name]
        remote = remote.patient()
        switch(
            remote,
            self._env.target(remote.name).settings,
            target=move.before,
            expected=move.after,
            deploy=self._id,
            hooks=False,
        )
        if move.before is not None:
            self._judge(remote, move.before, move.units_before)

    def healthy(self, remote: Remote) -> HealthReport:
        """Wait until a host is healthy on its new release.

        Raises:
            StepFailed: it isn't in time.
        """
        move = self._moves[remote.name]
        assert move.after is not None  # noqa: S101 - only a host that runs something is asked
        return self._judge(remote, move.after, move.units)

    def _judge(self, remote: Remote, release: str, units: Sequence[str]) -> HealthReport:
        settings = self._env.target(remote.name).settings
        report = wait_until_healthy(
            remote,
            settings,
            units=units,
            release_folder=f"{settings.home}/releases/{release}",
            secrets=self._env.secrets,
            note=partial(self._fleet.progress.note, remote.name),
        )
        for warning in report.warnings:
            self._fleet.progress.warn(f"{remote.name}: {warning}")
        if not report.healthy:
            raise StepFailed(report.reason(), host=remote.name, step="health", code="unhealthy")
        return report


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
    except Interrupted:
        rollout.interrupted = True
        _give_up(fleet, mover, rollout, "rollback")
    if Stand.STUCK in rollout.stands.values():
        rollout.verdict = "stuck"
    return rollout


def _change(fleet: Fleet, mover: Mover, stage: Stage, rollout: Rollout) -> list[str]:
    """Switch a stage's hosts and wait for their health; returns those that failed."""
    # Until it is known better: a host whose switch was cut may be on either release.
    rollout.stands.update(dict.fromkeys(stage.hosts, Stand.UNHEALTHY))
    switched = fleet.each("switch", mover.forward, hosts=stage.hosts, finish=True)
    healthy = fleet.each("health", mover.healthy, hosts=list(switched.ok), finish=True)
    rollout.stands.update(dict.fromkeys(healthy.ok, Stand.DEPLOYED))
    failed = {**switched.failed, **healthy.failed}
    rollout.reasons.update(failed)
    return list(failed)


def _give_up(fleet: Fleet, mover: Mover, rollout: Rollout, how: Literal["rollback", "halt"]) -> None:
    rollout.verdict = "rolled back" if how == "rollback" else "halted"
    if how == "halt":
        return
    touched = [host for host, stand in rollout.stands.items() if stand in (Stand.DEPLOYED, Stand.UNHEALTHY)]
    if touched:
        fleet.progress.phase(f"taking {len(touched)} hosts back" if len(touched) > 1 else f"taking {touched[0]} back")
    _take_back(fleet, mover, touched, rollout)


def _take_back(fleet: Fleet, mover: Mover, hosts: Sequence[str], rollout: Rollout) -> None:
    if not hosts:
        return
    try:
        results = fleet.each("back", mover.back, hosts=hosts, finish=True)
    except Interrupted:
        # A person insists; what runs on the hosts goes on to its end there, but nobody here sees it.
        rollout.stands.update(dict.fromkeys(hosts, Stand.STUCK))
        rollout.verdict = "stuck"
        return
    rollout.stands.update(dict.fromkeys(results.ok, Stand.ROLLED_BACK))
    for host, error in results.failed.items():
        rollout.stands[host] = Stand.STUCK
        rollout.reasons.setdefault(host, error)
        fleet.progress.warn(f"{host} could not be taken back: {error.message}")
    if results.failed:
        rollout.verdict = "stuck"
