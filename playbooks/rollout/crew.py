"""Puts together who carries a plan out: who moves hosts, who moves traffic, who watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.environment import Environment
from playbooks.fleet.fleet import Fleet, Held
from playbooks.fleet.holder import Holder
from playbooks.rollout.mover import Move, Mover
from playbooks.rollout.outcomes import version_of
from playbooks.rollout.rollout import Crew
from playbooks.rollout.sides import Sides
from playbooks.steps.facts import Facts
from playbooks.steps.traffic import Server
from playbooks.steps.traffic_state import EdgeState
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups
from playbooks.traffic.places import places_of
from playbooks.traffic.servers import edges_of
from playbooks.traffic.shares import Place, steady
from playbooks.traffic.traffic import HARDLY_UP, UP, Edges, NoBalancer, Traffic, read_edges


def assemble(
    fleet: Fleet,
    held: Held,
    env: Environment,
    holder: Holder,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    plan: Plan,
    groups: Groups | None = None,
) -> Crew:
    """Everybody who is needed to carry out a plan.

    Args:
        fleet: open sessions, those with the balancers among them.
        held: the locks.
        env: settings and secrets.
        holder: the deploy or rollback.
        facts: of the application's hosts that take part.
        moves: those that change.
        plan: what is to be done.
        groups: of hosts, if there are any.

    Raises:
        SlipwayError: a balancer cannot be read, or does not know a server.
    """
    traffic = _traffic(fleet, env, holder, facts, moves, groups)
    watcher = None
    if plan.watches:
        # Sources of numbers and tests of them: no other deploy need load those.
        from playbooks.rollout.observing import observer_of

        sides = Sides(traffic.places, traffic.steady, *_versions(facts, moves, groups))
        watcher = observer_of(fleet, env, traffic, moves, plan, sides, holder.id)
    return Crew(fleet, Mover(fleet, held, env, moves, holder), traffic, watcher)


def _versions(facts: Mapping[str, Facts], moves: Mapping[str, Move], groups: Groups | None) -> tuple[str, str]:
    """The new version and the old one, or what there is of each."""
    new = {version_of(move.after) for move in moves.values() if move.after}
    old = {facts[host].version or "" for host in (groups.serving if groups else moves) if host in facts}
    return ", ".join(sorted(new)), ", ".join(sorted(filter(None, old)))


def _traffic(
    fleet: Fleet,
    env: Environment,
    holder: Holder,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    groups: Groups | None,
) -> Traffic:
    edges = edges_of(env)
    places = places_of(env, facts, {host: move.slot for host, move in moves.items()}, groups)
    stay = steady(places, facts, moves)
    if not edges:
        return NoBalancer(places, stay)
    states = groups.edges if groups else read_edges(fleet, env, edges)
    closed = closed_by_hand(places, list(states.values()))
    for name in sorted(closed):
        fleet.progress.warn(f"{name} was put out of the balancer by hand, and stays so")
    up = HARDLY_UP if (down := nobody_up(places, list(states.values()))) else UP
    if down and env.settings.balancer:
        asked = env.settings.balancer.health_path
        fleet.progress.warn(
            f"no balancer has a server up: nothing that runs answers its health check, {asked}, with 200"
        )
    return Edges(fleet, env, holder, edges, places, stay, closed, up)


def nobody_up(places: Sequence[Place], states: Sequence[EdgeState]) -> bool:
    """Whether something runs, and no balancer finds it healthy: waiting for servers would be in vain."""
    serving = [place.before.name for place in places if place.before]
    seen = [state.servers[name].up for state in states for name in serving if name in state.servers]
    return bool(seen) and not any(up is not False for up in seen)


def closed_by_hand(places: Sequence[Place], states: Sequence[EdgeState]) -> frozenset[str]:
    """Servers that serve, as far as we are concerned, and that somebody has put out of every balancer.

    Where the host's other slot has its traffic nobody has: a controller died just as its deploy was being confirmed.
    Nor where we have done it ourselves, and said so: a task that stops for a host leaves it out until the next one.
    """

    def gets(server: Server) -> bool:
        return any(server.name in state.servers and state.servers[server.name].admin == "on" for state in states)

    return frozenset(
        place.before.name
        for place in places
        if place.before
        and states
        and all(place.before.name in state.servers and state.servers[place.before.name].drift for state in states)
        and not any(gets(server) for server in (place.before, place.after, *place.others))
    )
