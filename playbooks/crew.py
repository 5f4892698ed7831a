"""Puts together who carries a plan out: who moves hosts, who moves traffic, who watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.environment import Environment
from playbooks.fleet.fleet import Fleet, Held
from playbooks.fleet.holder import Holder
from playbooks.groups import Groups
from playbooks.mover import Move, Mover
from playbooks.observing import observer_of
from playbooks.outcomes import version_of
from playbooks.rollout import Crew
from playbooks.servers import application_hosts, edges_of, server_of
from playbooks.shares import Place, steady
from playbooks.sides import Sides
from playbooks.steps.facts import Facts
from playbooks.steps.traffic_state import EdgeState
from playbooks.strategies.plan import Plan
from playbooks.traffic import HARDLY_UP, UP, Edges, NoBalancer, Traffic, read_edges


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
    traffic = traffic_of(fleet, env, holder, facts, moves, groups)
    sides = Sides(traffic.places, traffic.steady, *_versions(facts, moves, groups))
    watcher = observer_of(fleet, env, traffic, moves, plan, sides, holder.id)
    return Crew(fleet, Mover(fleet, held, env, moves, holder), traffic, watcher)


def _versions(facts: Mapping[str, Facts], moves: Mapping[str, Move], groups: Groups | None) -> tuple[str, str]:
    """The new version and the old one, or what there is of each."""
    new = {version_of(move.after) for move in moves.values() if move.after}
    old = {facts[host].version or "" for host in (groups.serving if groups else moves) if host in facts}
    return ", ".join(sorted(new)), ", ".join(sorted(filter(None, old)))


def traffic_of(
    fleet: Fleet,
    env: Environment,
    holder: Holder,
    facts: Mapping[str, Facts],
    moves: Mapping[str, Move],
    groups: Groups | None = None,
) -> Traffic:
    """Who moves the traffic.

    Args:
        fleet: open sessions, those with the balancers among them.
        env: settings.
        holder: the deploy or rollback.
        facts: of the application's hosts that take part.
        moves: those that change.
        groups: of hosts, if there are any.

    Raises:
        SlipwayError: a balancer cannot be read, or does not know a server.
    """
    edges = edges_of(env)
    places = tuple(places_in_groups(env, facts, groups) if groups else places_of(env, facts, moves))
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


def places_of(env: Environment, facts: Mapping[str, Facts], moves: Mapping[str, Move]) -> list[Place]:
    """The application's hosts as the balancers see them.

    Hosts that --limit leaves out stay what they are. Those that could not be reached are left to the balancers' own
    health checks.
    """
    asked = {target.name for target in env.targets}
    if env.settings.slots:
        return [_slotted(env, fact, moves.get(host)) for host, fact in facts.items()]
    others = [host for host in application_hosts(env) if host not in asked]
    places = []
    for host in [*facts, *others]:
        server = server_of(env, host)
        runs = host in others or facts[host].current is not None
        places.append(Place(host, server if runs else None, server))
    return places


def places_in_groups(env: Environment, facts: Mapping[str, Facts], groups: Groups) -> list[Place]:
    """The same where one group of hosts has the traffic.

    Of that one every host counts, since all of them are to be left; of the other one those that can be reached.
    """
    live = [
        Place(
            host,
            server_of(env, host) if host not in facts or facts[host].current else None,
            server_of(env, host),
            live=True,
        )
        for host in groups.serving
    ]
    return live + [Place(host, None, server_of(env, host), live=False) for host in groups.resting if host in facts]


def _slotted(env: Environment, fact: Facts, move: Move | None) -> Place:
    """A host with two slots. One that turns to slots has its traffic where the new release will be, or nowhere yet."""
    after = (move.slot if move else fact.slot) or next(iter(env.settings.slots))
    before = fact.slot or after
    return Place(
        fact.host,
        server_of(env, fact.host, before) if fact.current else None,
        server_of(env, fact.host, after),
        tuple(server_of(env, fact.host, slot) for slot in env.settings.slots if slot not in (before, after)),
    )


def nobody_up(places: Sequence[Place], states: Sequence[EdgeState]) -> bool:
    """Whether something runs, and no balancer finds it healthy: waiting for servers would be in vain."""
    serving = [place.before.name for place in places if place.before]
    seen = [state.servers[name].up for state in states for name in serving if name in state.servers]
    return bool(seen) and not any(up is not False for up in seen)


def closed_by_hand(places: Sequence[Place], states: Sequence[EdgeState]) -> frozenset[str]:
    """Servers that serve, as far as we are concerned, and that somebody has put out of every balancer."""
    serving = [place.before.name for place in places if place.before]
    return frozenset(
        name
        for name in serving
        if states and all(name in state.servers and state.servers[name].admin != "on" for state in states)
    )
