"""Deploy a version (A1 to A9): stage it on every host, switch batch by batch, take the fleet back on failure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from playbooks.backups.making import back_up_afterwards, hosts_with_data
from playbooks.checks.preflight import before_any_host, look_over, require_good
from playbooks.core.artifact import Release
from playbooks.core.clock import now
from playbooks.core.counting import counted
from playbooks.core.errors import ANY_ENV, Interrupted, MigrationsRefused, SlipwayError, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.requests import DeployRequest
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import all_or_hint, drifted, facts_after_deploy, odd, read_all, read_changed
from playbooks.environments.lock_requests import lock_requests
from playbooks.environments.targets import Target
from playbooks.fleet.fleet import Fleet, HeldLocks, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote, StepCall
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.rehearse import RehearsalRequest, rehearse
from playbooks.releases.choosing import choose_anew, passed_over
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.members import begin_reading
from playbooks.releases.render import later_than, new_release
from playbooks.releases.renderings import for_next, render_all, slot_change_warnings
from playbooks.rollout.context import build_context
from playbooks.rollout.databases.allowing import (
    outside_windows,
    rehearsed_by_deploy,
    require_ready,
    unrehearsed,
)
from playbooks.rollout.databases.deploying import (
    look_at_databases,
    migrate_by_tools,
    migrate_databases,
    take_migrations_back,
)
from playbooks.rollout.databases.jobs import Done
from playbooks.rollout.databases.reading import compared, from_artifact, migrating_hosts
from playbooks.rollout.databases.tools import ToolDone
from playbooks.rollout.mover import Move
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.planning.outdated_hosts import outdated_hosts
from playbooks.rollout.planning.reachability import reachable_targets
from playbooks.rollout.planning.strategy import plan_deploy
from playbooks.rollout.recording import sealed, write_down
from playbooks.rollout.rollout import HostState, Rollout, RolloutContext, request_summary, roll_out
from playbooks.rollout.run_once import run_once
from playbooks.rollout.runs import Deployment
from playbooks.rollout.staging import back_up_and_stage
from playbooks.rollout.summary import abandoned, deployed, unchanged, without
from playbooks.steps.adopt import adopt
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Finished, Mark, finish
from playbooks.steps.idle import idle_host_call, leave_slot
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import read_groups
from playbooks.traffic.servers import balancers_of, metrics_hosts
from playbooks.traffic.traffic import fail_over

NOTHING_SWITCHED = "before the first host switched: every one runs what it ran before"
STAGED = f"invoke deploy {ANY_ENV} --resume goes on with it; a deploy of another version removes what was staged"
MARKS: dict[HostState, Mark] = {HostState.DEPLOYED: "proven", HostState.UNTOUCHED: "discarded"}


def deploy(env: Environment, wanted: DeployRequest, progress: Progress) -> Outcome:
    """Deploy a version. A problem before the first host switches is raised, and leaves the fleet as it was.

    Args:
        env: the environment.
        wanted: the deploy request.
        progress: receives what to show a person.

    Returns:
        The result, also if the fleet was taken back.

    Raises:
        SlipwayError: the deploy failed before it changed what runs.
    """
    deployment = prepare(env, wanted, progress)
    rehearse_first(deployment, progress)
    addresses = [env.target(name).address for name in dict.fromkeys([*hosts_to_lock(env), *metrics_hosts(env)])]
    seconds = _seconds(deployment)
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, total=seconds, acts=True) as fleet:
        deployment = look(fleet, deployment)
        if not deployment.outdated and not deployment.unfinished:
            return _unchanged(fleet, deployment)
        with lock(fleet, deployment) as held:
            deployment = look_again(fleet, deployment, held)
            if not deployment.outdated:
                held.succeeded = True
                return _unchanged(fleet, deployment)
            (_refuse_resume_of_proven if wanted.resume else _refuse_duplicate_id)(
                env, deployment.release, deployment.facts
            )
            deployment = check(fleet, deployment)
            deployment = look_at_databases(fleet, deployment)
            deployment = adopt_foreign(fleet, deployment)
            plan, context = plan_rollout(fleet, held, deployment)
            migrated: list[Done] = []
            tools: list[ToolDone] = []
            with _nothing_left_behind(fleet, deployment, migrated, tools):
                deployment = stage(fleet, deployment)
                deployment = migrate_databases(fleet, deployment, migrated)
                deployment = migrate_by_tools(fleet, deployment, tools)
            rollout = roll_out(context, plan, on_failure=env.settings.rollout.on_failure)
            if rollout.is_all_back:
                deployment = take_migrations_back(fleet, deployment)
            outcome = conclude(fleet, deployment, plan, rollout, request_summary(context, rollout))
            held.succeeded = not outcome.exit_status
            record(fleet, deployment, rollout, outcome)
            return outcome


def prepare(env: Environment, wanted: DeployRequest, progress: Progress) -> Deployment:
    """Find the artifact, render every host's configuration, and make a plan. No host is reached.

    Raises:
        ConfigError, UsageError: the deploy is not possible.
    """
    started = time.monotonic()
    release = _release(env, wanted)
    renderings = render_all(env, release)
    plan = plan_for(env, wanted, [target.name for target in env.targets])
    archive_members = before_any_host(env, release, plan, progress.warn)
    migrations = from_artifact(env, release.artifact)
    owner = _owner(env, wanted, release)
    return Deployment(env, wanted, release, renderings, archive_members, plan, owner, started, migrations=migrations)


def rehearse_first(deployment: Deployment, progress: Progress) -> None:
    """Hold the rehearsal that the migrations lack, where `rehearsal.by_deploy` asks for it.

    No lock is held meanwhile, but for a backup and for staging on one host. So the deploy looks at everything again.

    Raises:
        MigrationsRefused: the rehearsal failed. Nothing that serves was touched.
        SlipwayError: the deploy would fail for another reason, or the rehearsal could not be held.
    """
    env, wanted = deployment.env, deployment.wanted
    asking = any(one.migrations and one.migrations.rehearsal.by_deploy for one in env.settings.databases)
    if not asking or wanted.overrule or wanted.resume or not deployment.migrations:
        return
    addresses = [env.target(name).address for name in hosts_to_lock(env)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, total=_seconds(deployment)) as fleet:
        deployment = look(fleet, deployment)
        if not deployment.outdated or not deployment.migrations:
            return
        check(fleet, deployment)
        found = compared(fleet, env, deployment.migrations)
        require_ready(env, found)
        # At another time than the window's the deploy is refused anyway.
        against = [] if outside_windows(found, now()) else unrehearsed(fleet, env, found, deployment.facts)
        if not rehearsed_by_deploy(found, against):
            return
    artifact, version = deployment.release.artifact, deployment.release.version
    result = rehearse(env, RehearsalRequest(backup="if needed", found=artifact, wait=wanted.wait), progress)
    if result.problems:
        raise MigrationsRefused(
            f"the rehearsal of {version} failed: {'; '.join(result.problems)}. Nothing that serves was touched",
            hint=f"docs/migrations.md, Rehearse, says what each means; see: invoke history {env.flag}",
        )


def hosts_to_lock(env: Environment) -> list[str]:
    """Return every host that a deploy locks: the application's, those of its databases, and the balancers'."""
    return list(dict.fromkeys([*hosts_with_data(env), *migrating_hosts(env), *balancers_of(env)]))


def _seconds(deployment: Deployment) -> float:
    """Return the time limit. Watching and waiting for headroom may take longer than the task's timeout."""
    settings = deployment.env.settings
    headroom = settings.rollout.headroom.wait if balancers_of(deployment.env) else 0.0
    return settings.timeouts.total + deployment.plan.watched(settings.rollout) + headroom


def look(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Read every host's facts. Choose the version anew if none was named and this fleet took the newest back.

    Raises:
        SlipwayError: a host cannot be reached, or runs what a deploy must not touch.
    """
    env, release = deployment.env, deployment.release
    targets = reachable_targets(fleet, env, deployment.plan.tolerate)
    why = f" for {release.version}, {release.artifact.why}" if release.artifact.why else ""
    fleet.progress.phase(Phase(PhaseCode.LOOKING, f"looking at the hosts{why}"))
    facts = read_all(fleet, env, targets, drift=True)
    refuse_adoption(env, facts)
    deployment = replace(deployment, targets=targets, facts=facts, groups=read_groups(fleet, env))
    return _with_outdated(_with_free_id(_with_good_version(fleet, deployment)))


def _with_good_version(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Pass over versions that this fleet took back, if a person named none."""
    env, release = deployment.env, deployment.release
    if not release.artifact.why:
        return deployment
    chosen = choose_anew(fleet, env, deployment.facts, release.artifact, deployment.wanted.sha256)
    if chosen == release.artifact:
        return deployment
    other = new_release(chosen)
    return replace(
        deployment,
        release=other,
        archive_members=begin_reading(chosen),
        migrations=from_artifact(env, chosen),
        owner=replace(_owner(env, deployment.wanted, other), id=deployment.owner.id),
        instead=(passed_over(chosen, release.artifact),),
    )


def _with_free_id(deployment: Deployment) -> Deployment:
    """Give the release an id that is later than every host's releases, unless a deploy is resumed under its own."""
    env, facts, release = deployment.env, deployment.facts, deployment.release
    # If a host was confirmed in its slot already, the id is taken, and the other slot needs a new release.
    taken = any(fact.slot and fact.current == release.id and not fact.guard for fact in facts.values())
    if taken or not deployment.wanted.resume:
        release = later_than(release, [id_ for fact in facts.values() for id_ in fact.releases])
    if release.id == deployment.owner.id:
        return replace(deployment, release=release)
    owner = replace(deployment.owner, id=release.id)
    return replace(deployment, release=release, owner=owner, renderings=render_all(env, release))


@contextlib.contextmanager
def lock(fleet: Fleet, deployment: Deployment) -> Iterator[HeldLocks]:
    """Lock every host. A resumed deploy takes the traffic back first, and locks the balancers last.

    Raises:
        Locked: another task has a host's lock.
    """
    env, wanted = deployment.env, deployment.wanted
    balancers = balancers_of(env)
    there = [name for name in hosts_to_lock(env) if name in fleet.remotes]
    requests = lock_requests(env, there, deployment.owner, wait=wanted.wait, undo=wanted.resume is not None)
    if wanted.resume:
        fail_over(fleet, env, balancers)
    with fleet.lock(requests, last=balancers if wanted.resume else ()) as held:
        yield held


def look_again(fleet: Fleet, deployment: Deployment, held: HeldLocks) -> Deployment:
    """Read the facts again of hosts that another task changed before they were locked.

    Raises:
        SlipwayError: a host cannot be read.
    """
    env = deployment.env
    facts = read_changed(fleet, env, deployment.facts, held, drift=True)
    return _with_outdated(replace(deployment, facts=facts, groups=read_groups(fleet, env)))


def _with_outdated(deployment: Deployment) -> Deployment:
    outdated = outdated_hosts(
        deployment.targets,
        deployment.facts,
        deployment.groups,
        deployment.release,
        deployment.renderings,
        force=deployment.wanted.force,
    )
    return replace(deployment, outdated=outdated)


def check(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Find whatever would end the deploy on a host, before anything changes; add the warnings.

    Raises:
        SlipwayError: a check failed.
    """
    env, todo = deployment.env, deployment.outdated
    facts = deployment.facts
    judged = look_over(fleet, env, todo, facts, deployment.release, deployment.renderings, deployment.archive_members())
    warnings = [*_unproven(todo), *require_good(env, judged)]
    return replace(deployment, warnings=(*deployment.warnings, *warnings))


def plan_rollout(fleet: Fleet, held: HeldLocks, deployment: Deployment) -> tuple[Plan, RolloutContext]:
    """Plan the order in which these hosts change, and build what carries it out.

    Raises:
        SlipwayError: the plan is impossible for these hosts, or a balancer cannot be read.
    """
    env, wanted, facts = deployment.env, deployment.wanted, deployment.facts
    plan = plan_for(env, wanted, list(deployment.hosts), facts)
    moves, groups = _moves(deployment), deployment.groups
    context = build_context(
        fleet, held, env, deployment.owner, facts, moves, plan, groups, ignore_headroom=wanted.force
    )
    return plan, context


def stage(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Put the complete release on every host that changes, back up what runs, and run the hooks of one host alone.

    Raises:
        SlipwayError: a host could not; what runs has not changed.
    """
    env, release, todo = deployment.env, deployment.release, deployment.outdated
    rendered = for_next(deployment.renderings, deployment.facts)
    fleet.progress.phase(Phase(PhaseCode.STAGING, f"staging {release.version} on {counted(len(todo), 'host')}"))
    backup, complaints = back_up_and_stage(fleet, env, todo, release, rendered, deployment.facts)
    ids = {release.id, deployment.wanted.resume or release.id}
    run_once(fleet, env, [target.name for target in todo], release.id, rendered, deployment.facts, ids=ids)
    return replace(deployment, backup=backup, warnings=(*deployment.warnings, *complaints))


def _unchanged(fleet: Fleet, deployment: Deployment) -> Outcome:
    """Every host runs the release already."""
    return without(unchanged(deployment), fleet.unreachable)


def conclude(
    fleet: Fleet, deployment: Deployment, plan: Plan, rollout: Rollout, requests: RequestSummary | None
) -> Outcome:
    """What the rollout came to, with all that a person should know."""
    left = facts_after_deploy(deployment.facts, rollout.hosts(HostState.DEPLOYED, HostState.UNHEALTHY))
    warnings = [*deployment.instead, *odd(left), *drifted(left), *deployment.warnings]
    outcome = deployed(deployment, plan, rollout, warnings, requests)
    return without(outcome, fleet.unreachable)


def _refuse_duplicate_id(env: Environment, release: Release, facts: Mapping[str, Facts]) -> None:
    """Refuse an id that is taken: two deploys that begin within a second have the same id, and the later one stops.

    Raises:
        UsageError: a host has a release with this id.
    """
    there = [host for host, fact in facts.items() if release.id in fact.releases]
    if there:
        raise UsageError(
            f"{', '.join(there)} has a release {release.id} already: another deploy began in the same second; "
            "this one has touched nothing",
            hint=f"see invoke status {env.flag}; then deploy again",
        )


def _refuse_resume_of_proven(env: Environment, release: Release, facts: Mapping[str, Facts]) -> None:
    """Refuse to resume an id that a host must keep. The id is a host's report, and resuming removes releases with it.

    Raises:
        UsageError: a host has a proven release with this id that it does not run now.
    """
    kept = [host for host, fact in facts.items() if fact.current != release.id and fact.must_keep(release.id)]
    if kept:
        raise UsageError(
            f"{', '.join(kept)} keeps {release.id} as a release to go back to, so no deploy of it was interrupted "
            "there; nothing was touched",
            hint=f"deploy it again: invoke deploy {env.flag} --version={release.version}; invoke status {env.flag} "
            "shows which host says so",
        )


def _owner(env: Environment, wanted: DeployRequest, release: Release) -> LockOwner:
    """Return the lock owner with the deploy's flags, so that another machine can resume the deploy unchanged."""
    return LockOwner(
        release.by,
        f"deploy {release.version}",
        release.created,
        release.id,
        task="deploy",
        version=release.version,
        strategy=wanted.strategy or "",
        batch=wanted.batch or "",
        watch="" if wanted.watch is None else f"{wanted.watch:g}",
        limit=env.limit or "",
    )


def _release(env: Environment, wanted: DeployRequest) -> Release:
    artifact = wanted.found or find_artifact(
        env, version=wanted.version, artifact=wanted.artifact, sha256=wanted.sha256
    )
    release = new_release(artifact)
    return replace(release, id=wanted.resume) if wanted.resume else release


def plan_for(
    env: Environment, wanted: DeployRequest, hosts: list[str], facts: Mapping[str, Facts] | None = None
) -> Plan:
    """Plan the order in which hosts change.

    Args:
        facts: the hosts' facts, if known; a fleet that runs nothing has no traffic to move gradually.

    Raises:
        UsageError: the strategy or batch size does not exist, or is impossible for this fleet.
    """
    known = facts.values() if facts is not None else ()
    fresh = facts is not None and not any(fact.current for fact in known)
    in_place = bool(env.settings.slots) and any(fact.current and fact.slot is None for fact in known)
    return plan_deploy(
        env,
        hosts,
        strategy=wanted.strategy,
        batch=wanted.batch,
        watch=wanted.watch,
        fresh=fresh,
        in_place=in_place,
    )


def _unproven(targets: Sequence[Target]) -> list[str]:
    """Return a sentence for hosts whose releases are checked by their units alone."""
    told = [target.settings.health.unproven for target in targets if target.settings.services]
    return list(dict.fromkeys(filter(None, told)))


def refuse_adoption(env: Environment, facts: Mapping[str, Facts]) -> None:
    """Refuse to adopt another tool's release where hosts have slots or groups, because it runs in one place only.

    Raises:
        UsageError: such a release runs in an environment with slots or groups.
    """
    foreign = [host for host, fact in facts.items() if fact.foreign_release]
    if foreign and (env.settings.slots or env.settings.groups):
        raise UsageError(
            f"{', '.join(foreign)} runs another tool's release, which cannot be adopted while slipway_slots or "
            "slipway_groups is set; nothing was touched",
            hint="deploy first without slipway_slots and slipway_groups: docs/first-deploy.md, Taking over",
        )


def adopt_foreign(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Make another tool's releases Slipway's, if that is possible on all such hosts: the way back leads to them.

    Raises:
        SlipwayError: the adoption is not possible; what runs has not changed.
    """
    env, facts, rendered = deployment.env, deployment.facts, deployment.hosts
    foreign = {host: folder for host in rendered if (folder := facts[host].foreign_release)}
    if foreign:
        fleet.progress.phase(Phase(PhaseCode.ADOPTING, "adopting what another tool deployed"))
        for look_only in (True, False):

            def one(remote: Remote, look_only: bool = look_only) -> None:
                host = remote.name
                note = partial(fleet.progress.note, host)
                settings = env.target(host).settings
                adopt(remote, settings, foreign[host], rendered[host].start, look=look_only, note=note)

            all_or_hint(env, fleet.each("adopt", one, hosts=list(foreign)), "adopting")
        facts = {**facts, **read_all(fleet, env, [env.target(host) for host in foreign])}
    warnings = slot_change_warnings({host: facts[host] for host in rendered}, rendered)
    return replace(deployment, facts=facts, warnings=(*deployment.warnings, *warnings))


def _moves(deployment: Deployment) -> dict[str, Move]:
    facts = deployment.facts
    return {
        host: Move(
            host=host,
            before=facts[host].current,
            fallback=facts[host].fallback,
            after=deployment.release.id,
            units=rendered.start,
            units_before=tuple(unit.name for unit in facts[host].units),
            slot=slot.name if (slot := rendered.slot) else None,
        )
        for host, rendered in deployment.hosts.items()
    }


@contextlib.contextmanager
def _nothing_left_behind(
    fleet: Fleet, deployment: Deployment, migrated: Sequence[Done], tools: Sequence[ToolDone]
) -> Iterator[None]:
    """Remove the staged release after a failure before any switch, so that failed attempts do not pile up."""
    try:
        yield
    except Interrupted as ended:
        raise Interrupted(f"{ended.message} {NOTHING_SWITCHED}", hint=STAGED) from None
    except SlipwayError as error:
        outcome = abandoned(replace(deployment, migrated=tuple(migrated), tools=tuple(tools)), error)
        _abandon(fleet, deployment, sealed(deployment.env, deployment.owner, outcome, deployment.facts))
        raise


def _abandon(fleet: Fleet, deployment: Deployment, entry: Mapping[str, object]) -> None:
    env = deployment.env

    def one(remote: Remote) -> Finished:
        settings = env.target(remote.name).settings
        return finish(remote, settings, entry, mark="discarded", release=deployment.release.id)

    with contextlib.suppress(Interrupted):
        write_down(fleet, env, "tidy", list(deployment.hosts), one)


def record(fleet: Fleet, deployment: Deployment, rollout: Rollout, outcome: Outcome) -> None:
    """Write the ledger and mark the release. An error here causes a warning, and does not change the result."""
    env, facts, release, groups = deployment.env, deployment.facts, deployment.release, deployment.groups
    entry = sealed(env, deployment.owner, outcome, facts)
    done = rollout.verdict == "deployed"  # after a halt the old slot may still have the traffic
    bad = any(not verdict.good for verdict in rollout.stage_verdicts)  # then a halted deploy has not proven its release
    begin = back_up_afterwards(env, outcome.version, release.id) if done else None

    def one(remote: Remote) -> Finished:
        state = rollout.host_states.get(remote.name)
        settings = env.target(remote.name).settings
        after: list[StepCall] = []
        if done and state == HostState.DEPLOYED:
            after += leave_slot(settings, facts[remote.name], after=settings.keep_idle)
            after += [begin(remote.name)] if begin else []
        elif done and state is None and (runs := facts[remote.name].current):
            after = [idle_host_call(settings, release=runs, after=settings.keep_idle)]
        return finish(
            remote,
            settings,
            entry,
            mark="failed" if bad and state == HostState.DEPLOYED else MARKS.get(state, "failed") if state else None,
            release=release.id,
            after=after,
        )

    concerned = dict.fromkeys([*rollout.host_states, *(groups.live_hosts if groups else ())])
    there = [host for host in concerned if host in facts and rollout.host_states.get(host) != HostState.GUARDED]
    for host, error in write_down(fleet, env, "record", there, one).items():
        fleet.progress.warn(f"{host}: what was done stays, but its ledger has no record of it: {error.message}")
