"""A deploy's first half: a backup of everything there is now, and the complete new release on every host (A1, A2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from playbooks.backups.making import Record, back_up_jobs, judge_backups, one_backup, prove_jobs
from playbooks.core.artifact import Release
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.remembered import place
from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.fleet.fanout import Concurrency, Job, Results, by_host
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.releases.delta import Told, make_deltas, release_to_add_to
from playbooks.releases.pace import Stopwatch, keep_pace, read_pace
from playbooks.releases.render import Rendered, pack
from playbooks.rollout.planning.outdated_hosts import is_made_of
from playbooks.steps.drill import root_directory
from playbooks.steps.facts import Facts
from playbooks.steps.stage import Delta, Patch, Staged, stage


def back_up_and_stage(
    fleet: Fleet,
    env: Environment,
    targets: Sequence[Target],
    release: Release,
    rendered: Mapping[str, Rendered],
    facts: Mapping[str, Facts],
) -> tuple[str | None, list[str]]:
    """Back up and stage side by side: neither changes what serves, and both must be done before the first switch.

    If the last deploy left a backup, every host proves that it still holds. If one cannot, all hosts make a new one,
    because a backup has one id for all hosts.

    Returns:
        The backup's id, and warnings.

    Raises:
        SlipwayError: some host has no backup, or no release; nothing that serves was touched.
    """
    kept = place("pace", env.settings.app, env.name, env.folder)
    pace, watch = read_pace(kept), Stopwatch()
    theirs = {target.name: facts[target.name] for target in targets}

    def say(text: str) -> None:
        fleet.progress.phase(Phase(PhaseCode.MAKING_DELTAS, text))

    with make_deltas(env, release.artifact, theirs, Told(pace, watch, say)) as deltas:
        staging = _stage_jobs(fleet, env, targets, release, rendered, facts, deltas, watch)
        done = _run(fleet, env, staging, facts)
    keep_pace(kept, watch.pace(pace))
    return done


def stage_in_drill(
    fleet: Fleet, env: Environment, host: str, release: Release, rendered: Rendered, facts: Facts
) -> None:
    """Stage a release as a deploy does, for a drill to start: it ends in the drill's root directory, and nowhere else.

    Args:
        fleet: the open sessions, with the host's lock held.
        env: the environment.
        host: a host whose backup a drill has restored.
        release: a release that the host does not have.
        rendered: its configuration there.
        facts: of the host.

    Raises:
        SlipwayError: it cannot be staged; nothing of it is left.
    """

    def say(text: str) -> None:
        fleet.progress.note(host, text)

    watch = Stopwatch()
    told = Told(read_pace(place("pace", env.settings.app, env.name, env.folder)), watch, say)
    there, target = {host: facts}, env.target(host)
    with make_deltas(env, release.artifact, there, told) as deltas:
        jobs = _stage_jobs(fleet, env, [target], release, {host: rendered}, there, deltas, watch, in_drill=True)
        by_host(jobs, fleet.run(jobs, finish=True)).all_or_raise("staging")


def _run(
    fleet: Fleet, env: Environment, staging: list[Job[Staged]], facts: Mapping[str, Facts]
) -> tuple[str | None, list[str]]:
    proving = prove_jobs(fleet, env, facts)
    backing, backup = ([], None) if proving else back_up_jobs(fleet, env, facts, quickly=True)
    both: list[Job[Any]] = [*backing, *proving, *staging]
    results = fleet.run(both)
    by_host(staging, results[len(both) - len(staging) :]).all_or_raise("staging")
    if proving:
        proven = one_backup(by_host(proving, results[: len(proving)]))
        if proven is not None:
            return proven, []
        backing, backup = back_up_jobs(fleet, env, facts, quickly=True)
        return _judged(fleet, env, backup, by_host(backing, fleet.run(backing)))
    return _judged(fleet, env, backup, by_host(backing, results[: len(backing)]))


def _judged(
    fleet: Fleet, env: Environment, backup: str | None, made: Results[Record | None]
) -> tuple[str | None, list[str]]:
    """The backup's id, and warnings. If no host has made it, there is no backup with that id: older ones count instead,
    or there was nothing to back up yet."""
    warnings = judge_backups(fleet, env, made)
    return (backup if any(made.ok.values()) else None), warnings


def _stage_jobs(
    fleet: Fleet,
    env: Environment,
    targets: Sequence[Target],
    release: Release,
    rendered: Mapping[str, Rendered],
    facts: Mapping[str, Facts],
    deltas: Sequence[Delta],
    watch: Stopwatch,
    *,
    in_drill: bool = False,
) -> list[Job[Staged]]:
    first = targets[0].name

    def stage_on(remote: Remote) -> Staged:
        target = env.target(remote.name)
        plan = pack(target, release, rendered[remote.name])
        note = partial(fleet.progress.note, remote.name)
        fits = ((delta, release_to_add_to(delta, facts[remote.name], target.settings)) for delta in deltas)
        patch = next((Patch(delta, base) for delta, base in fits if base), None)
        settings, is_first = target.settings, remote.name == first
        into = root_directory(settings) if in_drill else None
        staged = stage(
            remote, settings, release, plan, first=is_first, patch=patch, note=note, sent=watch.sent, into=into
        )
        for warning in staged.warnings:
            fleet.progress.warn(f"{remote.name}: {warning}")
        return staged

    limit = Concurrency("fetch", env.settings.pull.parallel) if release.artifact.url else None
    return [
        Job(target.name, "stage", partial(stage_on, fleet.remotes[target.name]), limit)
        for target in targets
        if not _is_staged(facts[target.name], release, rendered[target.name])
    ]


def _is_staged(facts: Facts, release: Release, rendered: Rendered) -> bool:
    """Whether an interrupted deploy has staged this very release there completely."""
    there = facts.releases.get(release.id)
    return there is not None and there.state != "partial" and is_made_of(there, release, rendered)
