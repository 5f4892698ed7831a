"""Where the application's traffic is and where it must go: its hosts as the balancers see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from playbooks.environments.environment import Environment
from playbooks.steps.facts import Facts
from playbooks.traffic.groups import Groups
from playbooks.traffic.servers import application_hosts, capacities, server_of
from playbooks.traffic.shares import HostBackends


def places_of(
    env: Environment,
    facts: Mapping[str, Facts],
    slots: Mapping[str, str | None],
    groups: Groups | None = None,
    *,
    host_by_host: bool = False,
) -> tuple[HostBackends, ...]:
    """The application's hosts as the balancers see them.

    Hosts that --limit leaves out stay as they are. For hosts that cannot be reached, the balancers' own health checks
    decide.

    Args:
        env: the environment.
        facts: of the hosts that take part.
        slots: the slot that each host which changes will run in; None for a host without slots.
        groups: of hosts, if there are any.
        host_by_host: whether hosts with slots change one by one, out of the traffic, since some of them run in none.
    """
    if groups:
        return tuple(_in_groups(env, facts, groups))
    if env.settings.slots:
        capacity = capacities(env)
        return tuple(
            _slotted(env, fact, slots.get(host, fact.slot), capacity[host], host_by_host=host_by_host)
            for host, fact in facts.items()
        )
    return tuple(_in_place(env, facts))


def _in_place(env: Environment, facts: Mapping[str, Facts]) -> Iterator[HostBackends]:
    capacity = capacities(env)
    asked = {target.name for target in env.targets}
    others = [host for host in application_hosts(env) if host not in asked]
    for host in [*facts, *others]:
        server = server_of(env, host)
        runs = host in others or facts[host].current is not None
        yield HostBackends(host, server if runs else None, server, capacity=capacity[host])


def _in_groups(env: Environment, facts: Mapping[str, Facts], groups: Groups) -> Iterator[HostBackends]:
    """Every host of the group with the traffic, since all of them lose it; of the other group, the known hosts."""
    capacity = capacities(env)
    for host in groups.live_hosts:
        server = server_of(env, host)
        runs = host not in facts or facts[host].current is not None
        yield HostBackends(host, server if runs else None, server, live=True, capacity=capacity[host])
    for host in groups.idle_hosts:
        if host in facts:
            yield HostBackends(host, None, server_of(env, host), live=False, capacity=capacity[host])


def _slotted(env: Environment, fact: Facts, slot: str | None, capacity: float, *, host_by_host: bool) -> HostBackends:
    """A host with two slots. A release that runs in neither has the first slot's port, or no traffic."""
    first = next(iter(env.settings.slots))
    after, before = slot or first, fact.slot or first
    return HostBackends(
        fact.host,
        server_of(env, fact.host, before) if fact.current else None,
        server_of(env, fact.host, after),
        tuple(server_of(env, fact.host, slot) for slot in env.settings.slots if slot not in (before, after)),
        capacity=capacity,
        in_place=host_by_host,
    )
