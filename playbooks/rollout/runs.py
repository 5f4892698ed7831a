"""What a deploy and a rollback hand on from phase to phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from playbooks.core.artifact import Release
from playbooks.core.errors import SlipwayError
from playbooks.core.requests import DeployRequest, RollbackRequest
from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.fleet.lock_owner import LockOwner
from playbooks.migrations.sql_files import Migration
from playbooks.releases.members import Members
from playbooks.releases.render import Rendered
from playbooks.releases.renderings import Renderings, for_next
from playbooks.rollout.databases.jobs import Done
from playbooks.rollout.databases.reading import DatabaseMigrations
from playbooks.rollout.databases.tools import ToolDone
from playbooks.rollout.mover import Move
from playbooks.steps.facts import Facts
from playbooks.strategies.plan import Plan
from playbooks.traffic.groups import Groups


@dataclass(frozen=True)
class Deployment:
    """One deploy, as far as it has come: each phase returns it with what it has found.

    Args:
        env: the environment.
        wanted: the deploy request.
        release: the new release.
        renderings: each host's configuration, rendered for each of its slots.
        archive_members: waits for the members of the artifact, which is read in the background.
        plan: the plan for hosts that are not known yet.
        owner: the lock owner.
        started: when it began, by the monotonic clock.
        targets: the application's hosts that can be reached.
        facts: what these hosts report.
        groups: the two groups of hosts, if the environment has them.
        outdated: the hosts that do not run what they should.
        backup: the id of the backup to go back to, if one was made or proven.
        migrations: the release's, by database; None if only a host can read the artifact.
        databases: the databases and what they lack; None until that is known.
        migrated: the migrations that were applied.
        tools: the runs of the application's own migration tools.
        instead: a sentence on each version that was passed over.
        warnings: what a person should know afterwards.
    """

    env: Environment
    wanted: DeployRequest
    release: Release
    renderings: Mapping[str, Renderings]
    archive_members: Callable[[], Members]
    plan: Plan
    owner: LockOwner
    started: float
    targets: Sequence[Target] = ()
    facts: Mapping[str, Facts] = field(default_factory=dict)
    groups: Groups | None = None
    outdated: Sequence[Target] = ()
    backup: str | None = None
    migrations: Mapping[str, tuple[Migration, ...]] | None = None
    databases: tuple[DatabaseMigrations, ...] | None = None
    migrated: tuple[Done, ...] = ()
    tools: tuple[ToolDone, ...] = ()
    instead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def hosts(self) -> dict[str, Rendered]:
        """The hosts that change, each with the configuration for where its new release runs."""
        rendered = for_next(self.renderings, self.facts)
        return {target.name: rendered[target.name] for target in self.outdated}

    @property
    def unfinished(self) -> bool:
        """Whether an earlier task was interrupted, or its guard is still there."""
        return any(fact.interrupted or fact.guard for fact in self.facts.values())


@dataclass(frozen=True)
class RollbackRun:
    """One rollback, as far as it has come: each phase returns it with what it has found.

    Args:
        env: the environment.
        back: the rollback request.
        started: when it began, by the monotonic clock.
        owner: the lock owner.
        left: the interrupted task, if there is one.
        found: what the hosts reported before the lock was taken; taking it makes a waiting guard act.
        facts: what they report now.
        groups: the two groups of hosts, if the environment has them.
        targets: the release that each host goes back to; None for nothing.
        moves: how the hosts that change do it.
        refused: why other hosts cannot go back.
        stays: whether the traffic stays with the group of hosts that has it.
        databases: the databases that were restored.
        warnings: what a person should know.
    """

    env: Environment
    back: RollbackRequest
    started: float
    owner: LockOwner
    left: LockOwner | None
    found: Mapping[str, Facts]
    facts: Mapping[str, Facts]
    groups: Groups | None = None
    targets: Mapping[str, str | None] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    refused: Mapping[str, SlipwayError] = field(default_factory=dict)
    stays: bool = False
    databases: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        """Whether this finishes an interrupted rollback."""
        return self.left is not None and self.left.task == "rollback"
