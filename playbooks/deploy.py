"""Deploy a version (A1 to A9): stage it on every host, switch batch by batch, take the fleet back on failure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from playbooks.backups.making import back_up_afterwards, everybody
from playbooks.checks.preflight import before_any_host, look_over, require_good
from playbooks.core.artifact import Release
from playbooks.core.counting import counted
from playbooks.core.errors import ANY_ENV, Interrupted, SlipwayError, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.requests import DeployRequest
from playbooks.environments.environment import Environment, Target
from playbooks.environments.host_facts import all_or_hint, as_left, drifted, odd, read_all, read_changed
from playbooks.environments.templates import Templates
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote, StepCall
from playbooks.releases.choosing import choose_anew, passed_over
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.members import begin_reading
from playbooks.releases.render import Rendered, later_than, new_release, render
from playbooks.releases.renderings import Renderings, for_next, slot_change_warnings
from playbooks.releases.slots import slots_on
from playbooks.rollout.context import build_context
from playbooks.rollout.mover import Move
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.planning.outdated_hosts import outdated_hosts
from playbooks.rollout.planning.reachability import reachable_targets
from playbooks.rollout.planning.strategy import plan_deploy
from playbooks.rollout.recording import sealed, write_down
from playbooks.rollout.rollout import HostState, Rollout, requests_of, roll_out
from playbooks.rollout.run_once import run_once
from playbooks.rollout.staging import back_up_and_stage
from playbooks.rollout.summary import abandoned, deployed, unchanged, without
from playbooks.steps.adopt import adopt
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Finished, Mark, finish
from playbooks.steps.idle import ask_idle_host, leave_slot
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups, read_groups
from playbooks.traffic.servers import balancers_of, hosts_asked
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
    started = time.monotonic()
    release = _release(env, wanted)
    renderings = render_all(env, release)
    intended = plan_for(env, wanted, [target.name for target in env.targets])
    held_by_artifact = before_any_host(env, release, intended, progress.warn)
    balancers = balancers_of(env)
    members = dict.fromkeys([*everybody(env), *balancers])
    addresses = [env.target(name).address for name in dict.fromkeys([*members, *hosts_asked(env)])]
    # Watching and waiting for headroom may take longer than the task's timeout, so they are added to it.
    total = env.settings.timeouts.total + intended.watched(env.settings.rollout)
    total += env.settings.rollout.headroom.wait if balancers else 0.0
    owner = _owner(env, wanted, release)

    with open_fleet(addresses, progress=progress, forks=env.settings.forks, total=total, acts=True) as fleet:
        apps = reachable_targets(fleet, env, intended.tolerate)
        why = f" for {release.version}, {release.artifact.why}" if release.artifact.why else ""
        progress.phase(Phase(PhaseCode.LOOKING, f"looking at the hosts{why}"))
        facts = read_all(fleet, env, apps, drift=True)
        refuse_adoption(env, facts)
        groups = read_groups(fleet, env)
        instead: list[str] = []
        if release.artifact.why:  # no version was named
            chosen = choose_anew(fleet, env, facts, release.artifact, wanted.sha256)
            if chosen != release.artifact:
                instead = [passed_over(chosen, release.artifact)]
                release = new_release(chosen)
                held_by_artifact = begin_reading(chosen)
                owner = replace(_owner(env, wanted, release), id=owner.id)
        # If a host was confirmed in its slot already, the id is taken, and the other slot needs a new release.
        taken = any(fact.slot and fact.current == release.id and not fact.guard for fact in facts.values())
        if taken or not wanted.resume:
            release = later_than(release, [id_ for fact in facts.values() for id_ in fact.releases])
            if release.id != owner.id:
                owner, renderings = replace(owner, id=release.id), render_all(env, release)

        todo = outdated_hosts(apps, facts, groups, release, renderings, force=wanted.force)
        if not todo and not any(fact.interrupted or fact.guard for fact in facts.values()):
            return without(unchanged(env, release, facts, instead, started), fleet.unreachable)
        locked = [name for name in members if name in fleet.remotes]
        orders = env.orders(locked, owner, wait=wanted.wait, undo=wanted.resume is not None)
        if wanted.resume:
            fail_over(fleet, env, balancers)
        with fleet.lock(orders, last=balancers if wanted.resume else ()) as held:
            facts = read_changed(fleet, env, facts, held, drift=True)
            groups = read_groups(fleet, env)
            todo = outdated_hosts(apps, facts, groups, release, renderings, force=wanted.force)
            if not todo:
                held.well = True
                return without(unchanged(env, release, facts, instead, started), fleet.unreachable)
            (_refuse_kept if wanted.resume else _refuse_taken)(env, release, facts)
            rendered = for_next(renderings, facts)
            judged = look_over(fleet, env, todo, facts, release, renderings, held_by_artifact())
            warnings = [*_unproven(todo), *require_good(env, judged)]
            facts = _adopt(fleet, env, todo, facts, rendered)
            warnings += slot_change_warnings({target.name: facts[target.name] for target in todo}, rendered)
            plan = plan_for(env, wanted, [target.name for target in todo], facts)
            moves = _moves(todo, facts, release, rendered)
            context = build_context(fleet, held, env, owner, facts, moves, plan, groups, insists=wanted.force)
            progress.phase(Phase(PhaseCode.STAGING, f"staging {release.version} on {counted(len(todo), 'host')}"))
            with _nothing_left_behind(fleet, env, owner, todo, release, facts, started):
                backup, complaints = back_up_and_stage(fleet, env, todo, release, rendered, facts)
                ids = {release.id, wanted.resume or release.id}
                run_once(fleet, env, [target.name for target in todo], release.id, rendered, facts, ids=ids)
            rollout = roll_out(context, plan, on_failure=env.settings.rollout.on_failure)
            group = groups.idle if groups and plan.strategy != "rolling" else None
            left = as_left(facts, rollout.hosts(HostState.DEPLOYED, HostState.UNHEALTHY))
            requests, told = (
                requests_of(context, rollout),
                [*instead, *odd(left), *drifted(left), *warnings, *complaints],
            )
            outcome = deployed(env, release, facts, rollout, plan, backup, told, started, group, requests)
            outcome = without(outcome, fleet.unreachable)
            held.well = not outcome.exit_status
            _record(fleet, env, outcome, rollout, release, facts, groups, sealed(env, owner, outcome, facts))
            return outcome


def _refuse_taken(env: Environment, release: Release, facts: Mapping[str, Facts]) -> None:
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


def _refuse_kept(env: Environment, release: Release, facts: Mapping[str, Facts]) -> None:
    """Refuse to resume an id that a host must keep. The id is a host's report, and resuming removes releases with it.

    Raises:
        UsageError: a host has a proven release with this id that it does not run now.
    """
    kept = [host for host, fact in facts.items() if fact.current != release.id and fact.keeps(release.id)]
    if kept:
        raise UsageError(
            f"{release.id} was not interrupted on {', '.join(kept)}, where it is a release to go back to; "
            "nothing was touched",
            hint=f"deploy it anew: invoke deploy {env.flag} --version={release.version}; invoke status {env.flag} "
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


def render_all(env: Environment, release: Release) -> dict[str, Renderings]:
    """Render every host's configuration for each of its slots, so that a mistake fails before any host is reached.

    Raises:
        ConfigError: a template is wrong.
    """
    templates = Templates.of(env)
    return {
        target.name: {
            slot.name if slot else None: render(env, target, release, templates, slot) for slot in slots_on(env, target)
        }
        for target in env.targets
    }


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
            f"{', '.join(foreign)}: what another tool deployed runs there, and is not adopted together with slots or "
            "groups; nothing was touched",
            hint="deploy first without slipway_slots and slipway_groups: docs/first-deploy.md, Taking over",
        )


def _adopt(
    fleet: Fleet, env: Environment, targets: list[Target], facts: Mapping[str, Facts], rendered: Mapping[str, Rendered]
) -> Mapping[str, Facts]:
    """Adopt another tool's releases, if that is possible on all such hosts; return the new facts.

    Raises:
        SlipwayError: the adoption is not possible; what runs has not changed.
    """
    foreign = {target.name: folder for target in targets if (folder := facts[target.name].foreign_release)}
    if not foreign:
        return facts
    fleet.progress.phase(Phase(PhaseCode.ADOPTING, "adopting what another tool deployed"))
    for look in (True, False):

        def one(remote: Remote, look: bool = look) -> None:
            host = remote.name
            note = partial(fleet.progress.note, host)
            adopt(remote, env.target(host).settings, foreign[host], rendered[host].start, look=look, note=note)

        all_or_hint(env, fleet.each("adopt", one, hosts=list(foreign)), "adopting")
    return {**facts, **read_all(fleet, env, [env.target(host) for host in foreign])}


def _moves(
    targets: list[Target], facts: Mapping[str, Facts], release: Release, rendered: Mapping[str, Rendered]
) -> dict[str, Move]:
    return {
        target.name: Move(
            host=target.name,
            before=facts[target.name].current,
            fallback=facts[target.name].fallback,
            after=release.id,
            units=rendered[target.name].start,
            units_before=tuple(unit.name for unit in facts[target.name].units),
            slot=slot.name if (slot := rendered[target.name].slot) else None,
        )
        for target in targets
    }


@contextlib.contextmanager
def _nothing_left_behind(
    fleet: Fleet,
    env: Environment,
    owner: LockOwner,
    targets: list[Target],
    release: Release,
    facts: Mapping[str, Facts],
    started: float,
) -> Iterator[None]:
    """Remove the staged release after a failure before any switch, so that failed attempts do not pile up."""
    try:
        yield
    except Interrupted as ended:
        raise Interrupted(f"{ended.message} {NOTHING_SWITCHED}", hint=STAGED) from None
    except SlipwayError as error:
        record = sealed(env, owner, abandoned(env, release, facts, error, started), facts)
        _abandon(fleet, env, targets, record, release)
        raise


def _abandon(
    fleet: Fleet, env: Environment, targets: list[Target], record: Mapping[str, object], release: Release
) -> None:
    def one(remote: Remote) -> Finished:
        settings = env.target(remote.name).settings
        return finish(remote, settings, record, mark="discarded", release=release.id)

    with contextlib.suppress(Interrupted):
        write_down(fleet, env, "tidy", [target.name for target in targets], one)


def _record(
    fleet: Fleet,
    env: Environment,
    outcome: Outcome,
    rollout: Rollout,
    release: Release,
    facts: Mapping[str, Facts],
    groups: Groups | None,
    record: Mapping[str, object],
) -> None:
    """Write the ledger and mark the release. An error here causes a warning, and does not change the result."""
    done = rollout.verdict == "deployed"  # after a halt the old slot may still have the traffic
    bad = any(
        not stage_verdict.good for stage_verdict in rollout.stage_verdicts
    )  # then a halted deploy has not proven its release
    begin = back_up_afterwards(env, outcome.version, release.id) if done else None

    def one(remote: Remote) -> Finished:
        state = rollout.host_states.get(remote.name)
        settings = env.target(remote.name).settings
        after: list[StepCall] = []
        if done and state == HostState.DEPLOYED:
            after += leave_slot(settings, facts[remote.name], after=settings.keep_idle)
            after += [begin(remote.name)] if begin else []
        elif done and state is None and (runs := facts[remote.name].current):
            after = [ask_idle_host(settings, release=runs, after=settings.keep_idle)]
        return finish(
            remote,
            settings,
            record,
            mark="failed" if bad and state == HostState.DEPLOYED else MARKS.get(state, "failed") if state else None,
            release=release.id,
            after=after,
        )

    concerned = dict.fromkeys([*rollout.host_states, *(groups.serving if groups else ())])
    there = [host for host in concerned if host in facts and rollout.host_states.get(host) != HostState.GUARDED]
    for host, error in write_down(fleet, env, "record", there, one).items():
        fleet.progress.warn(f"{host}: the record could not be written: {error.message}")
