"""Puts together who watches a deploy: the source of its numbers, and the hosts' own word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal
from playbooks.mover import Move
from playbooks.steps.facts import Facts
from playbooks.steps.traffic_counts import Meter, ask_counts
from playbooks.strategies.plan import Plan
from playbooks.traffic import Traffic
from playbooks.watch import Observer, Source


class EdgeCounts:
    """What all balancers together counted.

    Args:
        fleet: open sessions.
        env: settings.
        edges: names of the balancers' hosts.
    """

    def __init__(self, fleet: Fleet, env: Environment, edges: Sequence[str]) -> None:
        self._fleet, self._env = fleet, env
        self._meters = {edge: Meter() for edge in edges}

    def read(self) -> Mapping[str, Counts]:
        balancer = self._env.settings.balancer
        assert balancer is not None  # there would be no edge  # noqa: S101

        def one(remote: Remote) -> Mapping[str, Counts]:
            meter = self._meters[remote.name]
            (answer,) = remote.chain([ask_counts(balancer, self._env.target(remote.name).settings, meter.cursor)])
            return meter.feed(answer)

        results = self._fleet.each("", one, hosts=list(self._meters), finish=True).all_or_raise("reading the balancers")
        counts: dict[str, Counts] = {}
        for found in results.values():
            for server, count in found.items():
                counts[server] = counts.get(server, Counts()) + count
        return counts


class HostLooks:
    """What hosts say of themselves."""

    def look(self, moved: frozenset[str]) -> Sequence[Signal]:
        return []


def observer_of(
    fleet: Fleet,
    env: Environment,
    traffic: Traffic,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    plan: Plan,
    versions: tuple[str, str],
) -> Observer:
    """Who watches, and has begun to count.

    Args:
        fleet: open sessions.
        env: settings.
        traffic: where the balancers are.
        facts, moves: hosts that take part, and those that change.
        plan: what is to be watched.
        versions: the new and the old one.
    """
    source: Source | None = EdgeCounts(fleet, env, traffic.edges) if traffic.edges and plan.watches else None
    observer = Observer(
        source,
        HostLooks(),
        traffic.places,
        frozenset(facts) - frozenset(moves),
        env.settings.rollout,
        plan.watches,
        versions,
        fleet.progress,
    )
    observer.begin()
    return observer
