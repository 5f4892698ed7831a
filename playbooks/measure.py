"""Measure the application's errors and latencies for a while (G3). It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from playbooks.adapters.metrics.source import MetricsError
from playbooks.core.answer import Answer
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.judgement.counts import Counts, total
from playbooks.rollout.watching.observers import source_of
from playbooks.steps.facts import Facts
from playbooks.traffic.host_backends import places_of
from playbooks.traffic.servers import balancers_of, metrics_hosts


@dataclass(frozen=True)
class Measure:
    """One server's numbers, or those of all that run a version; latencies in milliseconds, None where not timed."""

    name: str
    requests: int
    errors: int
    p50: float | None
    p95: float | None
    p99: float | None

    @property
    def rate(self) -> float | None:
        """Return the errors divided by the requests."""
        return self.errors / self.requests if self.requests else None


@dataclass(frozen=True)
class Measures(Answer):
    """The measurements.

    Args:
        seconds: how long requests were counted.
        servers: by server.
        versions: by version.
        most: the given limit, e.g. "errors above 5 %"; empty if none was given.
        exceeded: whether the limit was exceeded.
    """

    schema: ClassVar[str] = "slipway.measure/1"
    seconds: float
    servers: tuple[Measure, ...]
    versions: tuple[Measure, ...]
    most: str = ""
    exceeded: bool = False

    @property
    def exit_status(self) -> ExitStatus:
        """Return 1 if a given limit was exceeded."""
        return ExitStatus.FAILED if self.exceeded else ExitStatus.DONE


def measure(
    env: Environment,
    progress: Progress,
    *,
    seconds: float,
    most_errors: float | None = None,
    most_p99: float | None = None,
) -> Measures:
    """Count requests for a while.

    Args:
        env: the environment.
        progress: receives what to show a person.
        seconds: how long to count.
        most_errors: the maximum share of failed requests, 0 to 1.
        most_p99: the maximum p99 latency in milliseconds.

    Raises:
        UsageError: no source counts requests.
        MetricsError: the source of metrics cannot be read, or has no data.
    """
    if env.settings.metrics.source == "balancer" and not balancers_of(env):
        raise UsageError(
            "nothing counts requests here: there is no slipway_balancer",
            hint="set slipway_metrics.source to application or prometheus; see docs/metrics.md",
        )
    names = dict.fromkeys([*(target.name for target in env.targets), *balancers_of(env), *metrics_hosts(env)])
    with open_fleet([env.target(name).address for name in names], progress=progress, forks=env.settings.forks) as fleet:
        balancers = [balancer for balancer in balancers_of(env) if balancer in fleet.remotes]
        if set(metrics_hosts(env)) - set(fleet.remotes) or (
            env.settings.metrics.source == "balancer" and not balancers
        ):
            fleet.require_all()
        for host, error in fleet.unreachable.items():
            progress.warn(f"without {host}: {error.message}")
        there = [target.name for target in env.targets if target.name in fleet.remotes]
        facts = fleet.each("facts", partial(facts_of, env), hosts=there).ok
        places = places_of(env, facts, {})
        source = source_of(fleet, env, balancers, places)
        assert source is not None  # refused above  # noqa: S101
        source.read()
        progress.phase(Phase(PhaseCode.COUNTING, f"counting for {seconds:.0f} s"))
        time.sleep(seconds)
        counts = source.read()
    if not counts:  # a server without requests has a count of 0
        raise MetricsError("no server's counts could be read", hint="the warnings above say why; see docs/metrics.md")
    servers = tuple(_measure(name, counts[name]) for name in sorted(counts))
    everything = _measure("all", total(counts.values()))
    limits = [
        f"errors above {100 * most_errors:g} %" if most_errors is not None else "",
        f"p99 above {most_p99:g} ms" if most_p99 is not None else "",
    ]
    exceeded = (most_errors is not None and (everything.rate or 0.0) > most_errors) or (
        most_p99 is not None and (everything.p99 or 0.0) > most_p99
    )
    versions = _versions(facts, counts, {place.host: place.after.name for place in places})
    return Measures(env.name, seconds, servers, (*versions, everything), ", ".join(filter(None, limits)), exceeded)


def _versions(facts: Mapping[str, Facts], counts: Mapping[str, Counts], servers: Mapping[str, str]) -> list[Measure]:
    found: dict[str, Counts] = {}
    for host, fact in facts.items():
        version = fact.version or "none"
        found[version] = found.get(version, Counts()) + counts.get(servers[host], Counts())
    return [_measure(version, found[version]) for version in sorted(found)]


def _measure(name: str, counts: Counts) -> Measure:
    return Measure(name, counts.requests, counts.errors, *(counts.quantile(share) for share in (0.5, 0.95, 0.99)))
