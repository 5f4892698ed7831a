"""Start releases on a migrated copy of the databases, in the root directory of a drill (C1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from playbooks.core.artifact import Release
from playbooks.core.errors import Locked, StepFailed
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Proof
from playbooks.releases.renderings import Renderings, for_next
from playbooks.rollout.staging import stage_in_drill
from playbooks.steps import drill as drills
from playbooks.steps.drill import Drilled
from playbooks.steps.facts import Facts

NO_RELEASE = "no backup has the release that runs"
NO_COMMAND = "slipway_backup.drill.command does not say how a release is started"
LOCK_SECONDS = 60.0  # to wait for another task's lock before the new release is staged


@dataclass(frozen=True)
class NewRelease:
    """A release that is to be deployed.

    Args:
        release: the release.
        renderings: its configuration, by host and slot; empty if no host says how a release is started.
    """

    release: Release
    renderings: Mapping[str, Renderings]


@dataclass(frozen=True)
class Trial:
    """Where releases are started: a host whose newest backup, with the release that runs, a drill has restored.

    Args:
        fleet: the open sessions.
        env: the environment.
        owner: who rehearses.
        host: the host.
        facts: of the host.
    """

    fleet: Fleet
    env: Environment
    owner: LockOwner
    host: str
    facts: Facts


def try_running_release(trial: Trial | None) -> tuple[Proof, str]:
    """Start the release that runs on the migrated copy (N-1).

    Args:
        trial: where; None if no backup has this release.

    Returns:
        Whether it is healthy, and why not.
    """
    if trial is None:
        return "not tried", NO_RELEASE
    if not trial.env.target(trial.host).settings.backup.drill.command:
        return "not tried", NO_COMMAND
    release = trial.facts.current or ""
    return _started(trial, release, f"{release}, which runs,")


def try_new_release(trial: Trial | None, new: NewRelease | None) -> tuple[Proof, str]:
    """Stage the new release as a deploy does, and start it on the migrated copy.

    Args:
        trial: where; None if no backup has the release that runs.
        new: the new release; None if contracts are rehearsed.

    Returns:
        Whether it is healthy, and why not.
    """
    if new is None:
        return "not tried", "contracts bring no new release"
    if trial is None:
        return "not tried", NO_RELEASE
    env, host, release, progress = trial.env, trial.host, new.release, trial.fleet.progress
    target = env.target(host)
    if not target.settings.backup.drill.command:
        return "not tried", NO_COMMAND
    progress.phase(Phase(PhaseCode.STAGING, f"staging {release.version} on {host}, for the copy alone"))
    rendered = for_next(new.renderings, {host: trial.facts})[host]
    total = env.settings.timeouts.total
    try:
        # A session of its own: this one holds the lock of drills. A deploy may not stage at the same time.
        with (
            open_fleet([target.address], progress=progress, forks=1, total=total, acts=True) as apart,
            apart.lock(lock_requests(env, [host], trial.owner, wait=LOCK_SECONDS)) as held_locks,
        ):
            stage_in_drill(apart, env, host, release, rendered, trial.facts)
            held_locks.succeeded = True
    except Locked as error:
        return "not tried", f"it could not be staged: {error.message}"
    except StepFailed as error:
        return "failed", f"it cannot be staged: {error.message}"
    return _started(trial, release.id, release.version)


def _started(trial: Trial, release: str, called: str) -> tuple[Proof, str]:
    """Start a release that is in the drill's root directory; returns whether it is healthy, and why not."""
    settings = trial.env.target(trial.host).settings
    trial.fleet.progress.phase(Phase(PhaseCode.STARTING, f"starting {called} on the migrated copy"))

    def start(remote: Remote) -> Drilled:
        return drills.drill_start(remote, settings, release, trial.env.settings.databases)

    started = trial.fleet.each("start", start, hosts=[trial.host], finish=True)
    if started.failed:
        return "failed", started.failed[trial.host].message
    drilled = started.ok[trial.host]
    # A health check fails again and again: lines that differ in their times only say the same.
    lines = {re.sub(r"[0-9]+", "0", line): " ".join(line.split()) for line in drilled.log[-12:]}
    said = list(lines.values())[-4:]
    return ("failed", "; ".join(said or drilled.problems)) if drilled.problems else ("passed", "")
