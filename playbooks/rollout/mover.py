"""Moves hosts between releases, and sets a guard on each first (A1, A3)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from playbooks.core.errors import SlipwayError, StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fanout import Results, told
from playbooks.fleet.fleet import Fleet, HeldLocks
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.ledger.seal import GUARD_ADDS
from playbooks.steps.health import HealthReport, health_call, read_health
from playbooks.steps.switch import SwitchGuard, What, switch_call, with_hint
from playbooks.steps.warm_up import Warmed, read_warm_up, require_warm, warm_up_call
from playbooks.traffic.servers import server_of
from playbooks.traffic.traffic import host_guard_delay


@dataclass(frozen=True)
class Move:
    """From which release to which a host goes; None: no release.

    Args:
        before: what ``current`` names now.
        after: what it is to run.
        units, units_before: of both.
        slot: of the new one.
        fallback: what it runs if that fails: ``before``, unless that release's folder is gone.
    """

    host: str
    before: str | None
    after: str | None
    units: tuple[str, ...]
    units_before: tuple[str, ...] = ()
    slot: str | None = None
    fallback: str | None = None


class Mover:
    """Moves hosts of one fleet between releases, and sets a guard on each first.

    A deploy's guard takes the host back. A rollback's guard finishes the rollback, because a person decided to leave
    the release.

    Args:
        fleet: the open sessions.
        held: the locks.
        env: settings and secrets.
        moves: what is to happen to each host.
        owner: the deploy or rollback.
    """

    def __init__(
        self, fleet: Fleet, held: HeldLocks, env: Environment, moves: Mapping[str, Move], owner: LockOwner
    ) -> None:
        self.moves = moves
        self._fleet, self._held, self._env, self._owner = fleet, held, env, owner
        self._deploy = owner.task == "deploy"
        self._first = next(iter(moves), None)
        # How often systemd had restarted the units of a host when it was found healthy.
        self._restarts: dict[str, Mapping[str, int]] = {}

    def arm(self, remote: Remote) -> None:
        """Set a host's guard, and change nothing yet."""
        move = self.moves[remote.name]
        self._run(remote, [self._switch(remote.name, move.after, move.before, "arm")], ["arm"])

    def arm_all(self) -> Results[None]:
        """Set the guards of all hosts that are to change."""
        return self._fleet.each("", self.arm, hosts=list(self.moves))

    def forward(self, remote: Remote) -> None:
        """Switch a host to its new release, and wait until that is healthy.

        Raises:
            StepFailed: it cannot be switched, or is not healthy in time.
        """
        move = self.moves[remote.name]
        switch = self._switch(remote.name, move.after, move.before, "deploy" if self._deploy else "rollback")
        self._move(remote, switch, move.after, move.units)

    def back(self, remote: Remote) -> None:
        """Switch a host to the release it had, and wait until that is healthy.

        Raises:
            StepFailed: it cannot be switched, or the old release is not healthy either.
        """
        move = self.moves[remote.name]
        switch = self._switch(remote.name, move.fallback, move.after, "back")
        self._move(remote.without_deadline(), switch, move.fallback, move.units_before, name="back")

    def require_up(self, remote: Remote) -> None:
        """Check the units of a host that was found healthy once more, and nothing else.

        Raises:
            StepFailed: one is down, or systemd has restarted it since.
        """
        move = self.moves[remote.name]
        (answer,) = remote.chain([self._health(remote.name, move.after, move.units, units_only=True)])
        report = read_health(answer)
        before = self._restarts.get(remote.name, {})
        again = [unit for unit, count in report.restarts.items() if count > before.get(unit, 0)]
        why = f"{', '.join(again)} was restarted by systemd after it was found healthy" if again else report.reason()
        if again or not report.healthy:
            raise StepFailed(why, host=remote.name, step="health", code=StepCode.UNHEALTHY)

    def confirm(self, hosts: Sequence[str], *, together: bool = True) -> dict[str, SlipwayError]:
        """Remove the guards, so that hosts stay as they are. See `HeldLocks.confirm`."""
        return self._held.confirm(hosts, together=together)

    def _move(
        self, remote: Remote, switch: StepCall, release: str | None, units: Sequence[str], name: str = "switch"
    ) -> None:
        if release is None:
            self._run(remote, [switch], [name])
            return
        health = self._health(remote.name, release, units, note=switch.note)
        warm = self._warm_up(remote.name) if name == "switch" else []
        # One round trip for all: the checks begin the moment the units have started.
        self._run(remote, [switch, health, *warm], [name, "health", *("warm-up" for _ in warm)])

    def _health(
        self,
        host: str,
        release: str | None,
        units: Sequence[str],
        *,
        units_only: bool = False,
        note: Note | None = None,
    ) -> StepCall:
        settings = self._env.target(host).settings
        return health_call(
            settings,
            units=units,
            release_folder=f"{settings.home}/releases/{release}",
            secrets=self._env.secrets,
            once=units_only,
            units_only=units_only,
            note=note,
        )

    def _run(self, remote: Remote, asks: Sequence[StepCall], names: Sequence[str]) -> None:
        progress = self._fleet.progress
        with contextlib.closing(remote.chain(asks)) as answers:
            for ask, name in zip(asks, names, strict=True):
                with told(progress, remote.name, name):
                    try:
                        answer = next(answers)
                    except StepFailed as error:
                        raise with_hint(error) from None
                    if ask.step == "health":
                        self._judge(read_health(answer))
                    elif ask.step == "warm_up":
                        self._warmed(read_warm_up(answer))

    def _judge(self, report: HealthReport) -> None:
        self._restarts[report.host] = report.restarts
        for warning in report.warnings:
            self._fleet.progress.warn(f"{report.host}: {warning}")
        if not report.healthy:
            raise StepFailed(report.reason(), host=report.host, step="health", code=StepCode.UNHEALTHY, log=report.log)

    def _warm_up(self, host: str) -> list[StepCall]:
        pages = self._env.settings.warm_up
        return [warm_up_call(pages, server_of(self._env, host, self.moves[host].slot).port)] if pages else []

    def _warmed(self, warmed: Warmed) -> None:
        pages = self._env.settings.warm_up
        if pages and (warning := require_warm(pages, warmed)):
            self._fleet.progress.warn(warning)

    def _switch(self, host: str, target: str | None, expected: str | None, what: What) -> StepCall:
        return switch_call(
            self._env.target(host).settings,
            target=target,
            expected=expected,
            watch=self._watch(self.moves[host]),
            what=what,
            first=host == self._first,
            host_guard_delay=host_guard_delay(self._env.settings.guard.timeout) if self._env.settings.balancer else 0.0,
            note=partial(self._fleet.progress.note, host),
        )

    def _watch(self, move: Move) -> SwitchGuard:
        target = move.fallback if self._deploy else move.after
        record = self._owner.guard_record(self._env.name, (target or "none").partition("-")[2] or "none")
        own = {"host": move.host, "hosts": {move.host: "by its guard"}}
        seal = self._env.signing.seal(self._owner)
        return SwitchGuard(self._owner.id, target, seal.left_to(move.host, {**record, **own}, adds=GUARD_ADDS))
