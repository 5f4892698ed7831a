"""Builds the observer of a deploy from the source of its numbers and the hosts' own signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from playbooks.adapters.metrics.source import MeasuredServer, MetricsReading, MetricsSource
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal
from playbooks.rollout.mover import Move
from playbooks.rollout.sides import Sides
from playbooks.rollout.watching.host_looks import HostLooks
from playbooks.rollout.watching.metric_sources import open_metrics
from playbooks.rollout.watching.watch import RequestCounts, StageObserver
from playbooks.steps.traffic_counts import Meter, counts_call
from playbooks.strategies.plan import Plan
from playbooks.traffic.servers import metrics_hosts
from playbooks.traffic.shares import HostBackends
from playbooks.traffic.traffic import Traffic


class BalancerCounts:
    """The counts of all balancers together. After the first reading, a balancer that cannot be read is left out.

    Args:
        fleet: the open sessions.
        env: the environment.
        balancers: names of the balancers' hosts.
    """

    def __init__(self, fleet: Fleet, env: Environment, balancers: Sequence[str]) -> None:
        self._fleet, self._env = fleet, env
        self._meters = {balancer: Meter() for balancer in balancers}
        self._begun = False
        self._told: set[str] = set()

    @property
    def buckets(self) -> tuple[float, ...]:
        return ()  # a tenth apart: near enough to know each latency

    @property
    def signals(self) -> tuple[Signal, ...]:
        return ()  # a balancer counts requests only

    def read(self) -> Mapping[str, Counts]:
        balancer = self._env.settings.balancer
        assert balancer is not None  # there would be no balancer  # noqa: S101

        def one(remote: Remote) -> Mapping[str, Counts]:
            meter = self._meters[remote.name]
            (answer,) = remote.chain([counts_call(balancer, self._env.target(remote.name).settings, meter.cursor)])
            return meter.feed(answer)

        results = self._fleet.each("", one, hosts=list(self._meters), finish=True)
        if not (results.ok and self._begun):
            results.all_or_raise("reading the balancers")
        self._begun = True
        # The other balancers' counts still count: a bad release must not pass because one balancer is gone.
        for balancer_host, error in results.failed.items():
            if balancer_host not in self._told:
                self._told.add(balancer_host)
                self._fleet.progress.warn(
                    f"{balancer_host}: its request counts cannot be read and are left out from now on: {error.message}"
                )
        counts: dict[str, Counts] = {}
        for found in results.ok.values():
            for server, count in found.items():
                counts[server] = counts.get(server, Counts()) + count
        return counts


class Numbers:
    """Counts from any other source of metrics.

    Args:
        metrics: the source.
        fleet: whose progress is told of what could not be read.
    """

    def __init__(self, metrics: MetricsSource, fleet: Fleet) -> None:
        self._metrics, self._progress = metrics, fleet.progress
        self._told: set[str] = set()
        self._last = MetricsReading()

    @property
    def buckets(self) -> tuple[float, ...]:
        return self._last.buckets

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self._last.signals

    def read(self) -> Mapping[str, Counts]:
        self._last = replace(self._last, signals=())  # if it fails, the earlier signals must not count again
        self._last = self._metrics.read()
        for problem in self._last.problems:
            if problem not in self._told:
                self._told.add(problem)
                self._progress.warn(f"metrics: {problem}")
        return self._last.counts


def source_of(
    fleet: Fleet, env: Environment, balancers: Sequence[str], places: Sequence[HostBackends]
) -> RequestCounts | None:
    """The source of the numbers; None if nothing counts requests.

    Args:
        fleet: the open sessions.
        env: the environment.
        balancers: names of the balancers' hosts.
        places: the application's hosts, as the balancers see them.
    """
    settings = env.settings.metrics
    if settings.source == "balancer":
        return BalancerCounts(fleet, env, balancers) if balancers else None
    servers = {}
    for place in places:
        for server in (place.before, place.after):
            if server is not None:
                servers[server.name] = MeasuredServer(server.name, place.host, server.address, server.port)
    via = next(iter(metrics_hosts(env)), None)
    return Numbers(open_metrics(settings, list(servers.values()), fleet, env.secrets, via=via), fleet)


def observer_of(
    fleet: Fleet,
    env: Environment,
    traffic: Traffic,
    moves: Mapping[str, Move],
    plan: Plan,
    sides: Sides,
    deploy: str,
) -> StageObserver:
    """The observer of a deploy, after it has begun to count.

    Args:
        fleet: the open sessions.
        env: the environment.
        traffic: where the balancers are.
        moves: hosts that change.
        plan: what is to be watched.
        sides: which servers run which version.
        deploy: its id.

    Raises:
        SlipwayError: the metrics that the settings name do not exist.
    """
    observer = StageObserver(
        source_of(fleet, env, traffic.balancers, traffic.places),
        HostLooks(fleet, env, moves, deploy),
        sides,
        env.settings.rollout,
        plan,
        f"invoke promote {env.flag}",
        fleet.progress,
    )
    observer.start()
    return observer
