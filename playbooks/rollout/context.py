"""Build the context that carries out a plan: what moves hosts, what moves traffic, what watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet, HeldLocks
from playbooks.fleet.lock_owner import LockOwner
from playbooks.rollout.mover import Move, Mover
from playbooks.rollout.rollout import RolloutContext
from playbooks.rollout.sides import Sides
from playbooks.steps.facts import Facts, version_in
from playbooks.steps.traffic import Server
from playbooks.steps.traffic_state import BalancerState
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups
from playbooks.traffic.host_backends import places_of
from playbooks.traffic.readings import BalancerReadings
from playbooks.traffic.registration import require_registered
from playbooks.traffic.servers import balancers_of
from playbooks.traffic.shares import HostBackends, find_unchanged
from playbooks.traffic.traffic import UP_SECONDS, UP_SECONDS_IF_ALL_DOWN, Balancers, NoBalancer, Traffic


def build_context(
    fleet: Fleet,
    held: HeldLocks,
    env: Environment,
    owner: LockOwner,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    plan: Plan,
    groups: Groups | None = None,
    *,
    stays: bool = False,
    ignore_headroom: bool = False,
) -> RolloutContext:
    """Build what a plan needs to be carried out.

    Args:
        fleet: open sessions, those with the balancers among them.
        held: the locks.
        env: settings and secrets.
        owner: the deploy or rollback.
        facts: of the application's hosts that take part.
        moves: those that change.
        plan: its stages.
        groups: of hosts, if there are any.
        stays: whether the traffic is to stay with the group that has it.
        ignore_headroom: whether hosts leave the balancers even if the others have no headroom.

    Raises:
        SlipwayError: a balancer cannot be read, or does not know a server.
    """
    traffic = read_traffic(
        fleet,
        env,
        owner,
        facts,
        moves,
        groups,
        stays=stays,
        host_by_host=plan.host_by_host,
        ignore_headroom=ignore_headroom,
    )
    watcher = None
    if plan.watches:
        # Loaded here, because only a deploy that is watched needs these modules.
        from playbooks.rollout.watching.observers import observer_of

        sides = Sides(traffic.places, traffic.unchanged, *_versions(facts, moves, groups))
        watcher = observer_of(fleet, env, traffic, moves, plan, sides, owner.id)
    return RolloutContext(fleet, Mover(fleet, held, env, moves, owner), traffic, watcher)


def _versions(facts: Mapping[str, Facts], moves: Mapping[str, Move], groups: Groups | None) -> tuple[str, str]:
    """The new version and the old one; empty where there is none."""
    new = {version_in(move.after) for move in moves.values() if move.after}
    old = {facts[host].version or "" for host in (groups.live_hosts if groups else moves) if host in facts}
    return ", ".join(sorted(new)), ", ".join(sorted(filter(None, old)))


def read_traffic(
    fleet: Fleet,
    env: Environment,
    owner: LockOwner,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    groups: Groups | None,
    *,
    stays: bool,
    host_by_host: bool,
    ignore_headroom: bool,
) -> Traffic:
    """Where the traffic is, as the balancers say, and who moves it. Nothing is changed yet.

    Args:
        fleet, env, owner, facts, moves, groups, stays, ignore_headroom: see `build_context`.
        host_by_host: whether hosts change one by one, out of the traffic.

    Raises:
        SlipwayError: a balancer cannot be read, or does not know a server.
    """
    balancers = balancers_of(env)
    leaving = {host for host, move in moves.items() if move.after is None}
    places = tuple(
        replace(place, leaves=place.host in leaving)
        for place in places_of(
            env, facts, {host: move.slot for host, move in moves.items()}, groups, host_by_host=host_by_host
        )
    )
    running = [host for host, fact in facts.items() if fact.current]
    stay = frozenset() if stays else find_unchanged(places, running, moves)
    if not balancers:
        return NoBalancer(places, stay)
    readings = BalancerReadings(fleet, env, balancers)
    states = readings.read_all()
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
