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
from playbooks.fleet.lock_owner import LockOwner
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.rollout.migrated import still_migrated
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.rollout import HostState, Rollout
from playbooks.steps.drift import listed
from playbooks.steps.facts import Facts, version_in
from playbooks.strategies.plan import LAST_WATCH, Plan

STILL_NOTHING = "nothing runs, as before"


def unchanged(
    env: Environment, release: Release, facts: Mapping[str, Facts], warnings: Sequence[str], started: float
) -> Outcome:
    """Every host runs the version already; with two groups, every host of the live one."""
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
        seconds=time.monotonic() - started,
        by=release.by,
        warnings=tuple(warnings),
        next="redo it with --force",
    )


def abandoned(
    env: Environment, release: Release, facts: Mapping[str, Facts], error: SlipwayError, started: float
) -> Outcome:
    """The task ended before any host was switched."""
    return Outcome(
        task="deploy",
        id=release.id,
        environment=env.name,
        version=release.version,
        status=TaskStatus.FAILED,
        message=f"staging failed, no host was switched: {error.message}",
        hosts=tuple(
            HostOutcome(host, fact.current_version, fact.current_version, HostState.UNTOUCHED)
            for host, fact in facts.items()
        ),
        started=release.created,
        seconds=time.monotonic() - started,
        by=release.by,
        code=error.code,
        exit_status=ExitStatus.FAILED,
    )


def deployed(
    env: Environment,
    release: Release,
    facts: Mapping[str, Facts],
    rollout: Rollout,
    plan: Plan,
    backup: str | None,
    warnings: Sequence[str],
    started: float,
    group: str | None = None,
    requests: RequestSummary | None = None,
) -> Outcome:
    """A deploy's plan was run, with or without success; with success, this group of hosts has the traffic."""
    seconds = time.monotonic() - started
    told = list(warnings)
    busy = seconds - rollout.watched
    if busy > env.settings.timeouts.slow:
        told.append(f"it took {busy:.0f} s, longer than the {env.settings.timeouts.slow:.0f} s it should")
    gone_back = [env.target(host).settings for host in rollout.hosts(HostState.ROLLED_BACK)]
    hooks = list(dict.fromkeys(hook.label for settings in gone_back for hook in settings.hooks.before_switch))
    back = next((fact.current_version for fact in facts.values() if fact.current_version), None)
    if hooks and back:
        told.append(still_migrated(env, {release.version: hooks}, back))
    told += _unjudged(rollout)
    status, message, next_step, exit_status = _verdict(env, release, rollout, group, _where_hosts_are(facts, rollout))
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
        backup=backup,
        verdicts=tuple(stage_verdict.record for stage_verdict in rollout.stage_verdicts),
        warnings=tuple(told),
        next=next_step,
        code=rollout.code,
        requests=requests,
        exit_status=exit_status,
    )


def _unjudged(rollout: Rollout) -> list[str]:
    """What is said where the watch after the switch came to no verdict, so that nobody takes the release for judged."""
    return [
        f"{stage_verdict.sentence.rstrip('.')}. So the release was not judged by it"
        for stage_verdict in rollout.stage_verdicts
        if stage_verdict.stage == LAST_WATCH and stage_verdict.record.get("outcome") == "inconclusive"
        if rollout.verdict == "deployed"
    ]


def returned(
    env: Environment,
    reason: str,
    owner: LockOwner,
    facts: Mapping[str, Facts],
    targets: Mapping[str, str | None],
    plan: Plan,
    rollout: Rollout,
    databases: Sequence[str],
    unreachable: Mapping[str, SlipwayError],
    started: float,
    group: str | None = None,
    refused: Mapping[str, SlipwayError] | None = None,
    requests: RequestSummary | None = None,
    unserved: SlipwayError | None = None,
    *,
    found: Mapping[str, Facts],
    left: LockOwner | None = None,
) -> Outcome:
    """A rollback was run. If it succeeded, this group of hosts has the traffic, unless no server is up.

    Args:
        reason: why it was run, in the person's words.
        refused: hosts that stay on what they run, because they have no undamaged release to go back to.
        found: what hosts ran before the lock was taken; taking it makes a waiting guard act.
        left: the interrupted task.
    """
    refused = refused or {}
    versions = sorted({version_in(release) for release in targets.values() if release})
    what = f"{env.settings.app} {', '.join(versions)}".rstrip()
    by_guards = [host for host, fact in found.items() if host in facts and fact.current != facts[host].current]
    changed = bool(plan.stages or databases or by_guards)
    message = _runs_again(what, targets, group) if changed else _runs_already(what, targets, group)
    if by_guards:
        message += f"; {', '.join(by_guards)} went back by {'its guard' if len(by_guards) == 1 else 'their guards'}"
    if rollout.reasons:
        status, exit_status = TaskStatus.STUCK, ExitStatus.PERSON_NEEDED
        message = f"the rollback to {what} failed: {rollout.why}"
    elif unserved:
        status, exit_status = TaskStatus.STUCK, ExitStatus.PERSON_NEEDED
        message = f"{message}, but {unserved.message}"
    elif unreachable or refused:
        status, exit_status = TaskStatus.PARTIAL, ExitStatus.PERSON_NEEDED
        but = [f"{host} stays on {facts[host].version}: {error.message}" for host, error in refused.items()]
        but += [f"{', '.join(unreachable)} could not be reached"] if unreachable else []
        message = f"{message}, but {'; '.join(but)}"
    else:
        status, exit_status = (TaskStatus.DONE if changed else TaskStatus.UNCHANGED), ExitStatus.DONE
        closes = left is not None and left.task != "rollback"
        message += f"; '{left.what}', which was interrupted, is closed" if left and closes else ""
    # A second one without --to would go back one further.
    hint = next((error.hint for error in refused.values() if error.hint), "")
    again = f"mend that, then: invoke rollback {env.flag} --to={versions[0]}" if rollout.reasons and versions else ""
    wrong = [error for error in (unserved, *unreachable.values(), *refused.values()) if error]
    lines = [
        _failed(host, fact.version, fact.version, HostState.UNTOUCHED, refused[host])
        if host in refused
        else _back_line(host, fact, targets.get(host, fact.current), rollout, found.get(host, fact))
        for host, fact in facts.items()
    ]
    gone = [_failed(host, None, None, HostState.UNREACHABLE, error) for host, error in unreachable.items()]
    return Outcome(
        task="rollback",
        id=owner.id,
        environment=env.name,
        version=", ".join(versions),
        status=status,
        message=message + "".join(f"; database {name}" for name in databases),
        hosts=(*lines, *gone),
        started=owner.since,
        seconds=time.monotonic() - started,
        by=owner.who,
        reason=reason,
        strategy=plan.strategy,
        code=rollout.code or next((error.code for error in wrong), ""),
        next=again or hint or _hint(unserved, env) or (f"invoke status {env.flag}" if exit_status else ""),
        requests=requests,
        exit_status=exit_status,
    )


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
    env: Environment, release: Release, rollout: Rollout, group: str | None, is_back: str
) -> tuple[TaskStatus, str, str, ExitStatus]:
    what = f"{env.settings.app} {release.version}"
    command = env.flag
    why = rollout.why
    if rollout.verdict == "stuck":
        stuck = ", ".join(rollout.hosts(HostState.STUCK))
        message = f"{what} failed, and {stuck} could not be taken back: {why or 'interrupted'}"
        return TaskStatus.STUCK, message, f"look at {stuck}; then invoke status {command}", ExitStatus.PERSON_NEEDED
    if rollout.verdict == "guarded":
        left = ", ".join(rollout.hosts(HostState.GUARDED)) or "The traffic"
        seconds = f"{env.settings.guard.timeout:.0f} s"
        cause = f"was {rollout.stopped}" if rollout.stopped else f"failed: {why}"
        message = f"{what} {cause}. {left} goes back by itself, within {seconds}; the others are back"
        return TaskStatus.ROLLED_BACK, message, f"invoke status {command}", ExitStatus.PERSON_NEEDED
    if rollout.verdict == "halted":
        failed = "was stopped" if rollout.for_lack_of_headroom else "failed and was halted"
        message = f"{what} {failed} where it stands (on_failure: halt): {why}"
        next_step = f"invoke rollback {command}, or deploy again"
        if rollout.for_lack_of_headroom:
            next_step = f"{rollout.hint.replace(ANY_ENV, command)}; or invoke rollback {command}"
        return TaskStatus.HALTED, message, next_step, ExitStatus.PERSON_NEEDED
    if rollout.verdict == "rolled back":
        failed = "was stopped" if rollout.for_lack_of_headroom else "failed"
        cause = f"was {rollout.stopped}" if rollout.stopped else f"{failed}: {why}"
        message = f"{what} {cause}. The fleet was taken back: {is_back}"
        return TaskStatus.ROLLED_BACK, message, rollout.hint.replace(ANY_ENV, command), ExitStatus.FAILED
    if rollout.reasons:
        message = f"{what} is deployed but for {', '.join(rollout.reasons)}, which the settings tolerate: {why}"
        return TaskStatus.DONE, message, f"the next deploy repairs them: invoke deploy {command}", ExitStatus.DONE
    count = sum(state == HostState.DEPLOYED for state in rollout.host_states.values())
    return TaskStatus.DONE, f"{what} is deployed on {_hosts(count, group)}", "", ExitStatus.DONE


def _lost_hand_changes(facts: Mapping[str, Facts], rollout: Rollout) -> str:
    """The end of a sentence: what was changed by hand in releases that the new one has replaced."""
    there = rollout.hosts(HostState.DEPLOYED, HostState.UNHEALTHY)
    left = [(host, left) for host in there if (drift := facts[host].drift) and (left := drift.in_release)]
    if not left:
        return ""
    what = f" ({listed(left[0][1])})" if len(left) == 1 else ""
    return f"; what was changed by hand on {', '.join(host for host, _ in left)}{what} runs no more"


def _where_hosts_are(facts: Mapping[str, Facts], rollout: Rollout) -> str:
    """What hosts run after a failed deploy was taken back: what ran before, unless somebody has removed that."""
    if not rollout.hosts(HostState.ROLLED_BACK):
        return "no host was switched"
    if not any(fact.current for fact in facts.values()):
        return STILL_NOTHING
    gone = [facts[host] for host in rollout.hosts(HostState.ROLLED_BACK) if facts[host].lost]
    others = len(gone) < sum(fact.current is not None for fact in facts.values())
    told = [
        f"{fact.host} runs {version_in(fact.fallback) if fact.fallback else 'nothing'}, since {fact.current}, which it "
        "ran before, is gone"
        for fact in gone
    ]
    if not gone or others:
        told.insert(0, f"every {'other ' if gone else ''}host is back on what it ran before")
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
