"""Moves the traffic of one fleet on all its balancers at once, with a guard set on each first (B4)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from playbooks.core.errors import Interrupted, SlipwayError, StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import StepResult
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.ledger.seal import GUARD_ADDS
from playbooks.steps.traffic import (
    HINTS,
    BalancerGuard,
    ServerWeight,
    TrafficMove,
    failover_call,
    read_traffic_move,
    traffic_call,
)
from playbooks.steps.traffic_state import BalancerState, read_state, state_call
from playbooks.traffic.headroom import wait_for_headroom
from playbooks.traffic.readings import BalancerReadings
from playbooks.traffic.shares import (
    HostBackends,
    TrafficSplit,
    guard_weights,
    server_weights,
    servers_of,
    servers_without_release,
)
from playbooks.traffic.unserved import find_unserved, probed

# A host's guard acts later than a balancer's, so that the balancer has drained the host by then. The delay is the pause
# of the balancer's timer (guard.sh) and these seconds for draining.
DRAIN_FIRST = 5.0
# Seconds to wait for servers, and seconds if none was up at the beginning, since something else is wrong then.
UP_SECONDS, UP_SECONDS_IF_ALL_DOWN = 30.0, 5.0


class Traffic(Protocol):
    """The traffic of the fleet.

    Args:
        balancers: names of the balancers' hosts.
        places: the application's hosts, as the balancers see them.
        unchanged: hosts that run the wanted release from the start.
        misrouted: whether a balancer sends requests elsewhere than to what runs when the task begins, as a failed task
            may leave it.
        partially_shifted: hosts with two servers of which the new one has traffic already, because a rollout was
            halted.
    """

    @property
    def balancers(self) -> tuple[str, ...]: ...
    @property
    def places(self) -> tuple[HostBackends, ...]: ...
    @property
    def unchanged(self) -> frozenset[str]: ...
    @property
    def misrouted(self) -> bool: ...
    @property
    def partially_shifted(self) -> frozenset[str]: ...

    def begin(self) -> None:
        """Nothing has changed yet: what was counted so far is how things were."""

    def require_headroom(self, hosts: frozenset[str]) -> None:
        """Go on only if the others have headroom for these hosts' traffic, by the balancers' latest counts.

        Raises:
            StepFailed: there was no headroom in time.
        """

    def meanwhile(self) -> RequestSummary | None:
        """Requests since the first change, compared with those before; None if nothing counts them."""

    def unserved(self) -> StepFailed | None:
        """A balancer that should have a server up and has none; see `move`."""

    def move(self, split: TrafficSplit, *, back: bool = False) -> Mapping[str, SlipwayError]:
        """Apply a split on every balancer.

        Args:
            split: the state of the rollout.
            back: whether the release is left, so that nothing waits for servers to be warm.

        Returns:
            Hosts on the new release that a balancer does not find healthy, and why; none on the way back.

        Raises:
            SlipwayError: one could not, and its guard takes it back. Or one has no server up.
        """


@dataclass(frozen=True)
class NoBalancer:
    """There is no balancer in front of the application.

    Args:
        places, unchanged: see `Traffic`.
    """

    places: tuple[HostBackends, ...]
    unchanged: frozenset[str]
    balancers: tuple[str, ...] = ()
    misrouted: bool = False
    partially_shifted: frozenset[str] = frozenset()

    def begin(self) -> None:
        """There are no counts."""

    def require_headroom(self, hosts: frozenset[str]) -> None:
        """There is no balancer to ask."""

    def meanwhile(self) -> None:
        """There are no counts."""

    def unserved(self) -> None:
        """There is no balancer to ask."""

    def move(self, split: TrafficSplit, *, back: bool = False) -> Mapping[str, SlipwayError]:  # noqa: ARG002
        """There is nothing to move."""
        return {}


@dataclass(frozen=True)
class Balancers:
    """The balancers of one fleet.

    Args:
        fleet: open sessions, the balancers' hosts among them.
        env: the environment.
        owner: the deploy or rollback.
        balancers: names of the balancers' hosts.
        places: the application's hosts.
        unchanged: hosts that run the wanted release from the start.
        closed: servers that somebody has put out of service by hand; they stay so.
        left: hosts that a task of ours has left out; they have traffic again once they run the wanted release.
        up: seconds that servers put on are waited for.
        states: how the balancers stood to begin with.
        stays: the traffic is to stay with the group of hosts that has it.
        ignore_headroom: hosts are taken out whatever the others can carry.
    """

    fleet: Fleet
    env: Environment
    owner: LockOwner
    balancers: tuple[str, ...]
    places: tuple[HostBackends, ...]
    readings: BalancerReadings
    unchanged: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    up: float = UP_SECONDS
    states: Mapping[str, BalancerState] = field(default_factory=dict)
    stays: bool = False
    ignore_headroom: bool = False

    @property
    def misrouted(self) -> bool:
        wanted = {
            share.server.name: share.on and share.weight > 0
            for share in server_weights(
                self.places, TrafficSplit(self.unchanged, self.left - self.unchanged), closed=self.closed
            )
        }
        return any(
            server.wanted != wanted[name]
            for state in self.states.values()
            for name, server in state.servers.items()
            if name in wanted
        )

    @property
    def partially_shifted(self) -> frozenset[str]:
        def serves(state: BalancerState, name: str) -> bool:
            server = state.servers.get(name)
            return server is not None and server.serves

        return frozenset(
            place.host
            for place in self.places
            if place.side_by_side and all(serves(state, place.after.name) for state in self.states.values())
        )

    def begin(self) -> None:
        self.readings.mark_baseline()

    def require_headroom(self, hosts: frozenset[str]) -> None:
        leaving = {place.before.name for place in self.places if place.host in hosts and place.before}
        # Beside each other nobody leaves before others have come.
        if leaving and not any(place.side_by_side for place in self.places):
            limits = self.env.settings.rollout.headroom
            wait_for_headroom(
                self.readings, limits, hosts, leaving, self.fleet.progress, ignore_headroom=self.ignore_headroom
            )

    def meanwhile(self) -> RequestSummary | None:
        return self.readings.meanwhile()

    def unserved(self) -> StepFailed | None:
        everybody = TrafficSplit(frozenset(place.host for place in self.places), share=1.0)
        return self._unserved(server_weights(self.places, everybody, closed=self.closed))

    def _unserved(self, shares: Sequence[ServerWeight]) -> StepFailed | None:
        return find_unserved(self.readings, self.fleet, self.env, shares, up=self.up)

    def move(self, split: TrafficSplit, *, back: bool = False) -> Mapping[str, SlipwayError]:
        back = back or self.owner.task == "rollback"
        # Read the counts only when no host is out: another move follows otherwise.
        settled = not split.out
        new = split.moved | (self.unchanged - split.out)
        split = replace(split, moved=new, out=split.out | (self.left - new))
        shares = self._mark_restarted(server_weights(self.places, split, closed=self.closed), split, back=back)
        guard = self._guard(split)
        seal = self.env.signing.seal(self.owner)

        def one(remote: Remote) -> TrafficMove:
            settings = self.env.target(remote.name).settings
            balancer = self.env.settings.balancer
            assert balancer is not None  # there would be no balancer  # noqa: S101
            note = partial(self.fleet.progress.note, remote.name)
            record = {**guard.record, "host": remote.name, "hosts": {remote.name: "by its guard"}}
            mine = replace(guard, record=seal.left_to(remote.name, record, adds=GUARD_ADDS))
            slow = 0.0 if back else balancer.slow_start
            ask = traffic_call(balancer, settings, shares, guard=mine, up=self.up, slow=slow, note=note)
            asks = [ask, *(self.readings.calls(remote.name) if settled else ())]
            with contextlib.closing(remote.without_deadline().chain(asks)) as answers:
                try:
                    moved = read_traffic_move(next(answers))
                except StepFailed as error:
                    error.hint = error.hint or HINTS.get(error.code)
                    raise
                if settled:
                    self._take(remote.name, answers)
            return moved

        results = self.fleet.each("traffic", one, hosts=self.balancers, finish=True)
        for balancer_host, moved in results.ok.items():
            self._tell(balancer_host, moved, split)
        results.all_or_raise("moving traffic")
        if back:
            return {}
        failed = self._unanswered(results.ok, split.moved - self.unchanged)
        if not failed and settled and (nobody_there := self._unserved(shares)):
            raise nobody_there
        return failed

    def _take(self, balancer: str, answers: Iterator[StepResult]) -> None:
        """Take in what came behind a move: that is done, whatever becomes of the reading."""
        try:
            self.readings.add(balancer, answers)
        except Interrupted:
            raise
        except SlipwayError as error:
            self.fleet.progress.warn(
                f"{balancer}: the traffic was moved, but the state could not be read afterwards: {error.message}"
            )

    def _unanswered(self, moved: Mapping[str, TrafficMove], hosts: frozenset[str]) -> dict[str, SlipwayError]:
        """Hosts that are healthy but for their users. Where nobody was to begin with, something else is wrong."""
        balancer = self.env.settings.balancer
        if balancer is None or self.up < UP_SECONDS or not any(place.before for place in self.places):
            return {}
        found: dict[str, SlipwayError] = {}
        for balancer_host, one in moved.items():
            for place in self.places:
                server = place.after
                if place.host in hosts and server.name in one.slow and not self._was_down(balancer_host, server.name):
                    found[place.host] = self._not_for(balancer_host, place)
        return found

    def _mark_restarted(
        self, shares: Sequence[ServerWeight], split: TrafficSplit, *, back: bool
    ) -> Sequence[ServerWeight]:
        """Mark servers whose release restarted while they were enabled, so that the step waits for them.

        That is so where a release changes in place and no other server can carry the traffic: a failed check is normal
        then. A server that was down before the task began is not waited for.
        """
        hosts = {place.host for place in self.places} - split.out if back else split.moved - self.unchanged
        in_place = {
            place.after.name for place in self.places if place.host in hosts and not place.old_server and place.before
        }
        return [
            replace(share, restarted=True)
            if share.on and share.server.name in in_place and not self._was_down_anywhere(share.server.name)
            else share
            for share in shares
        ]

    def _was_down_anywhere(self, server: str) -> bool:
        return any(self._was_down(balancer, server) for balancer in self.balancers)

    def _not_for(self, balancer_host: str, place: HostBackends) -> StepFailed:
        """A host that is healthy by its own checks, but not for a balancer."""
        server, balancer = place.after, self.env.settings.balancer
        assert balancer is not None  # there would be no balancer  # noqa: S101
        said = f"it is healthy by its own checks, but not for the balancer on {balancer_host}"
        hint = f"on {balancer_host}: curl -i http://{server.address}:{server.port}{balancer.health_path}"
        try:
            why = probed(self.fleet.remotes[balancer_host], balancer, self.env.target(balancer_host).settings, server)
        except StepFailed:
            said += f", which asks for {balancer.health_path}"
        else:
            said, hint = f"{said}: {why.sentence}", why.hint
        return StepFailed(said, host=place.host, step="traffic", code=StepCode.UNANSWERED, hint=hint)

    def _was_down(self, balancer: str, server: str) -> bool:
        state = self.states.get(balancer)
        return state is not None and server in state.servers and state.servers[server].up is False

    def _guard(self, split: TrafficSplit) -> BalancerGuard:
        forward = self.owner.task == "rollback" and not self.stays
        left = [place for place in self.places if place.before and place.host in self.left - split.moved]
        shut = self.closed | {place.before.name for place in left if place.before}
        ours = {name for place in left for name in servers_of(place)}
        failover, final = (
            [replace(share, out=True) if share.server.name in ours else share for share in shares]
            for shares in guard_weights(self.places, split, forward=forward, closed=shut)
        )
        record = self.owner.guard_record(self.env.name, self.owner.version, "; traffic went back")
        timeout = self.env.settings.guard.timeout
        # By then the application's hosts have seen the silence too, and run their release again.
        settle = host_guard_delay(timeout) + timeout / 10 + 1 + self.env.settings.guard.settle
        return BalancerGuard(self.owner.id, math.ceil(timeout), settle, failover, final, record)

    def _tell(self, balancer: str, moved: TrafficMove, split: TrafficSplit) -> None:
        for server, count in moved.cut.items():
            requests = "1 request" if count == 1 else f"{count} requests"
            self.fleet.progress.warn(f"{balancer}: {requests} in flight on {server} did not end in time and may be cut")
        for server in sorted(set(moved.slow) - servers_without_release(self.places, split)):
            self.fleet.progress.warn(f"{balancer}: {server} does not answer the balancer's health check yet")


def host_guard_delay(timeout: float) -> float:
    """Seconds by which hosts behind a balancer let their guards run longer than the balancer's guard.

    Args:
        timeout: the guard's, in seconds.
    """
    return timeout / 10 + 1 + DRAIN_FIRST


def fail_over(fleet: Fleet, env: Environment, balancers: Sequence[str]) -> None:
    """Before hosts are taken back from what a dead controller has left: nothing is sent any more to what they stop.

    Raises:
        SlipwayError: a balancer's host cannot be asked.
    """
    balancer = env.settings.balancer

    def one(remote: Remote) -> None:
        assert balancer is not None  # there would be no balancer  # noqa: S101
        list(remote.chain([failover_call(balancer, env.target(remote.name).settings)]))

    fleet.each("failover", one, hosts=balancers, finish=True).all_or_raise("taking the traffic back")


def read_balancers(fleet: Fleet, env: Environment, balancers: Sequence[str]) -> dict[str, BalancerState]:
    """How the balancers stand.

    Raises:
        SlipwayError: one cannot be read.
    """
    balancer = env.settings.balancer

    def one(remote: Remote) -> BalancerState:
        assert balancer is not None  # there would be no balancer  # noqa: S101
        (answer,) = remote.chain([state_call(balancer, env.target(remote.name).settings)])
        return read_state(answer)

    return dict(fleet.each("balancer", one, hosts=balancers).all_or_raise("looking at the balancers"))
