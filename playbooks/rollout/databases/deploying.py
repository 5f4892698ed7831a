"""What a deploy does to the databases, before the first host switches (C1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from playbooks.core.errors import MigrationsRefused, SlipwayError
from playbooks.fleet.fleet import Fleet
from playbooks.migrations.sql_files import Migration
from playbooks.rollout.databases.allowing import left_by_later, require_allowed, require_ready
from playbooks.rollout.databases.contracts import contracts_for_deploy
from playbooks.rollout.databases.jobs import Done, Wanted, contract_jobs, expand_jobs, lossy, run_jobs
from playbooks.rollout.databases.reading import DatabaseMigrations, compared, databases_with_migrations, from_release
from playbooks.rollout.databases.tools import ToolDone, run_tools
from playbooks.rollout.runs import Deployment


def look_at_databases(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Find whatever would keep the databases from being migrated. What only hosts can read is found when it is staged.

    Raises:
        SlipwayError: a database's history does not fit, or its migrations were not rehearsed.
    """
    return deployment if deployment.migrations is None else _compared(fleet, deployment, deployment.migrations)


def _compared(fleet: Fleet, deployment: Deployment, migrations: Mapping[str, tuple[Migration, ...]]) -> Deployment:
    env = deployment.env
    found = compared(fleet, env, migrations) if migrations else []
    require_ready(env, found)
    version = deployment.release.version
    allowed = require_allowed(fleet, env, found, deployment.facts, version, deployment.wanted.overrule)
    warnings = [*left_by_later(found, version), *allowed]
    return replace(deployment, databases=tuple(found), warnings=(*deployment.warnings, *warnings))


def migrate_databases(fleet: Fleet, deployment: Deployment, migrated: list[Done]) -> Deployment:
    """Apply the migrations that the new release needs and the running one can live with.

    Args:
        migrated: gets each migration that is done.

    Raises:
        SlipwayError: a database's history does not fit, or a migration failed; what runs has not changed.
    """
    env, release = deployment.env, deployment.release
    if not databases_with_migrations(env):
        return deployment
    if deployment.databases is None:
        migrations = from_release(fleet, env, release.id, [target.name for target in deployment.outdated])
        deployment = _compared(fleet, deployment, migrations)
    found = deployment.databases or ()
    run_jobs(fleet, env, expand_jobs(found), migrated, by=release.by, deploy=release.id)
    told = _apply_contracts(fleet, deployment, found, migrated)
    done = {(one.database, one.id) for one in migrated}
    owed = [
        f"{job.database.database.name}: {job.migration.label}"
        for job in contract_jobs(found)
        if (job.database.database.name, job.migration.id) not in done
    ]
    if owed:
        how = f"Then: invoke migrate {env.flag} --contract"
        told.append(f"owed, once nothing needs the old schema: {', '.join(owed)}. {how}")
    return replace(deployment, migrated=tuple(migrated), warnings=(*deployment.warnings, *told))


def _apply_contracts(
    fleet: Fleet, deployment: Deployment, found: Sequence[DatabaseMigrations], migrated: list[Done]
) -> list[str]:
    """Apply the contracts that a deploy may apply; returns why others wait, as warnings."""
    env, release, facts = deployment.env, deployment.release, deployment.facts
    told: list[str] = []
    for one in contracts_for_deploy(fleet, env, facts, found):
        try:
            told += require_allowed(
                fleet, env, [one], facts, release.version, deployment.wanted.overrule, phase="contract"
            )
        except MigrationsRefused as refused:
            told.append(refused.message)
        else:
            run_jobs(fleet, env, contract_jobs([one]), migrated, by=release.by, deploy=release.id)
    return told


def take_migrations_back(fleet: Fleet, deployment: Deployment) -> Deployment:
    """Take back what a deploy has applied, where the settings ask for that. No host runs the new release any more.

    It stops at the first one that has no way back, or whose way back loses data, as its rehearsal has shown. An error
    is a warning, since the fleet works as it is.
    """
    env, release = deployment.env, deployment.release
    done: list[Done] = []
    told: list[str] = []
    for one in deployment.databases or ():
        applied = {job.id for job in deployment.migrated if job.database == one.database.name}
        if not applied or not one.database.migrations or one.database.migrations.on_failure == "keep":
            continue
        back = [Wanted(one, migration, "down") for migration in reversed(one.migrations) if migration.id in applied]
        ways = list(takewhile(lambda job: job.migration.down and not lossy(job), back))
        try:
            run_jobs(fleet, env, ways, done, by=release.by, deploy=release.id)
        except SlipwayError as error:
            told.append(f"{one.database.name}: a migration could not be taken back: {error.message}")
        else:
            if left := [job.migration.label for job in back[len(ways) :]]:
                told.append(f"{one.database.name} keeps {', '.join(left)}: {left[0]} has no lossless way back")
    return replace(deployment, migrated=(*deployment.migrated, *done), warnings=(*deployment.warnings, *told))


def migrate_by_tools(fleet: Fleet, deployment: Deployment, done: list[ToolDone]) -> Deployment:
    """Let the application's own tools migrate, in the staged release, on the first host that changes.

    Args:
        done: gets each run.

    Raises:
        SlipwayError: a tool failed, or another task migrates the database; what runs has not changed.
    """
    env, release = deployment.env, deployment.release
    warnings = run_tools(fleet, env, release.id, deployment.outdated[0].name, done)
    return replace(deployment, tools=tuple(done), warnings=(*deployment.warnings, *warnings))
