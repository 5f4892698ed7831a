"""Dry-run a rollback: list each host's target and its source. It takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from playbooks.backups.making import backup_hosts, hosts_with_data
from playbooks.checks.preflight import repositories
from playbooks.core.answer import Answer
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.requests import RollbackRequest
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of, interrupted, read_all
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.restore import choose_dumps
from playbooks.rollback import (
    backups_of,
    changing,
    database_warnings,
    moves_of,
    owner_of,
    refuse_removed_slots,
    takes_the_place,
    validate_request,
    way_on,
)
from playbooks.rollout.databases.contracts import refuse_past_contracts
from playbooks.rollout.databases.reading import migrating_hosts
from playbooks.rollout.mover import Move
from playbooks.rollout.planning.preview import waits
from playbooks.rollout.planning.reachability import require_balancers
from playbooks.rollout.planning.rollback_target import choose_targets, refuse_changed_backup
from playbooks.rollout.planning.strategy import adjust_for_traffic, plan_rollback
from playbooks.settings import Settings
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts, version_in
from playbooks.strategies.plan import Plan, Stage, percent
from playbooks.traffic.groups import Groups, read_groups, require_whole
from playbooks.traffic.open_traffic import open_traffic
from playbooks.traffic.servers import balancers_of


@dataclass(frozen=True)
class HostBack:
    """The planned rollback of one host.

    Args:
        before, after: the versions; None if nothing runs.
        release: the id of the release that it would run.
        actions: the actions in order, as sentences; empty if nothing changes.
        problems: why the rollback would stop before it changes anything, or leave this host out.
    """

    host: str
    before: str | None
    after: str | None
    release: str | None
    actions: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RollbackCheck(Answer):
    """The dry run of a rollback.

    Args:
        stages: the hosts that change at the same time, as sentences.
        databases: what would happen to the databases, as sentences.
        warnings: warnings for a person.
    """

    schema: ClassVar[str] = "slipway.check-rollback/1"
    strategy: str
    stages: tuple[str, ...]
    hosts: tuple[HostBack, ...]
    databases: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    check: bool = True

    @property
    def exit_status(self) -> ExitStatus:
        """Return 1 if the rollback would refuse to begin, or leave hosts out."""
        return ExitStatus.FAILED if self.problems else ExitStatus.DONE


def check_rollback(env: Environment, back: RollbackRequest, progress: Progress) -> RollbackCheck:
    """Find out what a rollback would do.

    Args:
        env: the environment.
        back: the rollback request.
        progress: receives what to show a person.

    Raises:
        UsageError: there is no release to go back to, or a group of hosts is incomplete.
        SlipwayError: a balancer cannot be read, or does not know a server. The rollback would fail in the same way.
    """
    validate_request(env, back)
    require_whole(env)
    balancers = balancers_of(env)
    names = [*(hosts_with_data(env) if back.with_database else (target.name for target in env.targets)), *balancers]
    asked = [] if back.with_database else migrating_hosts(env)
    addresses = [env.target(name).address for name in dict.fromkeys([*names, *asked])]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        apps = [target for target in env.targets if target.name in fleet.remotes]
        require_balancers(fleet, env)
        if not apps:
            fleet.require_all()
        facts = read_all(fleet, env, apps)
        groups = read_groups(fleet, env)
        left = interrupted(facts)
        targets = choose_targets(env, groups, facts, back.to, left)
        warnings = refuse_changed_backup(facts, targets, back.to, with_database=back.with_database)
        warnings += [] if back.with_database else database_warnings(env, facts, targets)
        todo = changing(facts, targets, anew=groups is not None)
        kept = {host: release for host, release in targets.items() if release in facts[host].releases}
        warnings += [] if back.with_database else refuse_past_contracts(fleet, env, facts, kept)

        def look(remote: Remote) -> Checked:
            return check_release(remote, env.target(remote.name).settings, str(todo[remote.name]))

        wanted = [host for host, release in todo.items() if release]
        checked = fleet.each("check", look, hosts=wanted).all_or_raise("finding the release")
        damaged = [host for host, found in checked.items() if not found.intact]
        restoring = [host for host in damaged if backups_of(facts[host], str(todo[host]))]
        closed = repositories(fleet, env, restoring) if restoring else {}
        databases, lacking = _databases(fleet, env, targets, back) if back.with_database else ((), ())
        moves = moves_of(facts, todo, checked)
        refuse_removed_slots(env, {host: move.slot for host, move in moves.items()}, targets)
        in_place = any(takes_the_place(facts[host], move.slot) for host, move in moves.items())
        plan = plan_rollback(env, list(moves), back.batch, in_place=in_place, back=bool(targets))
        stays = groups is not None and not plan.stages
        owner, alone = owner_of(back, left), plan.host_by_host
        slots = {host: move.slot for host, move in moves.items()}
        leaving = {host for host, move in moves.items() if move.after is None}
        traffic = open_traffic(
            fleet, env, owner, facts, slots, leaving, groups, stays=stays, host_by_host=alone, ignore_headroom=True
        )
        partially_shifted = frozenset() if groups else traffic.partially_shifted
        plan = adjust_for_traffic(plan, list(moves), misrouted=traffic.misrouted, partially_shifted=partially_shifted)
    hosts = tuple(
        _host(env, fact, targets.get(host, fact.current), moves.get(host), checked.get(host), plan, groups)
        for host, fact in facts.items()
    )
    gone = {host: error for host, error in fleet.unreachable.items() if host in names}
    told = [
        *(f"{host.host}: {problem}" for host in hosts for problem in host.problems),
        *(f"{host}: {problem}" for host, judged in closed.items() for problem in judged.problems),
        *(f"{host} cannot be reached, and would be left out: {error}" for host, error in gone.items()),
        *lacking,
    ]
    return RollbackCheck(
        environment=env.name,
        strategy=plan.strategy,
        stages=tuple(_stage(stage, groups) for stage in plan.stages),
        hosts=hosts,
        databases=tuple(databases),
        problems=tuple(told),
        warnings=tuple(warnings),
    )


def _stage(stage: Stage, groups: Groups | None) -> str:
    if stage.share:
        part = "all" if stage.share >= 1 else percent(stage.share)
        moves = f"{part} of the traffic goes to {groups.idle if groups else 'what they go back to'}"
        return f"{stage.name}: {', '.join(stage.hosts)}; {moves}" if stage.hosts else moves
    return f"{stage.name}: {', '.join(stage.hosts)}" if stage.hosts else stage.name


def _host(
    env: Environment,
    facts: Facts,
    target: str | None,
    move: Move | None,
    checked: Checked | None,
    plan: Plan,
    groups: Groups | None,
) -> HostBack:
    settings = env.target(facts.host).settings
    leaves = groups is not None and bool(plan.stages) and facts.host in groups.live_hosts
    actions = rollback_actions(settings, facts, move, checked, plan) if move else _left(facts) if leaves else ()
    return HostBack(
        host=facts.host,
        before=facts.current_version,
        after=version_in(target) if target else None,
        release=target,
        actions=tuple(actions),
        problems=tuple(_problems(facts, target, checked)) if move else (),
    )


def _left(facts: Facts) -> Iterator[str]:
    """Plan a host of the group that the traffic leaves."""
    yield f"keep {facts.current or 'nothing'}, without traffic, and stop its units after slipway_keep_idle"


def rollback_actions(
    settings: Settings, facts: Facts, move: Move, checked: Checked | None, plan: Plan
) -> Iterator[str]:
    """Return the actions on a host that changes, in order, as sentences.

    Args:
        settings: the host's settings.
        facts: the host's facts.
        move: the present release and the target.
        checked: the check of the target release on the host; None if the target is no release.
        plan: the rollout's plan.
    """
    out = "take the host out of the traffic" if settings.balancer and plan.host_by_host and facts.current else ""
    stopped = [unit for unit in move.units_before if unit not in move.units]
    target = move.after
    if target is None or checked is None:
        yield from filter(None, [out, f"stop {', '.join(stopped)}: nothing ran before" if stopped else "stop it"])
        return
    if not checked.intact:
        records = backups_of(facts, target)
        if not records:
            return
        yield f"restore {target} from backup {records[0].get('id')}, since on the host it is {_state(checked)}"
        yield from filter(None, [out, f"switch to {target}, by a rename, with its units"])
        yield from waits(settings, None, version_in(target))
        return
    port = settings.slots.get(checked.slot) if checked.slot else None
    at = f" on port {port}" if port else ""
    if facts.current and not takes_the_place(facts, checked.slot):
        is_kept = facts.idle is not None and facts.idle.release == target
        kept = f", where it is kept{',' if at else ''}" if is_kept else ""
        beside = f", beside what runs in slot {facts.slot}"
        yield f"start {target} in slot {checked.slot}{kept}{at}{beside}, which goes on serving until the traffic moves"
        yield from waits(settings, port, version_in(target))
        yield f"once it has moved: stop what runs in slot {facts.slot} ({', '.join(stopped) or facts.current})"
        return
    if out:
        yield out
    place = f"in slot {checked.slot}" if checked.slot else "in place"
    if facts.current and bool(facts.slot) != bool(checked.slot):
        yield f"stop what runs {f'in slot {facts.slot}' if facts.slot else 'in place'} ({', '.join(stopped)})"
        stopped = []
    yield f"switch to {target}, by a rename" + (f"; it runs {place}" if settings.slots or checked.slot else "")
    if stopped:
        yield f"stop {', '.join(stopped)}"
    for word, known in (("restart", True), ("start", False)):
        units = [unit for unit in move.units if (unit in move.units_before) == known and unit.endswith(".service")]
        if units:
            yield f"{word} {', '.join(units)}{at}"
    yield from waits(settings, port, version_in(target))


def _state(checked: Checked) -> str:
    return "gone" if checked.verdict == "absent" else f"{checked.verdict}: {checked.reason}"


def _problems(facts: Facts, target: str | None, checked: Checked | None) -> Iterator[str]:
    if target and checked and not checked.intact and not backups_of(facts, target):
        yield f"{target} is {_state(checked)}, and no backup contains it; {way_on(facts, target)}"
    if facts.lock:
        yield f"{facts.lock.who} holds the lock for '{facts.lock.what}' since {facts.lock.since}"


def _databases(
    fleet: Fleet, env: Environment, targets: Mapping[str, str | None], back: RollbackRequest
) -> tuple[list[str], list[str]]:
    """Return which databases would be restored, and what prevents it."""
    fleet.require_all()
    facts = fleet.each("backups", partial(facts_of, env), hosts=backup_hosts(env)).all_or_raise("reading backups")
    releases = {host: release for host, release in targets.items() if release}
    try:
        chosen = choose_dumps(env, facts, releases, back.to)
    except UsageError as error:
        return [], [error.message]
    methods = {database.name: database.backup.method for database in env.settings.databases}
    kept = {
        "dump": "what is there now is kept under another name",
        "pgbackrest": "its whole cluster goes there, and what is there now is backed up first",
        "command": "what is there now is backed up first",
    }
    told = [f"{name} as it is in backup {record.get('id')}; {kept[methods[name]]}" for name, record in chosen.items()]
    return told, []
