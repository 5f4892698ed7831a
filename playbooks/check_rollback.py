"""A rollback's dry run: what each host would go back to, and from where. It takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from playbooks.backups.making import backup_hosts, everybody
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
from playbooks.rollback import backups_of, changing, of_databases, require_sense, takes_the_place
from playbooks.rollout.planning.rollback_target import choose_targets, heed_changes
from playbooks.rollout.planning.strategy import plan_rollback
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts, version_in
from playbooks.strategies.plan import Stage
from playbooks.traffic.groups import read_groups, require_whole
from playbooks.traffic.servers import balancers_of


@dataclass(frozen=True)
class HostBack:
    """What a rollback would do to one host.

    Args:
        before, after: versions; None where nothing runs.
        release: the id of what it would run.
        actions: in order, as sentences; empty where it stays as it is.
        problems: what would end the rollback before it touches anything, or leave this host out of it.
    """

    host: str
    before: str | None
    after: str | None
    release: str | None
    actions: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RollbackCheck(Answer):
    """The whole dry run.

    Args:
        stages: which hosts change at the same time, as sentences.
        databases: what would become of them, as sentences.
        warnings: what a person should know before.
    """

    strategy: str
    stages: tuple[str, ...]
    hosts: tuple[HostBack, ...]
    databases: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    check: bool = True

    @property
    def exit_status(self) -> ExitStatus:
        """1 when the rollback would refuse to begin, or leave hosts out."""
        return ExitStatus.FAILED if self.problems else ExitStatus.DONE


def check_rollback(env: Environment, back: RollbackRequest, progress: Progress) -> RollbackCheck:
    """Say what a rollback would do.

    Args:
        env: where.
        back: to what.
        progress: who watches.

    Raises:
        UsageError: there is nothing to go back to, or a group of hosts is not whole.
    """
    require_sense(env, back)
    require_whole(env)
    balancers = balancers_of(env)
    names = [*(everybody(env) if back.with_database else (target.name for target in env.targets)), *balancers]
    addresses = [env.target(name).address for name in dict.fromkeys(names)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        apps = [target for target in env.targets if target.name in fleet.remotes]
        if not apps:
            fleet.require_all()
        facts = read_all(fleet, env, apps)
        groups = read_groups(fleet, env)
        left = interrupted(facts)
        targets = choose_targets(env, groups, facts, back.to, left)
        warnings = heed_changes(facts, targets, back.to, with_database=back.with_database)
        warnings += [] if back.with_database else of_databases(env, facts, targets)
        todo = changing(facts, targets, anew=groups is not None)

        def look(remote: Remote) -> Checked:
            return check_release(remote, env.target(remote.name).settings, str(todo[remote.name]))

        wanted = [host for host, release in todo.items() if release]
        checked = fleet.each("check", look, hosts=wanted).all_or_raise("finding the release")
        damaged = [host for host, found in checked.items() if not found.intact]
        restoring = [host for host in damaged if backups_of(facts[host], str(todo[host]))]
        closed = repositories(fleet, env, restoring) if restoring else {}
        databases, lacking = _databases(fleet, env, targets, back) if back.with_database else ((), ())
    turning = any(takes_the_place(facts[host], found.slot) for host, found in checked.items())
    plan = plan_rollback(env, list(todo), back.batch, turning=turning or len(checked) < len(todo), back=bool(targets))
    hosts = tuple(_host(fact, targets.get(host, fact.current), todo, checked.get(host)) for host, fact in facts.items())
    told = [
        *(f"{host.host}: {problem}" for host in hosts for problem in host.problems),
        *(f"{host}: {problem}" for host, judged in closed.items() for problem in judged.problems),
        *(f"{host} cannot be reached, and would be left out: {error}" for host, error in fleet.unreachable.items()),
        *lacking,
    ]
    return RollbackCheck(
        environment=env.name,
        strategy=plan.strategy,
        stages=tuple(_stage(stage) for stage in plan.stages),
        hosts=hosts,
        databases=tuple(databases),
        problems=tuple(told),
        warnings=tuple(warnings),
    )


def _stage(stage: Stage) -> str:
    return f"{stage.name}: {', '.join(stage.hosts)}" if stage.hosts else stage.name


def _host(facts: Facts, target: str | None, todo: Mapping[str, str | None], checked: Checked | None) -> HostBack:
    after = version_in(target) if target else None
    changes = facts.host in todo
    return HostBack(
        host=facts.host,
        before=facts.ran,
        after=after,
        release=target,
        actions=tuple(_actions(facts, target, checked)) if changes else (),
        problems=tuple(_problems(facts, target, checked)) if changes else (),
    )


def _actions(facts: Facts, target: str | None, checked: Checked | None) -> Iterator[str]:
    if target is None or checked is None:
        yield "stop the application: nothing ran before"
        return
    if not checked.intact:
        records = backups_of(facts, target)
        if not records:
            return
        yield f"restore {target} from backup {records[0].get('id')}, since on the host it is {_state(checked)}"
    beside = checked.slot is not None and facts.slot not in (None, checked.slot)
    yield f"start {target} in slot {checked.slot}, beside what runs" if beside else f"switch to {target}, by a rename"


def _state(checked: Checked) -> str:
    return "gone" if checked.verdict == "absent" else f"{checked.verdict}: {checked.reason}"


def _problems(facts: Facts, target: str | None, checked: Checked | None) -> Iterator[str]:
    if target and checked and not checked.intact and not backups_of(facts, target):
        yield f"{target} is {_state(checked)}, and no backup has it"
    if facts.lock:
        yield f"{facts.lock.who} holds the lock for '{facts.lock.what}' since {facts.lock.since}"


def _databases(
    fleet: Fleet, env: Environment, targets: Mapping[str, str | None], back: RollbackRequest
) -> tuple[list[str], list[str]]:
    """What would be brought back, and what keeps that from being done."""
    fleet.require_all()
    facts = fleet.each("backups", partial(facts_of, env), hosts=backup_hosts(env)).all_or_raise("reading backups")
    releases = {host: release for host, release in targets.items() if release}
    try:
        chosen = choose_dumps(env, facts, releases, back.to)
    except UsageError as error:
        return [], [error.message]
    told = [
        f"{name} as it is in backup {record.get('id')}; what is there now is kept under another name"
        for name, record in chosen.items()
    ]
    return told, []
