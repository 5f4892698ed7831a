"""Build the context that carries out a plan: what moves hosts, what moves traffic, what watches."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet, HeldLocks
from playbooks.fleet.lock_owner import LockOwner
from playbooks.rollout.mover import Move, Mover
from playbooks.rollout.rollout import RolloutContext
from playbooks.rollout.sides import Sides
from playbooks.steps.facts import Facts, version_in
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups
from playbooks.traffic.open_traffic import open_traffic


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
    traffic = open_traffic(
        fleet,
        env,
        owner,
        facts,
        {host: move.slot for host, move in moves.items()},
        {host for host, move in moves.items() if move.after is None},
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
