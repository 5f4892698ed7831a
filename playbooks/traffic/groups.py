"""Blue-green with two groups of hosts: which of them has the traffic, and what that means for a deploy (B2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.settings.load import PREFIX
from playbooks.steps.traffic_state import BalancerState
from playbooks.traffic.servers import application_hosts, balancers_of
from playbooks.traffic.traffic import read_balancers


@dataclass(frozen=True)
class Groups:
    """The two groups as they stand.

    Args:
        live, idle: names of the one that has the traffic, and of the other.
        live_hosts, idle_hosts: their hosts.
        balancers: the balancers as they stood when they said so, by host.
    """

    live: str
    idle: str
    live_hosts: tuple[str, ...]
    idle_hosts: tuple[str, ...]
    balancers: Mapping[str, BalancerState]


def group_hosts(env: Environment) -> dict[str, tuple[str, ...]]:
    """Names of each group's hosts; none where there are no groups.

    Raises:
        ConfigError: a host of the application is in both, or in none; or a group has another host.
        UsageError: a group has no host.
    """
    members = {name: tuple(env.select(pattern)) for name, pattern in env.settings.groups.items()}
    if not members:
        return {}
    (first, ones), (second, others) = members.items()
    hosts = set(application_hosts(env))
    found = {
        f"{first} and {second} have both": set(ones) & set(others),
        "in neither group is": hosts - set(ones) - set(others),
        f"not of the application ({PREFIX}hosts) is": (set(ones) | set(others)) - hosts,
    }
    problems = [f"{PREFIX}groups: {what} {', '.join(sorted(names))}" for what, names in found.items() if names]
    if problems:
        raise ConfigError(problems, hint="each host of the application belongs in exactly one of the two groups")
    return members


def require_whole(env: Environment) -> None:
    """Refuse a part of the hosts where traffic moves between groups.

    Raises:
        ConfigError: see `group_hosts`.
        UsageError: --limit leaves out a host.
    """
    if group_hosts(env) and env.limited:
        raise UsageError(
            "--limit: the traffic moves from one whole group of hosts to the other, so a part of them cannot change",
            hint=f"without --limit; the groups are {' and '.join(env.settings.groups)}",
        )


def read_groups(fleet: Fleet, env: Environment) -> Groups | None:
    """Which group has the traffic, as the balancers say; None where there are no groups.

    Raises:
        SlipwayError: a balancer cannot be read.
        ConfigError: see `group_hosts`.
    """
    members = group_hosts(env)
    if not members:
        return None
    states = read_balancers(fleet, env, balancers_of(env))
    live = live_group(members, list(states.values()))
    (idle,) = set(members) - {live}
    return Groups(live, idle, members[live], members[idle], states)


def live_group(members: Mapping[str, Sequence[str]], balancers: Sequence[BalancerState]) -> str:
    """The group that the traffic goes to; most of it, should both have some. The first one where all are alike.

    Args:
        members: each group's hosts.
        balancers: how the balancers stand.
    """
    servers = {
        name: [state.servers[host] for state in balancers for host in hosts if host in state.servers]
        for name, hosts in members.items()
    }
    first, second = members
    alike = {(server.on, server.weight) for found in servers.values() for server in found}

    def weight(name: str) -> tuple[int, ...]:
        # A server that is new, and runs nothing yet, must not tell for its group. Those that are off have old weights.
        on = [server for server in servers[name] if server.on]
        up = [server for server in on if server.up is not False]
        return tuple(sum(server.weight for server in some) for some in (up, on))

    return second if len(alike) > 1 and weight(second) > weight(first) else first
