"""What is applied to databases or taken back, one migration after another (C1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from playbooks.core.counting import counted
from playbooks.core.errors import ExitStatus, SlipwayError, StepFailed, UsageError
from playbooks.core.names import cut
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Certificate, Rehearsed
from playbooks.migrations.sql_files import Direction, Migration, MigrationPhase, order
from playbooks.rollout.databases.reading import DatabaseMigrations
from playbooks.steps.migrations import (
    Migrated,
    MigrationJob,
    migrate,
    with_hint,
)


@dataclass(frozen=True)
class Done:
    """One migration that was applied or taken back.

    Args:
        database: the database's name.
        id, name, phase: the migration.
        direction: up or down.
        seconds: how long its statements took.
        statements: how many they are.
        tries: how often it was begun, because of locks.
    """

    database: str
    id: str
    name: str
    phase: MigrationPhase
    direction: Direction
    seconds: float
    statements: int
    tries: int

    @property
    def label(self) -> str:
        """The migration in a message."""
        return f"{self.id}_{self.name}"


@dataclass(frozen=True)
class Wanted:
    """One migration to apply or to take back."""

    database: DatabaseMigrations
    migration: Migration
    direction: Direction = "up"


@dataclass(frozen=True)
class PlannedMigration:
    """A migration that is to be applied or taken back, for a person; its statements are cut short.

    Args:
        estimate: seconds, by the last rehearsal and the database's size; None if it was not rehearsed.
    """

    database: str
    id: str
    name: str
    phase: MigrationPhase
    direction: Direction
    statements: tuple[str, ...]
    estimate: float | None = None


def expand_jobs(found: Sequence[DatabaseMigrations]) -> list[Wanted]:
    """Return what a release needs before it runs."""
    return [Wanted(one, migration) for one in found for migration in one.pending.expand]


def contract_jobs(found: Sequence[DatabaseMigrations]) -> list[Wanted]:
    """Return what may run when nothing needs the old schema any more."""
    return [Wanted(one, migration) for one in found for migration in one.pending.contract]


def jobs_to(found: Sequence[DatabaseMigrations], to: str) -> list[Wanted]:
    """Return what brings a database to a migration: up to it, or back to it from later ones.

    Args:
        found: the databases.
        to: the migration's id; "none" takes all of them back.

    Raises:
        UsageError: no database has this migration, or the release has no way back from a later one.
    """
    for one in found:
        if one.pending.newer:
            raise UsageError(
                f"--to={to}: {one.database.name} has {', '.join(one.pending.newer)}, and the release that runs has no "
                "file that takes them back; nothing was touched",
                hint="deploy the release that has it; invoke migrate with --to; then deploy the older one",
            )
    fits = [one for one in found if to == "none" or any(migration.id == to for migration in one.migrations)]
    if not fits:
        known = [migration.id for one in found for migration in one.migrations]
        raise UsageError(
            f"--to={to}: the release that runs has no such migration; nothing was touched",
            hint=f"it has: {', '.join(known[-12:]) or 'none'}; or --to=none",
        )
    jobs = []
    for one in fits:
        rows = {row.id: row for row in one.state.applied if row.is_there}
        key = order([migration.id for migration in one.migrations])
        later = [migration for migration in one.migrations if to == "none" or key(migration.id) > key(to)]
        back = [migration for migration in reversed(later) if migration.id in rows]
        stuck = [migration.label for migration in back if migration.down is None]
        if stuck:
            raise UsageError(
                f"--to={to}: {', '.join(stuck)} cannot be undone: its file says so; nothing was touched",
                hint="a backup restores the database: invoke rollback --with-database",
            )
        jobs += [Wanted(one, migration, "down") for migration in back]
        earlier = [migration for migration in one.pending.expand if migration not in later]
        jobs += [Wanted(one, migration) for migration in earlier]
    return jobs


def refuse_lossy(jobs: Sequence[Wanted]) -> None:
    """Refuse to take back what loses data, as the last rehearsal has shown.

    Raises:
        UsageError: with what would be lost.
    """
    for job in jobs:
        if job.direction == "down" and (lost := lossy(job)):
            raise UsageError(
                f"taking {job.migration.label} back loses something, as its rehearsal has shown: "
                f"{cut('; '.join(lost[:4]))}. Nothing was touched",
                hint="--force does it all the same; a backup restores the database: invoke rollback --with-database",
            )


def lossy(job: Wanted) -> Sequence[str]:
    """Return what taking a migration back loses, as the last rehearsal has shown; empty if it was not rehearsed."""
    shown, _ = _rehearsed(job)
    return shown.lossy if shown else ()


def planned_migration(job: Wanted) -> PlannedMigration:
    """Return a migration as a dry run shows it."""
    migration = job.migration
    file = migration.down if job.direction == "down" and migration.down else migration.up
    statements = tuple(statement.shown for statement in file.statements)
    name = job.database.database.name
    time = estimate(job)
    return PlannedMigration(name, migration.id, migration.name, migration.phase, job.direction, statements, time)


def estimate(job: Wanted) -> float | None:
    """Return how many seconds a migration may take: as in the last rehearsal, in proportion to the database's size."""
    shown, certificate = _rehearsed(job)
    if job.direction == "down" or shown is None or certificate is None:
        return None
    larger = job.database.state.bytes / max(1, certificate.bytes)
    return round(sum(shown.milliseconds) / 1000 * max(1.0, larger), 1)


def _rehearsed(job: Wanted) -> tuple[Rehearsed, Certificate] | tuple[None, None]:
    """Return what the newest rehearsal that has a migration, with the same file, has shown of it."""
    down = job.migration.down.sha256 if job.migration.down else ""
    for certificate in job.database.certificates:
        for one in certificate.migrations:
            same = one.down_sha256 == down if job.direction == "down" else one.up_sha256 == job.migration.up.sha256
            if one.id == job.migration.id and same:
                return one, certificate
    return None, None


def run_jobs(fleet: Fleet, env: Environment, jobs: Sequence[Wanted], done: list[Done], *, by: str, deploy: str) -> None:
    """Migrate, one migration after another, until the first that fails.

    Args:
        fleet: the open sessions, with the locks held.
        env: the environment.
        jobs: what to do.
        done: gets each one that is done.
        by, deploy: who does it, and the task's id.

    Raises:
        SlipwayError: one failed; it says where the databases stand.
    """
    for number, job in enumerate(jobs, start=1):
        migration, database = job.migration, job.database
        what = "applying" if job.direction == "up" else "taking back"
        guess = estimate(job)
        rehearsed = f", about {guess:g} s by its rehearsal" if guess is not None else ""
        text = f"{what} {migration.label} in {database.database.name} ({number} of {len(jobs)}{rehearsed})"
        fleet.progress.phase(Phase(PhaseCode.MIGRATING, text))
        ask = MigrationJob(migration, job.direction, by, deploy, _first(job))

        def one(remote: Remote, ask: MigrationJob = ask, database: DatabaseMigrations = database) -> Migrated:
            settings = env.target(remote.name).settings
            note = partial(fleet.progress.note, remote.name)
            return migrate(remote, settings, database.database, env.secrets, ask, note=note)

        result = fleet.each("migrate", one, hosts=[database.host], finish=True)
        if result.failed:
            raise _where_it_stands(env, result.failed[database.host], jobs, done)
        done.append(_done(job, result.ok[database.host]))


def _done(job: Wanted, took: Migrated) -> Done:
    migration = job.migration
    return Done(
        database=job.database.database.name,
        id=migration.id,
        name=migration.name,
        phase=migration.phase,
        direction=job.direction,
        seconds=round(took.seconds, 3),
        statements=len(took.milliseconds),
        tries=took.tries,
    )


def _where_it_stands(
    env: Environment, error: SlipwayError, jobs: Sequence[Wanted], done: Sequence[Done]
) -> SlipwayError:
    """Return the error of a migration with what is done besides, and what is not."""
    left = len(jobs) - len(done) - 1
    before = f". {', '.join(one.label for one in done)} is done and stays" if done else ""
    after = f". {counted(left, 'migration')} after it was not begun" if left else ""
    error.message = f"{error.message.rstrip('.')}{before}{after}"
    if error.code in (StepCode.MIGRATION_HALF, StepCode.MIGRATION_UNKNOWN):
        error.exit_status = ExitStatus.PERSON_NEEDED
    return with_hint(error, env.flag) if isinstance(error, StepFailed) else error


def _first(job: Wanted) -> int:
    """Return the first statement of a migration that is not done."""
    row = next((row for row in job.database.state.applied if row.id == job.migration.id), None)
    return row.next_statement if row and row.is_half and row.direction == job.direction else 1
