"""Reads the balancers' counts during a rollout, in the round trips that move their traffic."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from playbooks.core.errors import Interrupted, SlipwayError
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.judgement.headroom import BalancerReading
from playbooks.judgement.meanwhile import RequestSummary, meanwhile
from playbooks.steps.traffic_counts import Counted, Meter, counts_call
from playbooks.steps.traffic_state import BalancerState, read_state, state_call

# Seconds for which a reading is taken for what is so now.
FRESH = 1.0


class BalancerReadings:
    """What was read of the balancers so far.

    Args:
        fleet: open sessions with their hosts.
        env: the environment.
        balancers: their names.
    """

    def __init__(self, fleet: Fleet, env: Environment, balancers: Sequence[str]) -> None:
        self._fleet, self._env, self._balancers = fleet, env, balancers
        self._meters = {balancer: Meter() for balancer in balancers}
        self._unread: set[str] = set()
        self.readings: dict[str, list[BalancerReading]] = {balancer: [] for balancer in balancers}
        self.states: dict[str, BalancerState] = {}
        self._began: float | None = None

    def mark_baseline(self) -> None:
        """Nothing has changed yet: what was counted so far is how things were."""
        self.refresh()
        self._began = time.monotonic()

    def meanwhile(self) -> RequestSummary | None:
        """What requests did since then, beside those before; None where that is not known."""
        if self._began is None:
            return None
        with contextlib.suppress(Interrupted):  # a person insists: it is over all the same
            self.refresh()
        return None if self._unread else meanwhile(list(self.readings.values()), self._began)

    def refresh(self) -> None:
        """Look, unless what was read last is still so. A balancer that cannot be read is told, and says nothing."""
        now = time.monotonic()
        if all(each and now - each[-1].ended < FRESH for each in self.readings.values()):
            return
        try:
            self.read_states("")
        except Interrupted:
            raise
        except SlipwayError as error:
            self._fleet.progress.warn(f"the balancers' state could not be read: {error.message}")

    def read_states(self, step: str = "balancer") -> dict[str, BalancerState]:
        """Read all balancers in a round trip of its own.

        Args:
            step: what it is called; empty: it is not told.

        Raises:
            SlipwayError: one does not say how it stands.
        """

        def one(remote: Remote) -> BalancerState:
            with contextlib.closing(remote.chain(self.calls(remote.name))) as answers:
                return self.add(remote.name, answers)

        return dict(
            self._fleet.each(step, one, hosts=self._balancers, finish=True).all_or_raise("looking at the balancers")
        )

    def calls(self, balancer_host: str) -> list[StepCall]:
        """What a balancer is asked for a reading: it may follow what moves its traffic."""
        balancer = self._env.settings.balancer
        assert balancer is not None  # there would be no balancer  # noqa: S101
        settings = self._env.target(balancer_host).settings
        return [state_call(balancer, settings), counts_call(balancer, settings, self._meters[balancer_host].cursor)]

    def add(self, balancer: str, answers: Iterator[StepResult]) -> BalancerState:
        """Take a reading in. Numbers that cannot be had are told once, and missed.

        Raises:
            SlipwayError: it does not say how it stands.
        """
        state = self.states[balancer] = read_state(next(answers))
        try:
            counted = self._meters[balancer].read(next(answers))
        except Interrupted:
            raise
        except SlipwayError as error:
            counted = Counted()
            if balancer not in self._unread:
                self._unread.add(balancer)
                self._fleet.progress.warn(
                    f"{balancer}: its request counts cannot be read, and the result has none: {error.message}"
                )
        ended, earlier = time.monotonic(), self.readings[balancer]
        self.readings[balancer].append(
            BalancerReading(
                ended,
                ended - earlier[-1].ended if earlier else 0.0,
                counted.whole,
                {name: server.up is not False for name, server in state.servers.items() if server.wanted},
                counted.queue,
                {name: server.current for name, server in state.servers.items()},
                counted.failed_checks,
                counted.failing,
            )
        )
        return state

    def balancers_without_servers(self) -> list[str]:
        """Balancers that have nobody to send clients to, as they were read last."""
        return [balancer for balancer, each in self.readings.items() if each and not each[-1].is_served]
