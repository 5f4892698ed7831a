"""Go back to an earlier release (A6): by rename if it is intact on the host, or else from its backup."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from playbooks.backups.making import backup_hosts, hosts_with_data
from playbooks.core.clock import instant, now
from playbooks.core.errors import ANY_ENV, SlipwayError, StepFailed, UsageError
from playbooks.core.names import stamp
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.requests import RollbackRequest
from playbooks.core.step_codes import StepCode
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import all_or_hint, interrupted, read_all, read_changed
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, HeldLocks, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote, StepCall
from playbooks.restore import restore_databases
from playbooks.rollout.context import build_context
from playbooks.rollout.databases.contracts import refuse_past_contracts
from playbooks.rollout.databases.reading import migrating_hosts
from playbooks.rollout.migrated import hooks_left, still_migrated
from playbooks.rollout.mover import Move, Mover
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.planning.reachability import require_balancers
from playbooks.rollout.planning.rollback_target import choose_targets, refuse_changed_backup
from playbooks.rollout.planning.strategy import adjust_for_traffic, plan_rollback, require_batch
from playbooks.rollout.recording import sealed, write_down
from playbooks.rollout.rollout import HostState, Rollout, RolloutContext, request_summary, roll_out
from playbooks.rollout.runs import RollbackRun
from playbooks.rollout.summary import returned
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts, version_in
from playbooks.steps.finish import Finished, Mark, finish
from playbooks.steps.idle import idle_host_call, leave_other_slot, leave_slot
from playbooks.steps.restore import restore_release
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups, read_groups, require_whole
from playbooks.traffic.servers import balancers_of
from playbooks.traffic.traffic import fail_over

MAX_BACKUPS = 3  # backups to try for a release
TRY_OLDER_BACKUP = (
    StepCode.DAMAGED,
    StepCode.NOT_IN_BACKUP,
)  # with these codes an older backup may be good; other errors affect each backup


def rollback(env: Environment, back: RollbackRequest, progress: Progress) -> Outcome:
    """Roll back. Unreachable hosts are left out with a warning.

    Args:
        env: the environment.
        back: the rollback request.
        progress: receives what to show a person.

    Raises:
        UsageError: there is no release to go back to, or a group of hosts is incomplete.
        SlipwayError: a release is neither intact on the host nor in a backup; no host was switched.
    """
    started = time.monotonic()
    validate_request(env, back)
    require_whole(env)
    env.signing.prepare(progress.warn)
    balancers = balancers_of(env)
    names = [*(hosts_with_data(env) if back.with_database else (target.name for target in env.targets)), *balancers]
    asked = [] if back.with_database else migrating_hosts(env)
    addresses = [env.target(name).address for name in dict.fromkeys([*names, *asked])]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, acts=True) as fleet:
        run = look(fleet, env, back, started)
        there = [name for name in dict.fromkeys(names) if name in fleet.remotes]
        requests = lock_requests(env, there, run.owner, wait=back.wait, undo=True)
        # Move traffic back at once if a controller died, without waiting for the guard: a person asks for it now.
        fail_over(fleet, env, balancers)
        with fleet.lock(requests, last=balancers) as held:
            run = look_again(fleet, run, held)
            run = choose(run)
            run = make_ready(fleet, run)
            run = look_at_contracts(fleet, run)
            run, plan, context = plan_rollout(fleet, held, run)
            run = before_the_switch(fleet, run, context)
            rollout = roll_out(context, plan, on_failure="guards")
            gone = {name: error for name, error in fleet.unreachable.items() if name in names}
            outcome = conclude(gone, run, plan, context, rollout)
            held.succeeded = not outcome.exit_status
            record(fleet, run, rollout, outcome)
            return outcome


def look(fleet: Fleet, env: Environment, back: RollbackRequest, started: float) -> RollbackRun:
    """Read the facts of every host that can be reached, and find the task that was interrupted.

    Raises:
        SlipwayError: no host can be reached, or one that is needed cannot.
    """
    apps = [target for target in env.targets if target.name in fleet.remotes]
    require_balancers(fleet, env)
    if not apps or (back.with_database and set(backup_hosts(env)) - set(fleet.remotes)):
        fleet.require_all()
    fleet.progress.phase(Phase(PhaseCode.LOOKING, "looking for the way back"))
    facts = read_all(fleet, env, apps)
    left = interrupted(facts)
    return RollbackRun(env, back, started, owner_of(back, left), left, facts, facts)


def look_again(fleet: Fleet, run: RollbackRun, held: HeldLocks) -> RollbackRun:
    """Read the facts again of hosts that changed before they were locked: guards may have taken them back."""
    facts = read_changed(fleet, run.env, run.facts, held)
    return replace(run, facts=facts, groups=read_groups(fleet, run.env))


def choose(run: RollbackRun) -> RollbackRun:
    """Choose the release that each host goes back to.

    Raises:
        UsageError: there is nothing to go back to.
    """
    targets = choose_targets(run.env, run.groups, run.facts, run.back.to, run.left)
    warnings = refuse_changed_backup(run.facts, targets, run.back.to, with_database=run.back.with_database)
    return replace(run, targets=targets, warnings=(*run.warnings, *warnings))


def make_ready(fleet: Fleet, run: RollbackRun) -> RollbackRun:
    """Make sure that every host has its complete release: intact, or restored from its backup.

    Raises:
        SlipwayError: a host cannot go back although all must, or no host can.
    """
    env, facts = run.env, run.facts
    by_group = run.groups is not None
    moves, refused = _make_ready(
        fleet, env, facts, run.targets, anew=by_group, together=run.back.with_database or by_group
    )
    targets = {host: release for host, release in run.targets.items() if host not in refused}
    refuse_removed_slots(env, {host: move.slot for host, move in moves.items()}, targets)
    return replace(run, targets=targets, moves=moves, refused=refused)


def look_at_contracts(fleet: Fleet, run: RollbackRun) -> RollbackRun:
    """Make sure that the releases work with the databases as they are, unless those go back as well.

    Raises:
        UsageError: a contract has left a release behind.
    """
    if run.back.with_database:
        return run
    warnings = refuse_past_contracts(fleet, run.env, run.facts, run.targets)
    return replace(run, warnings=(*run.warnings, *warnings))


def plan_rollout(fleet: Fleet, held: HeldLocks, run: RollbackRun) -> tuple[RollbackRun, Plan, RolloutContext]:
    """Plan the order in which hosts and traffic go back, and build what carries it out.

    Raises:
        SlipwayError: the plan is impossible, or a balancer cannot be read.
    """
    env, facts, moves, groups, targets = run.env, run.facts, run.moves, run.groups, run.targets
    in_place = any(takes_the_place(facts[host], move.slot) for host, move in moves.items())
    plan = plan_rollback(env, list(moves), run.back.batch, in_place=in_place, back=bool(targets))
    if groups and not targets:
        targets = {host: now for host in groups.live_hosts if host in facts and (now := facts[host].current)}
    stays = groups is not None and not plan.stages
    context = build_context(fleet, held, env, run.owner, facts, moves, plan, groups, stays=stays, ignore_headroom=True)
    traffic = context.traffic
    shifted = frozenset() if groups else traffic.partially_shifted
    plan = adjust_for_traffic(plan, list(moves), misrouted=traffic.misrouted, partially_shifted=shifted)
    return replace(run, targets=targets, stays=stays), plan, context


def before_the_switch(fleet: Fleet, run: RollbackRun, context: RolloutContext) -> RollbackRun:
    """Do what must be done before a host goes back: keep the other group up, arm guards, restore databases.

    Raises:
        SlipwayError: that is not possible; what runs has not changed.
    """
    env, groups = run.env, run.groups
    if groups and not run.stays:
        _cancel_idle_timers(fleet, env, run.facts, groups)
    warnings = [*run.warnings, *([] if run.back.with_database else database_warnings(env, run.facts, run.targets))]
    for warning in warnings:
        fleet.progress.warn(warning)
    if any(place.side_by_side for place in context.traffic.places) and not groups:
        # Arm the hosts' guards before the balancers': if only the balancers' guards acted, they would send traffic to
        # slots where nothing runs. A lost host does not stop the others here; its switch reports it.
        context.mover.arm_all()
    databases: Sequence[str] = ()
    if run.back.with_database:
        databases = _restore_databases(fleet, run, context.mover)
    return replace(run, databases=tuple(databases), warnings=tuple(warnings))


def conclude(
    gone: Mapping[str, SlipwayError], run: RollbackRun, plan: Plan, context: RolloutContext, rollout: Rollout
) -> Outcome:
    """What the rollback came to, with all that a person should know."""
    requests = request_summary(context, rollout)
    unserved = None if rollout.reasons or rollout.stopped else context.traffic.unserved()
    outcome = returned(run, plan, rollout, gone, requests, unserved)
    return replace(outcome, warnings=(*outcome.warnings, *run.warnings))


def validate_request(env: Environment, back: RollbackRequest) -> None:
    """Refuse impossible requests before any host is reached.

    Args:
        env: the environment.
        back: the rollback request.

    Raises:
        UsageError: the batch size is impossible, or there is no database to restore.
    """
    require_batch(back.batch)
    if back.with_database and not env.settings.databases:
        raise UsageError(
            f"{env.title} has no database in slipway_databases for --with-database to take back; nothing was touched",
            hint="leave it out; files are taken back by invoke restore only",
        )
    if back.overrule and not back.with_database:
        raise UsageError("--overrule is about databases, and goes with --with-database only; nothing was touched")
    if back.with_database and not env.settings.backup.enabled:
        raise UsageError(
            f"backups are off in {env.name} (slipway_backup.enabled), so --with-database has nothing to take back; "
            "nothing was touched"
        )


def owner_of(back: RollbackRequest, left: LockOwner | None) -> LockOwner:
    """Return the lock owner. An interrupted rollback continues under its own id, so that hosts recognise it."""
    moment = now()
    ours = left is not None and left.task == "rollback"
    return LockOwner(
        who=who(),
        what=f"rollback to {back.to or 'the release before'}",
        since=instant(moment),
        id=left.id if left and ours else f"{stamp(moment)}-rollback",
        task="rollback",
        version=back.to or "",
        undoes=left.undoes if left and ours else left.id if left and left.task == "deploy" else "",
    )


def database_warnings(env: Environment, facts: Mapping[str, Facts], targets: Mapping[str, str | None]) -> list[str]:
    """Return warnings about databases that stay as they are.

    Args:
        env: the environment.
        facts, targets: the facts and targets by host.
    """
    hooks = hooks_left(facts.values(), targets)
    versions = sorted({version_in(release) for release in targets.values() if release})
    return [still_migrated(env, hooks, versions[0])] if hooks and versions else []


def _restore_databases(fleet: Fleet, run: RollbackRun, mover: Mover) -> list[str]:
    """Restore databases first, after arming the hosts' guards: if the controller dies, the code still goes back too."""
    fleet.progress.phase(Phase(PhaseCode.RESTORING_DATABASES, "restoring databases"))
    hosts = list(mover.moves)
    mover.arm_all().all_or_raise("arming the guards")
    try:
        releases = {host: release for host, release in run.targets.items() if release}
        return restore_databases(fleet, run.env, run.facts, releases, run.back.to, run.back.overrule)
    except SlipwayError:
        mover.confirm(hosts, together=False)
        raise


def _cancel_idle_timers(fleet: Fleet, env: Environment, facts: Mapping[str, Facts], groups: Groups) -> None:
    """Cancel the timers that would stop a group of hosts, before traffic comes back to it."""

    def one(remote: Remote) -> None:
        settings = env.target(remote.name).settings
        list(remote.chain([idle_host_call(settings, release=facts[remote.name].current or "-", after=None)]))

    there = [host for host in groups.idle_hosts if host in facts]
    fleet.each("", one, hosts=there).all_or_raise("keeping the other group up")


def _make_ready(
    fleet: Fleet,
    env: Environment,
    facts: Mapping[str, Facts],
    targets: Mapping[str, str | None],
    *,
    anew: bool,
    together: bool,
) -> tuple[dict[str, Move], dict[str, SlipwayError]]:
    """Make sure that every host has its complete release before the first one switches.

    Hosts that will run nothing come last, because they carry traffic until then.

    Args:
        anew: whether to start the release again on a host where it is current but does not run.
        together: whether no host goes back if one cannot.

    Returns:
        The hosts' moves, and why other hosts cannot move.

    Raises:
        SlipwayError: a host cannot go back although all must, or no host can.
    """

    def one(remote: Remote) -> Checked:
        settings = env.target(remote.name).settings
        release = todo[remote.name]
        checked = check_release(remote, settings, release)
        if checked.intact:
            return checked
        fleet.progress.note(remote.name, f"{release}: {checked.reason}; restoring it from its backup")
        records = [record for record in facts[remote.name].backups if record.get("release") == release]
        whole = backups_of(facts[remote.name], release)
        if not whole:
            how = "every backup of it has the same changes" if records else "no backup contains it"
            raise StepFailed(
                f"release {release} is not as it was deployed ({checked.reason}), and {how}",
                host=remote.name,
                step="check",
                hint=way_on(facts[remote.name], release),
            )
        try:
            _restore_from_any(remote, env, whole)
        except StepFailed as error:
            error.message = f"release {release} is not as it was deployed ({checked.reason}), and {error.message}"
            if error.code in TRY_OLDER_BACKUP:
                error.hint = way_on(facts[remote.name], release)
            raise
        return check_release(remote, settings, release)

    changed = changing(facts, targets, anew=anew)
    todo = {host: release for host, release in changed.items() if release}
    results = fleet.each("check", one, hosts=list(todo))
    checked = all_or_hint(env, results, "finding the release") if together or not results.ok else results.ok
    refused = {} if together or not results.ok else dict(results.failed)
    for host, error in refused.items():
        fleet.progress.warn(f"{host} stays on {facts[host].version}: {error.message}")

    moving = {host: release for host, release in changed.items() if host not in refused}
    return moves_of(facts, moving, checked), refused


def moves_of(
    facts: Mapping[str, Facts], changed: Mapping[str, str | None], checked: Mapping[str, Checked]
) -> dict[str, Move]:
    """Return the move of every host that changes; hosts that will run nothing come last.

    Args:
        facts: the facts by host.
        changed: the result of `changing`.
        checked: the checks of the target releases, by host.
    """

    def move(host: str, release: str | None) -> Move:
        fact, found = facts[host], checked.get(host)
        runs = tuple(unit.name for unit in fact.units)
        if found is None:
            return Move(host, fact.current, None, (), runs, fallback=fact.fallback)
        return Move(host, fact.current, release, found.units, runs, found.slot, fallback=fact.fallback)

    return {host: move(host, release) for host, release in sorted(changed.items(), key=lambda one: one[1] is None)}


def changing(facts: Mapping[str, Facts], targets: Mapping[str, str | None], *, anew: bool) -> dict[str, str | None]:
    """Return the hosts that a rollback changes, with their target releases.

    Args:
        facts, targets: the facts and targets by host.
        anew: whether to start the release again on a host where it is current but does not run.
    """
    return {
        host: release
        for host, release in targets.items()
        if facts[host].intact_current != release or (anew and not facts[host].is_up)
    }


def backups_of(facts: Facts, release: str) -> list[dict[str, Any]]:
    """Return a host's backups that have a release as it was deployed, the newest first.

    A backup of a release that was changed by hand is no better than the release on the host.
    """
    records = [record for record in facts.backups if record.get("release") == release and not record.get("changed")]
    return sorted(records, key=lambda record: str(record.get("created", "")), reverse=True)


def _restore_from_any(remote: Remote, env: Environment, records: Sequence[Mapping[str, object]]) -> None:
    """Restore a release from the newest backup that has it intact; records are newest first.

    Raises:
        StepFailed: no backup has it.
    """
    newest_first = records[:MAX_BACKUPS]
    for record in newest_first:
        try:
            restore_release(remote, env.target(remote.name).settings, record, env.secrets)
        except StepFailed as error:
            if error.code not in TRY_OLDER_BACKUP or record is newest_first[-1]:
                raise
            remote.progress.note(remote.name, f"{error.message}; trying an older one")
        else:
            return


def way_on(facts: Facts, release: str) -> str:
    """Return what a person can type if a host's release is not available intact.

    Args:
        facts: the host's facts.
        release: the release that it cannot go back to.
    """
    only = f"--limit={facts.host}"
    again = f"invoke deploy {ANY_ENV} --version={version_in(release)} {only} deploys it again"
    proven = [name for name, there in facts.releases.items() if there.state == "proven"]
    older = max((name for name in proven if name < release and name not in facts.ahead), default=None)
    return f"{again}; invoke rollback {ANY_ENV} --to={older} {only} takes an older one" if older else again


def takes_the_place(facts: Facts, slot: str | None) -> bool:
    """Return whether the current release must stop for the target, because the two are not in different slots."""
    return facts.current is not None and (facts.slot is None or slot is None or facts.slot == slot)


def refuse_removed_slots(env: Environment, slots: Mapping[str, str | None], targets: Mapping[str, str | None]) -> None:
    """Refuse a target in a slot that does not exist any more, because balancers send it no traffic.

    Args:
        env: the environment.
        slots: the slots of the target releases, by host.
        targets: the target releases, by host.

    Raises:
        UsageError: one of the slots does not exist any more.
    """
    for host, slot in slots.items():
        if env.settings.balancer and slot is not None and slot not in env.settings.slots:
            raise UsageError(
                f"{host}: {targets[host]} ran in slot {slot}, which slipway_slots does not have any more; "
                "no host was switched",
                hint=f"put {slot} back into slipway_slots and run invoke provision {env.flag}; "
                "or choose another release with --to=…",
            )


def record(fleet: Fleet, run: RollbackRun, rollout: Rollout, outcome: Outcome) -> None:
    """Write the ledger. Mark the target proven on hosts that went back; elsewhere remove the deploy's release."""
    env, facts, targets = run.env, run.facts, run.targets
    entry = sealed(env, run.owner, outcome, facts)
    leftover = run.owner.undoes or None
    done = rollout.verdict == "deployed"
    # The traffic has left these hosts; they keep running for a while.
    without_traffic = run.groups.live_hosts if run.groups and not run.stays and done else ()

    def one(remote: Remote) -> Finished:
        # Another host reports the interrupted deploy, so remove its release only if this host has not proven it.
        fact = facts[remote.name]
        unproven = leftover if leftover in fact.releases and not fact.must_keep(leftover) else None
        mark: Mark | None = "discarded" if unproven else None
        target = targets.get(remote.name)
        release = unproven or target
        settings = env.target(remote.name).settings
        after: list[StepCall] = []
        if rollout.host_states.get(remote.name) == HostState.DEPLOYED and target:
            mark, release = "proven", target
            # Stop the old slot at once, because a person left it on purpose; but not if it still has the traffic.
            after = leave_slot(settings, fact, after=0) if done else []
        elif run.goes_on and done and target and target == fact.current:
            after = leave_other_slot(settings, fact)
        elif remote.name in without_traffic and fact.current:
            after = [idle_host_call(settings, release=fact.current, after=settings.keep_idle)]
        return finish(remote, settings, entry, mark=mark, release=release, after=after)

    there = [host for host in facts if rollout.host_states.get(host) != HostState.GUARDED]
    for host, error in write_down(fleet, env, "record", there, one).items():
        fleet.progress.warn(f"{host}: what was done stays, but its ledger has no record of it: {error.message}")
