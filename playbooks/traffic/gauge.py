"""Reads what balancers count while a rollout goes on, in the round trips in which their traffic moves."""

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
from playbooks.judgement.meanwhile import Meanwhile, meanwhile
from playbooks.steps.traffic_counts import Counted, Meter, ask_counts
from playbooks.steps.traffic_state import EdgeState, ask_state, read_state

# Seconds for which a reading is taken for what is so now.
FRESH = 1.0


class Gauge:
    """What was read of the balancers so far.

    Args:
        fleet: open sessions with their hosts.
        env: settings.
        edges: their names.
    """

    def __init__(self, fleet: Fleet, env: Environment, edges: Sequence[str]) -> None:
        self._fleet, self._env, self._edges = fleet, env, edges
        self._meters = {edge: Meter() for edge in edges}
        self._unread: set[str] = set()
        self.readings: dict[str, list[BalancerReading]] = {edge: [] for edge in edges}
        self.states: dict[str, EdgeState] = {}
        self._began: float | None = None

    def begin(self) -> None:
        """Nothing has changed yet: what was counted so far is how things were."""
        self.refresh()
        self._began = time.monotonic()

    def meanwhile(self) -> Meanwhile | None:
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
            self.look("")
        except Interrupted:
            raise
        except SlipwayError as error:
            self._fleet.progress.warn(f"the balancers could not be looked at: {error.message}")

    def look(self, step: str = "balancer") -> dict[str, EdgeState]:
        """Read all balancers in a round trip of its own.

        Args:
            step: what it is called; empty: it is not told.

        Raises:
            SlipwayError: one does not say how it stands.
        """

        def one(remote: Remote) -> EdgeState:
            with contextlib.closing(remote.chain(self.asks(remote.name))) as answers:
                return self.take(remote.name, answers)

        return dict(
            self._fleet.each(step, one, hosts=self._edges, finish=True).all_or_raise("looking at the balancers")
        )

    def asks(self, edge: str) -> list[StepCall]:
        """What a balancer is asked for a reading: it may follow what moves its traffic."""
        balancer = self._env.settings.balancer
        assert balancer is not None  # there would be no edge  # noqa: S101
        settings = self._env.target(edge).settings
        return [ask_state(balancer, settings), ask_counts(balancer, settings, self._meters[edge].cursor)]

    def take(self, edge: str, answers: Iterator[StepResult]) -> EdgeState:
        """Take a reading in. Numbers that cannot be had are told once, and missed.

        Raises:
            SlipwayError: it does not say how it stands.
        """
        state = self.states[edge] = read_state(next(answers))
        try:
            counted = self._meters[edge].read(next(answers))
        except Interrupted:
            raise
        except SlipwayError as error:
            counted = Counted()
            if edge not in self._unread:
                self._unread.add(edge)
                self._fleet.progress.warn(f"{edge}: what requests do is not known: {error.message}")
        ended, earlier = time.monotonic(), self.readings[edge]
        self.readings[edge].append(
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

    def unserved(self) -> list[str]:
        """Balancers that have nobody to send clients to, as they were read last."""
        return [edge for edge, each in self.readings.items() if each and not each[-1].is_served]
