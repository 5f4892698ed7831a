"""Dry-run a deploy (A7): list each host's actions and diffs. It takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from playbooks.backups.making import hosts_with_data
from playbooks.checks.judged import CheckVerdict
from playbooks.checks.preflight import before_any_host, look_over, repositories
from playbooks.core.artifact import Release
from playbooks.core.clock import now
from playbooks.core.errors import ExitStatus
from playbooks.core.requests import DeployRequest
from playbooks.core.states import GuardState
from playbooks.core.step_codes import StepCode
from playbooks.deploy import plan_for, refuse_adoption
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.environments.targets import Target
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.releases.choosing import choose_anew
from playbooks.releases.difference import differences
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.members import begin_reading
from playbooks.releases.render import Rendered, new_release
from playbooks.releases.renderings import Renderings, for_next, render_all, slot_change_warnings
from playbooks.rollout.databases.allowing import (
    left_by_later,
    obstacles,
    outside_windows,
    rehearsed_by_deploy,
    unrehearsed,
)
from playbooks.rollout.databases.contracts import contracts_for_deploy
from playbooks.rollout.databases.jobs import PlannedMigration, contract_jobs, expand_jobs, planned_migration
from playbooks.rollout.databases.reading import DatabaseMigrations, compared, from_artifact, migrating_hosts
from playbooks.rollout.databases.tools import PlannedTool, planned_tools
from playbooks.rollout.planning.outdated_hosts import outdated_hosts
from playbooks.rollout.planning.preview import Planned, planned, waits
from playbooks.rollout.run_once import once_sentence
from playbooks.settings import Settings
from playbooks.steps.adopt import adopt
from playbooks.steps.drift import drift_sentences
from playbooks.steps.facts import Facts, as_adopted
from playbooks.steps.rendered import OnHost, read_rendered
from playbooks.steps.traffic import HINTS
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups, read_groups
from playbooks.traffic.registration import unprovisioned
from playbooks.traffic.servers import balancers_of
from playbooks.traffic.traffic import read_balancers


@dataclass(frozen=True)
class HostPlan:
    """The planned actions on one host.

    Args:
        before, after: the versions; after is None if the host is unknown or a balancer's.
        actions: the actions in order, as sentences; empty if the host is up to date.
        diffs: unified diffs of rendered files, with secrets struck out.
        problems: why the deploy would stop before it changes anything.
        drift: changes by hand in the running release.
        warnings: warnings for a person.
        hint: what to do about the problems.
    """

    host: str
    before: str | None
    after: str | None
    actions: tuple[str, ...]
    diffs: tuple[str, ...]
    problems: tuple[str, ...]
    drift: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True)
class DeployCheck:
    """The dry run of a deploy.

    Args:
        before: the actions before any host switches, besides staging; empty for none.
        migrations: what would be done to the databases then; None if that is known only when hosts have the artifact.
        tools: the runs of the application's own migration tools then.
        databases: why a database cannot be migrated.
        rehearses: why the deploy rehearses its migrations first; empty if it does not.
    """

    schema: ClassVar[str] = "slipway.check-deploy/1"
    environment: str
    version: str
    artifact: str
    why: str
    sha256: str
    strategy: str
    stages: tuple[Planned, ...]
    hosts: tuple[HostPlan, ...]
    before: str = ""
    migrations: tuple[PlannedMigration, ...] | None = ()
    tools: tuple[PlannedTool, ...] = ()
    databases: tuple[str, ...] = ()
    rehearses: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Return all problems that would stop the deploy before it changes anything."""
        return [*(f"{host.host}: {problem}" for host in self.hosts for problem in host.problems), *self.databases]

    @property
    def exit_status(self) -> ExitStatus:
        """Return 1 if the deploy would refuse to begin."""
        return ExitStatus.FAILED if self.problems else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "check": True,
            **asdict(replace(self, stages=())),
            "stages": [stage.to_json() for stage in self.stages],
            "exit_status": int(self.exit_status),
        }


def check(env: Environment, wanted: DeployRequest, progress: Progress) -> DeployCheck:
    """Find out what a deploy would do.

    Args:
        env: the environment.
        wanted: the deploy request.
        progress: receives what to show a person.

    Raises:
        UsageError, ConfigError: the deploy would fail before it reached a host.
    """
    release = new_release(find_artifact(env, version=wanted.version, artifact=wanted.artifact, sha256=wanted.sha256))
    renderings = render_all(env, release)
    intended = plan_for(env, wanted, [target.name for target in env.targets])
    held_by_artifact = before_any_host(env, release, intended, progress.warn)
    balancers = balancers_of(env)
    members = hosts_with_data(env)
    names = list(dict.fromkeys([*members, *migrating_hosts(env), *balancers]))
    addresses = [env.target(name).address for name in names]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        reached = [target for target in env.targets if target.name in fleet.remotes]
        facts = read_all(fleet, env, reached, drift=True)
        refuse_adoption(env, facts)
        if release.artifact.why:  # no version was named
            chosen = choose_anew(fleet, env, facts, release.artifact, wanted.sha256)
            if chosen != release.artifact:
                release = new_release(chosen)
                renderings, held_by_artifact = render_all(env, release), begin_reading(chosen)
        groups = read_groups(fleet, env)
        states = (
            groups.balancers
            if groups
            else read_balancers(fleet, env, [name for name in balancers if name in fleet.remotes])
        )

        def one(remote: Remote) -> OnHost:
            host = remote.name
            if folder := facts[host].foreign_release:
                adopt(remote, env.target(host).settings, folder, for_next(renderings, facts)[host].start, look=True)
            return read_rendered(remote, env.target(host).settings)

        there = fleet.each("rendered", one, hosts=[target.name for target in reached]).all_or_raise("reading")
        judged = dict(look_over(fleet, env, reached, facts, release, renderings, held_by_artifact(), known=False))
        for host, found in repositories(fleet, env, [name for name in members if name in fleet.remotes]).items():
            judged[host] = judged.get(host, CheckVerdict()) + found
        migrated = _databases(fleet, env, release)
        unready = obstacles(migrated or [])
        contracts = contract_jobs(contracts_for_deploy(fleet, env, facts, migrated or []))
        for told in left_by_later(migrated or [], release.version):
            progress.warn(told)
        rehearses: list[str] = []
        if migrated and not wanted.overrule:
            closed, against = outside_windows(migrated, now()), unrehearsed(fleet, env, migrated, facts)
            by_itself = not closed and rehearsed_by_deploy(migrated, against)
            unready += [f"{name}: {why}" for name, why in closed]
            (rehearses if by_itself else unready).extend(f"{name}: {why}" for name, why in against)
    facts = {host: as_adopted(fact) for host, fact in facts.items()}
    todo = outdated_hosts(reached, facts, groups, release, renderings, force=wanted.force)
    plan = plan_for(env, wanted, [target.name for target in todo], facts)
    first = todo[0].name if todo else None
    lines = [
        _stays(target, facts[target.name], groups)
        if groups and todo and target not in todo
        else _host(
            env, target, release, renderings, facts, there, plan, judged[target.name], first=target.name == first
        )
        for target in reached
    ]
    others = [
        HostPlan(host, None, None, (), (), found.problems, warnings=found.warnings, hint=found.hint)
        for host, found in judged.items()
        if host not in facts
    ]
    gone = [
        HostPlan(host, None, None, (), (), (error.message,), hint=error.hint)
        for host, error in fleet.unreachable.items()
    ]
    in_front = [
        HostPlan(host, None, None, (), (), tuple(told), hint=HINTS[StepCode.UNKNOWN_SERVER])
        for host, told in unprovisioned(env, list(states.values())).items()
    ]
    return DeployCheck(
        environment=env.name,
        version=release.version,
        artifact=release.artifact.source,
        why=release.artifact.why,
        sha256=release.artifact.sha256,
        strategy=plan.strategy,
        stages=planned(env, plan, _side_by_side(for_next(renderings, facts), facts)),
        hosts=(*lines, *others, *gone, *in_front),
        before=once_sentence(first, for_next(renderings, facts)[first]) if first else "",
        migrations=None
        if migrated is None
        else tuple(planned_migration(job) for job in (*expand_jobs(migrated), *contracts)),
        tools=tuple(planned_tools(env, first)),
        databases=tuple(unready),
        rehearses=tuple(rehearses),
    )


def _databases(fleet: Fleet, env: Environment, release: Release) -> list[DatabaseMigrations] | None:
    """Compare the release's migrations with the databases; None if only hosts can read the artifact."""
    migrations = from_artifact(env, release.artifact)
    # A host that is not reached is a problem already.
    if not migrations or not fleet.remotes.keys() >= set(migrating_hosts(env)):
        return None if migrations is None else []
    return compared(fleet, env, migrations)


def _stays(target: Target, facts: Facts, groups: Groups) -> HostPlan:
    told = f"keep {facts.version or 'nothing'} for the way back: {groups.live} has the traffic until it moves"
    return HostPlan(target.name, facts.version, facts.version or "nothing", (told,), (), ())


def _host(
    env: Environment,
    target: Target,
    release: Release,
    renderings: Mapping[str, Renderings],
    facts: Mapping[str, Facts],
    there: Mapping[str, OnHost],
    plan: Plan,
    judged: CheckVerdict,
    *,
    first: bool,
) -> HostPlan:
    name = target.name
    rendered = for_next(renderings, facts)[name]
    # With slots, compare the one that runs, because the two slots always differ.
    compared = renderings[name].get(facts[name].slot, rendered)
    current = f"{target.settings.home}/current"
    places = {f"{target.settings.home}/releases/{id_}": current for id_ in (release.id, facts[name].current)}
    stage = next((stage.name for stage in plan.stages if name in stage.hosts), None)
    actions = (
        ()
        if stage is None
        else deploy_actions(target.settings, release, rendered, facts[name], there[name], stage, first=first)
    )
    return HostPlan(
        host=name,
        before=facts[name].current_version,
        after=release.version,
        actions=actions,
        diffs=tuple(differences(compared, there[name], places, env.secrets.mask)),
        problems=(*judged.problems, *_held_up(facts[name])),
        drift=drift_sentences(facts[name].drift),
        warnings=judged.warnings,
        hint=judged.hint,
    )


def _held_up(facts: Facts) -> tuple[str, ...]:
    if facts.lock:
        return (f"{facts.lock.who} holds the lock for '{facts.lock.what}' since {facts.lock.since}",)
    if facts.guard and facts.guard.state != GuardState.STUCK:
        return (f"the guard of {facts.guard.id}, whose controller is silent, has not done its work yet",)
    return ()


def deploy_actions(
    settings: Settings,
    release: Release,
    rendered: Rendered,
    facts: Facts,
    there: OnHost,
    stage: str,
    *,
    first: bool,
) -> tuple[str, ...]:
    """Return the actions on a host, in order, as sentences.

    Args:
        settings: the host's settings.
        release, rendered: the release that it would run, and its rendering.
        facts, there: the host's facts and rendered files.
        stage: the stage in which it changes.
        first: whether hooks with `once` run on this host.
    """
    side_by_side = bool(_side_by_side({facts.host: rendered}, {facts.host: facts}))
    port = rendered.slot.port if rendered.slot else None
    hooks = {moment: [hook for hook in some if first or not hook.once] for moment, some in rendered.hooks.items()}
    before = hooks["before_switch"]
    steps = [
        *slot_change_warnings({facts.host: facts}, {facts.host: rendered}),
        f"adopt releases/{facts.foreign_release} as {facts.current}, for the way back" if facts.foreign_release else "",
        f"back up release {facts.intact_current}" if settings.backup.enabled and facts.intact_current else "",
        f"fetch {release.artifact.url}" if release.artifact.url else f"upload {release.artifact.size:,} bytes",
        f"unpack to {settings.home}/releases/{release.id}",
        *(f"install hook: {hook.name or hook.run}" for hook in hooks["install"]),
        *(f"write {name}" for name in rendered.files),
        *(f"before_switch hook, before any host switches: {hook.name or hook.run}" for hook in before if hook.once),
        *(f"in '{stage}', before_switch hook: {hook.name or hook.run}" for hook in before if not hook.once),
        f"in '{stage}': {_change(settings, facts, side_by_side=side_by_side)}",
        *_unit_actions(rendered, facts, there, side_by_side=side_by_side),
        *(f"after_switch hook: {hook.name or hook.run}" for hook in hooks["after_switch"]),
        settings.health.unproven if settings.services else "",
        *waits(settings, port, release.version),
    ]
    return tuple(step for step in steps if step)


def _side_by_side(rendered: Mapping[str, Rendered], facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return the hosts where the new release starts in an idle slot, with that slot."""
    return {host: slot.name for host, fact in facts.items() if (slot := rendered[host].slot) and fact.slot}


def _change(settings: Settings, facts: Facts, *, side_by_side: bool) -> str:
    if settings.groups and facts.current:
        return "start it with no traffic on the host; the other group goes on serving until the traffic moves"
    if side_by_side:
        return "start it beside the old one, which goes on serving until the traffic moves"
    return f"{'take the host out of the traffic, ' if settings.balancer else ''}point {settings.home}/current to it"


def _unit_actions(rendered: Rendered, facts: Facts, there: OnHost, *, side_by_side: bool) -> Iterator[str]:
    open_now = {unit.name for unit in facts.units if unit.active == "active"}
    slot = rendered.slot
    if not side_by_side and (gone := [unit.name for unit in facts.units if unit.name not in rendered.start]):
        yield f"stop {', '.join(gone)}"
    if slot and facts.idle and facts.idle.slot == slot.name:
        yield f"stop {facts.idle.release}, which is kept in slot {slot.name}"
    for unit in rendered.start:
        name, _, kind = unit.rpartition(".")
        if slot and unit in rendered.units and name.endswith(f"@{slot.name}"):
            yield f"start {unit} on port {slot.port}{'; what runs in the other slot runs on' if side_by_side else ''}"
            continue
        if kind == "service":
            yield f"{'reload' if unit in rendered.reload else 'restart'} {unit}"
            continue
        file = f"{name.partition('@')[0]}@.socket" if "@" in name else unit
        if unit not in open_now:
            yield f"open {unit}, with {name}.service stopped before: systemd opens no socket whose service runs"
        elif there.units.get(file) == rendered.units[file]:
            yield f"leave {unit} open"
        else:
            yield f"stop {name}.service and open {unit} again, since it has changed: until then clients are refused"
