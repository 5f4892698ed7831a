"""Find out where the traffic is, as the balancers say: what serves, and what was taken out, by whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.steps.facts import Facts
from playbooks.steps.traffic import Server
from playbooks.steps.traffic_state import BalancerState
from playbooks.traffic.groups import Groups
from playbooks.traffic.host_backends import places_of
from playbooks.traffic.readings import BalancerReadings
from playbooks.traffic.registration import require_registered
from playbooks.traffic.servers import balancers_of
from playbooks.traffic.shares import HostBackends, find_unchanged
from playbooks.traffic.traffic import UP_SECONDS, UP_SECONDS_IF_ALL_DOWN, Balancers, NoBalancer, Traffic


def open_traffic(
    fleet: Fleet,
    env: Environment,
    owner: LockOwner,
    facts: Mapping[str, Facts],
    slots: Mapping[str, str | None],
    leaving: Collection[str],
    groups: Groups | None,
    *,
    stays: bool,
    host_by_host: bool,
    ignore_headroom: bool,
) -> Traffic:
    """Where the traffic is, as the balancers say, and who moves it. Nothing is changed yet.

    Args:
        fleet: open sessions, those with the balancers among them.
        env: settings and secrets.
        owner: the deploy or rollback.
        facts: of the application's hosts that take part.
        slots: those that change, each with the slot of its new release.
        leaving: those that will run nothing.
        groups: of hosts, if there are any.
        stays: whether the traffic is to stay with the group that has it.
        host_by_host: whether hosts change one by one, out of the traffic.
        ignore_headroom: whether hosts leave the balancers even if the others have no headroom.

    Raises:
        SlipwayError: a balancer cannot be read, or does not know a server.
    """
    balancers = balancers_of(env)
    places = tuple(
        replace(place, leaves=place.host in leaving)
        for place in places_of(env, facts, slots, groups, host_by_host=host_by_host)
    )
    running = [host for host, fact in facts.items() if fact.current]
    stay = frozenset() if stays else find_unchanged(places, running, slots)
    if not balancers:
        return NoBalancer(places, stay)
    readings = BalancerReadings(fleet, env, balancers)
    states = readings.read_states()
    require_registered(env, list(states.values()))
    closed = closed_by_hand(places, list(states.values()))
    for name in sorted(closed):
        fleet.progress.warn(
            f"{name} was disabled in the balancer by hand; it stays disabled. invoke traffic {env.flag} shows it"
        )
    up = UP_SECONDS_IF_ALL_DOWN if (down := nobody_up(places, list(states.values()))) else UP_SECONDS
    if down and env.settings.balancer:
        asked = env.settings.balancer.health_path
        fleet.progress.warn(f"every server is down for the balancers: none answers {asked} with 200. The task goes on")
    left = left_out(places, list(states.values()))
    return Balancers(
        fleet, env, owner, balancers, places, readings, stay, closed, left, up, states, stays, ignore_headroom
    )


def nobody_up(places: Sequence[HostBackends], states: Sequence[BalancerState]) -> bool:
    """Whether something runs and no balancer finds it healthy, so that waiting for servers would not help."""
    serving = [place.before.name for place in places if place.before]
    seen = [state.servers[name].up for state in states for name in serving if name in state.servers]
    return bool(seen) and not any(up is not False for up in seen)


def closed_by_hand(places: Sequence[HostBackends], states: Sequence[BalancerState]) -> frozenset[str]:
    """Servers that should serve, and that a person has taken out of every balancer."""
    return frozenset(server.name for _, server in _off(places, states) if not _is_ours(server, states))


def left_out(places: Sequence[HostBackends], states: Sequence[BalancerState]) -> frozenset[str]:
    """Hosts that an earlier task took out of every balancer because it could not finish them; no person did."""
    return frozenset(host for host, server in _off(places, states) if _is_ours(server, states))


def _is_ours(server: Server, states: Sequence[BalancerState]) -> bool:
    return any(state.servers[server.name].out for state in states)


def _off(places: Sequence[HostBackends], states: Sequence[BalancerState]) -> Iterator[tuple[str, Server]]:
    """Hosts to which no balancer sends traffic, each with the server that should have it.

    A host whose other slot has traffic is not off: a controller died there during a confirmation.
    """

    def gets(server: Server) -> bool:
        return any(server.name in state.servers and state.servers[server.name].on for state in states)

    for place in places:
        serves = place.before
        if serves is None or not states or any(serves.name not in state.servers for state in states):
            continue
        if not any(gets(server) for server in (serves, place.after, *place.others)):
            yield place.host, serves
