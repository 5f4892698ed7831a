"""Turns what was done into an outcome: status, message, table, exit status and the next command."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from playbooks.core.artifact import Release
from playbooks.core.counting import counted
from playbooks.core.errors import ANY_ENV, ExitStatus, SlipwayError
from playbooks.core.states import TaskStatus
from playbooks.environments.environment import Environment
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.rollout.databases.jobs import Done
from playbooks.rollout.migrated import still_migrated
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.rollout import HostState, Rollout
from playbooks.rollout.runs import Deployment, RollbackRun
from playbooks.steps.drift import listed
from playbooks.steps.facts import Facts, version_in
from playbooks.strategies.plan import LAST_WATCH, Plan
from playbooks.traffic.traffic import host_guard_delay

STILL_NOTHING = "no release runs, as before the deploy"


def unchanged(run: Deployment) -> Outcome:
    """Every host runs the version already; with two groups, every host of the live one."""
    env, release, facts = run.env, run.release, run.facts
    there = sum(fact.version == release.version for fact in facts.values())
    return Outcome(
        task="deploy",
        id="",
        environment=env.name,
        version=release.version,
        status=TaskStatus.UNCHANGED,
        message=f"{env.settings.app} {release.version} runs already on {_hosts(there)}; nothing to do",
        hosts=tuple(HostOutcome(host, fact.version, fact.version, HostState.UNCHANGED) for host, fact in facts.items()),
        started=release.created,
        seconds=time.monotonic() - run.started,
        by=release.by,
        warnings=run.instead,
        next=f"to deploy it again: invoke deploy {env.flag} --version={release.version} --force",
    )


def abandoned(run: Deployment, error: SlipwayError) -> Outcome:
    """The deploy ended before any host was switched."""
    env, release, facts = run.env, run.release, run.facts
    return Outcome(
        task="deploy",
        id=release.id,
        environment=env.name,
        version=release.version,
        status=TaskStatus.FAILED,
        message=f"the deploy stopped before any host switched: {error.message}",
        hosts=tuple(
            HostOutcome(host, fact.current_version, fact.current_version, HostState.UNTOUCHED)
            for host, fact in facts.items()
        ),
        started=release.created,
        seconds=time.monotonic() - run.started,
        by=release.by,
        migrations=run.migrated,
        tools=run.tools,
        code=error.code,
        exit_status=ExitStatus.FAILED,
    )


def deployed(
    run: Deployment, plan: Plan, rollout: Rollout, warnings: Sequence[str], requests: RequestSummary | None = None
) -> Outcome:
    """A deploy's plan was run, with or without success.

    Args:
        run: the deploy.
        plan, rollout: its plan, and what came of it.
        warnings: what a person should know, in order.
        requests: requests before and during the rollout.
    """
    env, release, facts = run.env, run.release, run.facts
    # With success, this group of hosts has the traffic.
    group = run.groups.idle if run.groups and plan.strategy != "rolling" else None
    seconds = time.monotonic() - run.started
    told = list(warnings)
    busy = seconds - rollout.watched
    if busy > env.settings.timeouts.slow:
        told.append(f"it took {busy:.0f} s; slipway_timeouts.slow allows {env.settings.timeouts.slow:.0f} s")
    gone_back = [env.target(host).settings for host in rollout.hosts(HostState.ROLLED_BACK)]
    hooks = list(dict.fromkeys(hook.label for settings in gone_back for hook in settings.hooks.before_switch))
    back = next((fact.current_version for fact in facts.values() if fact.current_version), None)
    if hooks and back:
        told.append(still_migrated(env, {release.version: hooks}, back))
    reverted = [one for one in run.migrated if one.direction == "down"]
    if reverted:
        told.append(f"taken back in the databases: {_listed(reverted)}")
    undone = {(one.database, one.id) for one in reverted}
    kept = [one for one in run.migrated if (one.database, one.id) not in undone]
    if kept and gone_back:
        works = f". They are expands, with which {back} works" if back else ""
        told.append(f"the databases keep what this deploy migrated: {_listed(kept)}{works}")
    if gone_back and back and (ran := [one for one in run.tools if one.moved or one.after.applied is None]):
        told.append(
            f"the databases keep what the migration tool did: {'; '.join(one.sentence for one in ran)}. Whether {back} "
            "works with it, only its authors know"
        )
    told += _unjudged(rollout)
    status, message, next_step, exit_status = _verdict(env, release, facts, rollout, group)
    return Outcome(
        task="deploy",
        id=release.id,
        environment=env.name,
        version=release.version,
        status=status,
        message=message + _lost_hand_changes(facts, rollout),
        hosts=tuple(_line(host, fact, rollout, release.version) for host, fact in facts.items()),
        started=release.created,
        seconds=seconds,
        by=release.by,
        strategy=plan.strategy,
        backup=run.backup,
        migrations=run.migrated,
        tools=run.tools,
        verdicts=tuple(stage_verdict.record for stage_verdict in rollout.stage_verdicts),
        warnings=tuple(told),
        next=next_step,
        code=rollout.code,
        requests=requests,
        exit_status=exit_status,
    )


def _listed(migrations: Sequence[Done]) -> str:
    return ", ".join(f"{one.label} in {one.database}" for one in migrations)


def _unjudged(rollout: Rollout) -> list[str]:
    """What is said where the watch after the switch came to no verdict, so that nobody takes the release for judged."""
    return [
        f"{stage_verdict.sentence.rstrip('.')}. The release stays, and this watch did not judge it"
        for stage_verdict in rollout.stage_verdicts
        if stage_verdict.stage == LAST_WATCH and stage_verdict.record.get("outcome") == "inconclusive"
        if rollout.verdict == "deployed"
    ]


def returned(
    run: RollbackRun,
    plan: Plan,
    rollout: Rollout,
    unreachable: Mapping[str, SlipwayError],
    requests: RequestSummary | None,
    unserved: SlipwayError | None,
) -> Outcome:
    """A rollback's plan was run, with or without success.

    Args:
        run: the rollback.
        plan, rollout: its plan, and what came of it.
        unreachable: hosts that were left out.
        requests: requests before and during the rollout.
        unserved: why a balancer has no server up, if one has none.
    """
    versions = sorted({version_in(release) for release in run.targets.values() if release})
    status, exit_status, message = _rollback_status(run, plan, rollout, unreachable, unserved, versions)
    wrong = [error for error in (unserved, *unreachable.values(), *run.refused.values()) if error]
    lines = [
        _failed(host, fact.version, fact.version, HostState.UNTOUCHED, run.refused[host])
        if host in run.refused
        else _back_line(host, fact, run.targets.get(host, fact.current), rollout, run.found.get(host, fact))
        for host, fact in run.facts.items()
    ]
    gone = [_failed(host, None, None, HostState.UNREACHABLE, error) for host, error in unreachable.items()]
    return Outcome(
        task="rollback",
        id=run.owner.id,
        environment=run.env.name,
        version=", ".join(versions),
        status=status,
        message=message + "".join(f"; database {name}" for name in run.databases),
        hosts=(*lines, *gone),
        started=run.owner.since,
        seconds=time.monotonic() - run.started,
        by=run.owner.who,
        reason=run.back.reason,
        strategy=plan.strategy,
        code=rollout.code or next((error.code for error in wrong), ""),
        next=_after_a_rollback(run, rollout, unserved, versions)
        or (f"invoke status {run.env.flag}" if exit_status else ""),
        requests=requests,
        exit_status=exit_status,
    )


def _rollback_status(
    run: RollbackRun,
    plan: Plan,
    rollout: Rollout,
    unreachable: Mapping[str, SlipwayError],
    unserved: SlipwayError | None,
    versions: Sequence[str],
) -> tuple[TaskStatus, ExitStatus, str]:
    facts, left = run.facts, run.left
    what = f"{run.env.settings.app} {', '.join(versions)}".rstrip()
    by_guards = [host for host, fact in run.found.items() if host in facts and fact.current != facts[host].current]
    changed = bool(plan.stages or run.databases or by_guards)
    group = (run.groups.live if run.stays else run.groups.idle) if run.groups else None
    message = _runs_again(what, run.targets, group) if changed else _runs_already(what, run.targets, group)
    if by_guards:
        message += f"; {', '.join(by_guards)} went back by {'its guard' if len(by_guards) == 1 else 'their guards'}"
    if rollout.reasons:
        return TaskStatus.STUCK, ExitStatus.PERSON_NEEDED, f"the rollback to {what} failed: {rollout.why}"
    if unserved:
        return TaskStatus.STUCK, ExitStatus.PERSON_NEEDED, f"{message}, but {unserved.message}"
    if unreachable or run.refused:
        but = [f"{host} stays on {facts[host].version}: {error.message}" for host, error in run.refused.items()]
        but += [f"{', '.join(unreachable)} could not be reached"] if unreachable else []
        return TaskStatus.PARTIAL, ExitStatus.PERSON_NEEDED, f"{message}, but {'; '.join(but)}"
    closes = left is not None and left.task != "rollback"
    message += f"; the interrupted task '{left.what}' is finished with" if left and closes else ""
    return TaskStatus.DONE if changed else TaskStatus.UNCHANGED, ExitStatus.DONE, message


def _after_a_rollback(
    run: RollbackRun, rollout: Rollout, unserved: SlipwayError | None, versions: Sequence[str]
) -> str:
    """What to type next, where something is wrong."""
    if rollout.reasons and versions:
        # A second one without --to would go back one further.
        return f"correct the cause, then: invoke rollback {run.env.flag} --to={versions[0]}"
    hint = next((error.hint for error in run.refused.values() if error.hint), "")
    return hint or _hint(unserved, run.env)


def _hint(error: SlipwayError | None, env: Environment) -> str:
    return (error.hint or "").replace(ANY_ENV, env.flag) if error else ""


def _runs_again(what: str, targets: Mapping[str, str | None], group: str | None) -> str:
    new = [host for host, release in targets.items() if release is None]
    if len(new) == len(targets):
        return f"{what}: {STILL_NOTHING}"
    again = f"{what} runs again on {_hosts(len(targets) - len(new), group)}"
    return f"{again}; on {', '.join(new)} {STILL_NOTHING}" if new else again


def _runs_already(what: str, targets: Mapping[str, str | None], group: str | None) -> str:
    there = sum(release is not None for release in targets.values())
    if not there:
        return f"{what}: {STILL_NOTHING}"
    return f"{what} runs on {_hosts(there, group)}, and none of them had to be changed"


def _back_line(host: str, fact: Facts, target: str | None, rollout: Rollout, found: Facts) -> HostOutcome:
    state = rollout.host_states.get(host, HostState.UNCHANGED)
    if state == HostState.UNCHANGED and found.current != fact.current:
        state = HostState.DEPLOYED  # its guard has done that
    words = {HostState.DEPLOYED: "rolled back", HostState.UNCHANGED: "unchanged"}
    stays = state in (HostState.UNTOUCHED, HostState.ROLLED_BACK)
    after = fact.current_version if stays else version_in(target) if target else None
    error = rollout.reasons.get(host)
    return _failed(host, found.current_version, after, words.get(state, state), error)


def without(outcome: Outcome, unreachable: Mapping[str, SlipwayError]) -> Outcome:
    """The outcome with the hosts that the deploy went on without."""
    gone = (_failed(host, None, None, HostState.UNREACHABLE, error) for host, error in unreachable.items())
    return replace(outcome, hosts=(*outcome.hosts, *gone))


def _verdict(
    env: Environment, release: Release, facts: Mapping[str, Facts], rollout: Rollout, group: str | None
) -> tuple[TaskStatus, str, str, ExitStatus]:
    what = f"{env.settings.app} {release.version}"
    command = env.flag
    why = rollout.why
    ended = "was stopped" if rollout.for_lack_of_headroom else "failed"
    cause = f"{what} was {rollout.stopped}" if rollout.stopped else f"{what} {ended}: {why}"
    if rollout.verdict == "stuck":
        stuck = rollout.hosts(HostState.STUCK)
        message = f"{what} failed, and {', '.join(stuck)} could not be taken back: {why or 'interrupted'}"
        next_step = f"invoke status {command} shows its state; invoke logs {command} --host={stuck[0]} shows why"
        return TaskStatus.STUCK, message, next_step, ExitStatus.PERSON_NEEDED
    if rollout.verdict == "guarded":
        where = "; ".join(filter(None, (_left_to_guards(env, rollout), _where_hosts_are(facts, rollout))))
        return TaskStatus.ROLLED_BACK, f"{cause}. {where}", f"invoke status {command}", ExitStatus.PERSON_NEEDED
    if rollout.verdict == "halted":
        message = f"{what} {ended}, and every host stays on what it runs now (on_failure: halt): {why}"
        next_step = f"invoke rollback {command} takes it back; invoke deploy {command} deploys the next version"
        if rollout.for_lack_of_headroom:
            next_step = f"{rollout.hint.replace(ANY_ENV, command)}; or invoke rollback {command}"
        return TaskStatus.HALTED, message, next_step, ExitStatus.PERSON_NEEDED
    if rollout.verdict == "rolled back":
        done = "The fleet was taken back" if rollout.hosts(HostState.ROLLED_BACK) else "No host was switched"
        message = f"{cause}. {done}: {_where_hosts_are(facts, rollout)}"
        return TaskStatus.ROLLED_BACK, message, rollout.hint.replace(ANY_ENV, command), ExitStatus.FAILED
    count = sum(state == HostState.DEPLOYED for state in rollout.host_states.values())
    message = f"{what} is deployed on {_hosts(count, group)}"
    if rollout.reasons:
        stuck = rollout.hosts(HostState.STUCK)
        allowed = "" if stuck else " (slipway_rollout.tolerate allows that)"
        message += f", but {_tolerated(rollout)}{allowed}: {why}"
        if stuck:
            next_step = f"invoke status {command} shows its state; invoke logs {command} --host={stuck[0]} shows why"
            return TaskStatus.PARTIAL, message, next_step, ExitStatus.PERSON_NEEDED
        return TaskStatus.DONE, message, f"the next deploy repairs that: invoke deploy {command}", ExitStatus.DONE
    return TaskStatus.DONE, message, "", ExitStatus.DONE


def _tolerated(rollout: Rollout) -> str:
    """A part of a sentence: the state of the hosts that failed and were tolerated."""
    failed: dict[HostState | None, list[str]] = {}
    for host in rollout.reasons:
        failed.setdefault(rollout.host_states.get(host), []).append(host)
    told = []
    for state, hosts in failed.items():
        names = ", ".join(hosts)
        if state == HostState.ROLLED_BACK:
            told.append(f"{names} {'was' if len(hosts) == 1 else 'were'} taken back")
        elif state == HostState.GUARDED:
            told.append(f"{names} {'goes' if len(hosts) == 1 else 'go'} back by {_guards(hosts)}")
        elif state == HostState.STUCK:
            told.append(f"{names} could not be taken back")
        else:  # a host that said that its guard stays
            told.append(f"{_guards(hosts)} on {names} could not be removed")
    return ", ".join(told)


def _guards(hosts: Sequence[str]) -> str:
    return "its guard" if len(hosts) == 1 else "their guards"


def _left_to_guards(env: Environment, rollout: Rollout) -> str:
    """A sentence: what guards do after the task, and when."""
    timeout = env.settings.guard.timeout
    hosts = rollout.hosts(HostState.GUARDED)
    if not hosts:
        return f"The balancers' guards move the traffic back when the controller has been silent for {timeout:.0f} s"
    silence = timeout + (host_guard_delay(timeout) if env.settings.balancer else 0.0)
    verb = "is left to its guard, which takes it" if len(hosts) == 1 else "are left to their guards, which take them"
    return f"{', '.join(hosts)} {verb} back when the controller has been silent for {silence:.0f} s"


def _lost_hand_changes(facts: Mapping[str, Facts], rollout: Rollout) -> str:
    """The end of a sentence: what was changed by hand in releases that the new one has replaced."""
    there = rollout.hosts(HostState.DEPLOYED, HostState.UNHEALTHY)
    left = [(host, left) for host in there if (drift := facts[host].drift) and (left := drift.in_release)]
    if not left:
        return ""
    what = f" ({listed(left[0][1])})" if len(left) == 1 else ""
    return f"; the changes made by hand on {', '.join(host for host, _ in left)}{what} are not in the new release"


def _where_hosts_are(facts: Mapping[str, Facts], rollout: Rollout) -> str:
    """What hosts run after a failed deploy: what they ran before, unless somebody has removed that.

    Empty if all of them are left to their guards.
    """
    left = rollout.hosts(HostState.GUARDED)
    there = [fact for host, fact in facts.items() if host not in left]
    if there and not any(fact.current for fact in there):
        return STILL_NOTHING
    gone = [facts[host] for host in rollout.hosts(HostState.ROLLED_BACK) if facts[host].lost]
    told = [
        f"{fact.host} runs {version_in(fact.fallback) if fact.fallback else 'no release'}, because the folder of "
        f"{fact.current}, which it ran before, is gone"
        for fact in gone
    ]
    if len(gone) < sum(fact.current is not None for fact in there):
        told.insert(0, f"every {'other ' if gone or left else ''}host runs what it ran before")
    return "; ".join(told)


def _line(host: str, fact: Facts, rollout: Rollout, version: str) -> HostOutcome:
    state = rollout.host_states.get(host, HostState.UNCHANGED)
    if state in (HostState.DEPLOYED, HostState.UNHEALTHY):
        after: str | None = version
    elif state in (HostState.ROLLED_BACK, HostState.GUARDED):
        after = version_in(fact.fallback) if fact.fallback else None
    else:
        after = fact.current_version
    error = rollout.reasons.get(host)
    return _failed(host, fact.current_version, after, state, error)


def _failed(host: str, before: str | None, after: str | None, result: str, error: SlipwayError | None) -> HostOutcome:
    """A host's line, with why it failed, if it did."""
    if error is None:
        return HostOutcome(host, before, after, result)
    return HostOutcome(host, before, after, result, error.message, error.log, error.code)


def _hosts(count: int, group: str | None = None) -> str:
    which = f" of {group}, which has the traffic" if group else ""
    return counted(count, "host") + which
