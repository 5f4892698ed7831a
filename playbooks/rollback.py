"""Go back to what ran before (A6): by rename where that release is still whole on the host, else out of its backup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playbooks.backup import backup_hosts, everybody
from playbooks.crew import assemble
from playbooks.deploy import read_all
from playbooks.environment import Environment
from playbooks.errors import SlipwayError, StepFailed, UsageError
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.holder import Holder
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Ask, Remote
from playbooks.mover import Move, Mover
from playbooks.outcome import Outcome
from playbooks.outcomes import returned
from playbooks.planning import plan_rollback
from playbooks.release import instant, now, stamp, who
from playbooks.restore import restore_databases
from playbooks.resume import interrupted
from playbooks.rollout import Rollout, Stand, roll_out
from playbooks.servers import edges_of
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Mark, finish
from playbooks.steps.idle import leave_slot
from playbooks.steps.restore import restore_release


@dataclass(frozen=True)
class Back:
    """What a person asks of a rollback.

    Args:
        to: a release, version or backup; left out, what ran before.
        reason: why, kept in the ledger.
        with_database: whether databases go back too.
        batch: hosts that switch at the same time; left out, all of them: the way back is for emergencies.
        wait: seconds to wait for somebody else's lock.
    """

    to: str | None = None
    reason: str = ""
    with_database: bool = False
    batch: str | None = None
    wait: float = 0.0


def rollback(env: Environment, back: Back, progress: Progress) -> Outcome:
    """Roll back. Hosts that cannot be reached are left out, and told.

    Args:
        env: where.
        back: to what, and why.
        progress: who watches.

    Raises:
        UsageError: there is nothing to go back to.
        SlipwayError: a release could be had neither from the host nor from a backup; no host was switched.
    """
    started = time.monotonic()
    edges = edges_of(env)
    names = [*(everybody(env) if back.with_database else (target.name for target in env.targets)), *edges]
    addresses = [env.target(name).address for name in dict.fromkeys(names)]

    with open_fleet(addresses, progress=progress, forks=env.settings.forks, acts=True) as fleet:
        apps = [target for target in env.targets if target.name in fleet.remotes]
        needed = {*edges, *(backup_hosts(env) if back.with_database else ())}
        if not apps or needed - set(fleet.remotes):
            fleet.require_all()
        progress.phase("looking for the way back")
        left = interrupted(read_all(fleet, env, apps))
        holder = _holder(back, left)
        # What a dead controller left half-way goes back at once: a person is here now, and asks for just that.
        with fleet.lock(env.orders(fleet.remotes, holder, wait=back.wait, undo=True)) as held:
            facts = read_all(fleet, env, apps)
            targets = choose_releases(facts, back.to, left)
            moves = _make_ready(fleet, env, facts, targets)
            _refuse_strange_slots(env, moves)
            turning = any(facts[host].slot in (None, move.slot) for host, move in moves.items())
            plan = plan_rollback(env, list(moves), back.batch, turning=turning)
            crew = assemble(fleet, held, env, holder, facts, moves, plan)
            databases: list[str] = []
            if back.with_database:
                databases = _restore_databases(fleet, env, crew.mover, targets, back.to)
            rollout = roll_out(crew, plan, on_failure="halt")
            outcome = returned(env, back, holder, facts, targets, rollout, databases, dict(fleet.unreachable), started)
            held.well = not outcome.exit_status
            _record(fleet, env, outcome, rollout, targets, facts, rubbish=holder.undoes or None)
            return outcome


def _holder(back: Back, left: Holder | None) -> Holder:
    """Who we are. A rollback that was interrupted is gone on with under its own id, so that hosts know it again."""
    moment = now()
    ours = left is not None and left.task == "rollback"
    return Holder(
        who=who(),
        what=f"rollback to {back.to or 'the release before'}",
        since=instant(moment),
        id=left.id if left and ours else f"{stamp(moment)}-rollback",
        task="rollback",
        version=back.to or "",
        undoes=left.undoes if left and ours else left.id if left and left.task == "deploy" else "",
    )


def _restore_databases(
    fleet: Fleet, env: Environment, mover: Mover, targets: Mapping[str, str], to: str | None
) -> list[str]:
    """Databases first, with the hosts' guards armed before: should we die in between, code follows its data."""
    fleet.progress.phase("restoring databases")
    hosts = list(mover.moves)
    fleet.each("", mover.arm, hosts=hosts).all_or_raise("arming the guards")
    try:
        return restore_databases(fleet, env, targets, to)
    except SlipwayError:
        mover.confirm(hosts, together=False)
        raise


def choose_releases(facts: Mapping[str, Facts], to: str | None, left: Holder | None = None) -> dict[str, str]:
    """Which release each host goes back to.

    Without ``to`` the last deploy is undone. In a fleet that a halted deploy left mixed, hosts on the newest release
    go back, and those that never got it stay. After a deploy or a rollback that was interrupted, those go back that are
    still to; those that its guards took back, or that it never reached, stay.

    Args:
        facts: by host.
        to: a release, version or backup.
        left: the task that was interrupted.

    Raises:
        UsageError: there is none.
    """
    if to is None and left is not None and left.task in ("deploy", "rollback"):
        return {host: _undo(fact, left) for host, fact in facts.items()}
    newest = max((fact.current for fact in facts.values() if fact.current), default=None)
    return {
        host: fact.current if to is None and fact.current and fact.current != newest else choose_release(fact, to)
        for host, fact in facts.items()
    }


def _undo(facts: Facts, left: Holder) -> str:
    undone = left.id if left.task == "deploy" else left.undoes
    moved = facts.moved
    if facts.current is None:
        raise UsageError(f"nothing runs on {facts.host}, so there is nothing to go back from")
    if facts.current == undone:
        return moved.before if moved and moved.id == undone and moved.before else choose_release(facts, None)
    if undone or (moved and moved.id == left.id):
        return facts.current
    return choose_release(facts, None)


def choose_release(facts: Facts, to: str | None) -> str:
    """Which release a host goes back to.

    Args:
        facts: the host.
        to: a release, version or backup; None for the one that ran before.

    Raises:
        UsageError: there is none.
    """
    records = sorted(facts.backups, key=lambda record: str(record.get("created", "")), reverse=True)
    if to is None:
        return _before(facts, records)
    if to in facts.releases:
        return to
    for record in records:
        if record.get("id") == to and record.get("release"):
            return str(record["release"])
    known = sorted((name for name, release in facts.releases.items() if release.version == to), reverse=True)
    proven = [name for name in known if facts.releases[name].stand == "proven"]
    if facts.version == to and facts.current:
        return facts.current
    backed_up = [str(record["release"]) for record in records if record.get("version") == to and record.get("release")]
    found = proven or backed_up or known
    if not found:
        raise UsageError(
            f"{facts.host} has no release, version or backup '{to}'",
            hint=f"it has: {', '.join(_known(facts, records)) or 'nothing'}",
        )
    return found[0]


def _before(facts: Facts, records: list[dict[str, Any]]) -> str:
    running = facts.running
    if running is None:
        raise UsageError(f"nothing runs on {facts.host}, so there is nothing to go back from")
    if running.predecessor:
        return running.predecessor
    for record in records:
        if record.get("release") and record["release"] != facts.current and str(record["release"]) < str(facts.current):
            return str(record["release"])
    raise UsageError(
        f"nothing ran on {facts.host} before {running.version}",
        hint=f"name it with --to; the host has: {', '.join(_known(facts, records))}",
    )


def _known(facts: Facts, records: list[dict[str, Any]]) -> list[str]:
    kept = [name for name, release in facts.releases.items() if release.stand == "proven"]
    return list(dict.fromkeys([*sorted(kept), *(str(record.get("id")) for record in reversed(records))]))[-8:]


def _make_ready(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], targets: Mapping[str, str]
) -> dict[str, Move]:
    """Make sure that every host has its release, whole, before the first one switches."""

    def one(remote: Remote) -> Checked:
        settings = env.target(remote.name).settings
        release = targets[remote.name]
        checked = check_release(remote, settings, release)
        if checked.intact:
            return checked
        fleet.progress.note(remote.name, f"{release}: {checked.reason}; restoring it from its backup")
        records = [record for record in facts[remote.name].backups if record.get("release") == release]
        if not records:
            raise StepFailed(
                f"release {release} is {checked.verdict} ({checked.reason}) and no backup has it",
                host=remote.name,
                step="check",
                hint="invoke backups --env=… lists what there is; --to=… takes one of them",
            )
        newest = max(records, key=lambda record: str(record.get("created", "")))
        restore_release(remote, settings, newest, env.secrets)
        return check_release(remote, settings, release)

    todo = [host for host, release in targets.items() if facts[host].current != release]
    checked = fleet.each("check", one, hosts=todo).all_or_raise("finding the release")
    return {
        host: Move(
            host,
            facts[host].current,
            targets[host],
            checked[host].units,
            tuple(unit.name for unit in facts[host].units),
            checked[host].slot,
        )
        for host in todo
    }


def _refuse_strange_slots(env: Environment, moves: Mapping[str, Move]) -> None:
    """A release that ran where the balancers send nobody now would take the traffic's last host away."""
    for host, move in moves.items():
        if env.settings.balancer and move.slot is not None and move.slot not in env.settings.slots:
            raise UsageError(
                f"{host}: {move.after} ran in slot {move.slot}, and there is no such slot now",
                hint="set slipway_slots as it was then and provision; or --to=… another release",
            )


def _record(
    fleet: Fleet,
    env: Environment,
    outcome: Outcome,
    rollout: Rollout,
    targets: Mapping[str, str],
    facts: Mapping[str, Facts],
    *,
    rubbish: str | None,
) -> None:
    """Write the ledger. A host that went back has proven its release; elsewhere what an interrupted deploy staged goes.

    Args:
        rubbish: that deploy's release.
    """

    def one(remote: Remote) -> list[str]:
        mark: Mark | None = "discarded" if rubbish else None
        release = rubbish or targets[remote.name]
        settings = env.target(remote.name).settings
        after: list[Ask] = []
        if rollout.stands.get(remote.name) == Stand.DEPLOYED:
            mark, release = "proven", targets[remote.name]
            # What a person has called bad is not kept.
            after = leave_slot(settings, facts[remote.name], after=0)
        document = env.secrets.mask_document(outcome.record())
        return finish(remote, settings, document, mark=mark, release=release, after=after)

    there = [host for host in targets if rollout.stands.get(host) != Stand.GUARDED]
    results = fleet.each("record", one, hosts=there, finish=True)
    for host, error in results.failed.items():
        fleet.progress.warn(f"{host}: the record could not be written: {error.message}")
