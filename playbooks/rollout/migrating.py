"""The databases' part of a release (C1): which migrations are pending, and applying them one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from playbooks.core.artifact import Artifact
from playbooks.core.clock import now
from playbooks.core.counting import counted
from playbooks.core.errors import ConfigError, ExitStatus, MigrationsRefused, SlipwayError, StepFailed, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Budget, objections, read_certificate
from playbooks.migrations.pending import Pending, compare
from playbooks.migrations.sql_files import Direction, Migration, MigrationPhase, order, read_sql_files
from playbooks.migrations.window import Window, is_open, next_opening
from playbooks.releases.sql_in_artifact import sql_in_artifact
from playbooks.settings.backup import Database
from playbooks.settings.migrations import RehearsalSettings
from playbooks.steps.database_measure import Measure, measure
from playbooks.steps.migrations import (
    DatabaseState,
    Migrated,
    MigrationJob,
    migrate,
    read_sql,
    read_state,
    with_hint,
)


@dataclass(frozen=True)
class DatabaseMigrations:
    """A database, and a release's migrations of it.

    Args:
        database: its settings.
        host: the host that reaches it.
        migrations: the release's, in order.
        state: what its server says.
        pending: what it lacks.
    """

    database: Database
    host: str
    migrations: tuple[Migration, ...]
    state: DatabaseState
    pending: Pending


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


def databases_with_migrations(env: Environment) -> list[Database]:
    """Return the databases that releases change by SQL files."""
    return [one for one in env.settings.databases if one.migrations and not one.migrations.by_tool]


def migrating_hosts(env: Environment) -> list[str]:
    """Return the hosts that reach the databases that releases change, also by a tool."""
    names = {database.name for database in env.settings.databases if database.migrations}
    return [host for host, databases in env.database_hosts.items() if names & set(databases)]


def secrets_of_migrations(env: Environment) -> list[str]:
    """Return the names of the secrets that migrating needs."""
    return [user[1] for database in env.settings.databases if (user := database.migrating_user)]


def from_artifact(env: Environment, artifact: Artifact) -> Mapping[str, tuple[Migration, ...]] | None:
    """Read a release's migrations out of its artifact, by database; None if only a host can read it.

    Raises:
        ConfigError: a file is wrong, or a folder is missing.
    """
    folders = _folders(env)
    found = sql_in_artifact(artifact, list(dict.fromkeys(folders.values()))) if folders else {}
    if found is None:
        return None
    problems: list[str] = []
    migrations: dict[str, tuple[Migration, ...]] = {}
    for name, folder in folders.items():
        try:
            migrations[name] = read_sql_files(found[folder], folder)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), hint="docs/migrations.md says what a file may have")
    return migrations


def from_release(fleet: Fleet, env: Environment, release: str, host: str) -> Mapping[str, tuple[Migration, ...]]:
    """Read a release's migrations from a host that has it, by database.

    Args:
        fleet: the open sessions.
        env: the environment.
        release: the release's id.
        host: an application's host.

    Raises:
        ConfigError: a file is wrong.
        SlipwayError: the host does not answer, or has no such folder.
    """

    def files(remote: Remote) -> dict[str, tuple[Migration, ...]]:
        settings = env.target(host).settings
        return {
            name: read_sql_files(read_sql(remote, settings, release, folder), folder)
            for name, folder in _folders(env).items()
        }

    return fleet.each("migrations", files, hosts=[host]).all_or_raise("reading migrations")[host]


def compared(
    fleet: Fleet, env: Environment, migrations: Mapping[str, tuple[Migration, ...]]
) -> list[DatabaseMigrations]:
    """Compare a release's migrations with the databases.

    Args:
        fleet: the open sessions.
        env: the environment.
        migrations: the release's, by database.

    Raises:
        SlipwayError: a database does not answer.
    """
    states = read_states(fleet, env)
    return [
        DatabaseMigrations(
            database,
            _host(env, database),
            migrations[database.name],
            states[database.name],
            compare(migrations[database.name], states[database.name].applied, database=database.name),
        )
        for database in databases_with_migrations(env)
    ]


def _folders(env: Environment) -> dict[str, str]:
    """Return the folder of each database's migrations in a release."""
    return {
        database.name: database.migrations.folder
        for database in env.settings.databases
        if database.migrations and database.migrations.folder is not None
    }


def read_states(fleet: Fleet, env: Environment) -> Mapping[str, DatabaseState]:
    """Ask each database for its migrations; by the database's name.

    Raises:
        SlipwayError: a database cannot be asked.
    """
    databases = databases_with_migrations(env)

    def one(remote: Remote) -> dict[str, DatabaseState]:
        own = [database for database in databases if _host(env, database) == remote.name]
        try:
            return {
                database.name: read_state(remote, env.target(remote.name).settings, database, env.secrets)
                for database in own
            }
        except StepFailed as error:
            raise with_hint(error, env.flag) from None

    found = fleet.each("database", one, hosts=migrating_hosts(env)).all_or_raise("asking the databases")
    return {name: state for states in found.values() for name, state in states.items()}


def obstacles(found: Sequence[DatabaseMigrations]) -> list[str]:
    """Return why databases cannot be migrated, as sentences."""
    return [reason for one in found for reason in _reasons(one)]


def require_ready(env: Environment, found: Sequence[DatabaseMigrations]) -> None:
    """Refuse to migrate a database whose history does not fit, or that cannot be written to.

    Raises:
        SlipwayError: every reason. Nothing has changed.
    """
    reasons = obstacles(found)
    if reasons:
        raise SlipwayError("; ".join(reasons) + ". No database was touched", hint=f"see: invoke migrations {env.flag}")


def _reasons(one: DatabaseMigrations) -> Iterator[str]:
    name = one.database.name
    yield from one.pending.problems
    if one.state.replica:
        yield f"{name} is a replica, which takes no changes: let slipway_databases name the primary server"
    if one.state.busy is not None:
        yield f"another task is migrating {name}" + (f", for {one.state.busy} s now" if one.state.busy else "")


def left_by_later(found: Sequence[DatabaseMigrations], release: str) -> list[str]:
    """Return what databases have of a later release, as warnings. A release works with expands after its own.

    Args:
        found: the databases.
        release: the release or version that does not know them.
    """
    return [
        f"{one.database.name} has {', '.join(one.pending.newer)}, which {release} does not know: from a later release, "
        "and stays"
        for one in found
        if one.pending.newer
    ]


def require_allowed(
    fleet: Fleet, env: Environment, found: Sequence[DatabaseMigrations], version: str, overruled: str
) -> list[str]:
    """Refuse migrations that no rehearsal speaks for, or at the wrong time, where the settings ask for that.

    Args:
        fleet: the open sessions.
        env: the environment.
        found: the databases.
        version: the release's.
        overruled: a person's reason to do it all the same; empty for none.

    Returns:
        What was overruled, as warnings.

    Raises:
        MigrationsRefused: with every reason. Nothing has changed.
    """
    reasons = [*outside_windows(found, now()), *unrehearsed(fleet, env, found)]
    if not reasons:
        return []
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons)
    if overruled:
        return [f"what speaks against migrating was overruled ({overruled}): {told}"]
    raise MigrationsRefused(
        f"the migrations of {version} may not be applied: {told}. Nothing was touched",
        hint=f"invoke rehearse {env.flag} --version={version}; to do it all the same: --overrule=REASON",
    )


def outside_windows(found: Sequence[DatabaseMigrations], moment: datetime) -> list[tuple[str, str]]:
    """Return for each database with pending migrations why it may not be migrated at this time, with its name."""
    reasons = []
    for one in found:
        asked = one.database.migrations.window if one.database.migrations else None
        if asked is None or not one.pending.expand:
            continue
        window = Window(asked.days, asked.opens, asked.closes, asked.zone)
        if not is_open(window, moment):
            opens = next_opening(window, moment)
            reasons.append((one.database.name, f"its window is {window.text}, and opens {opens:%a %H:%M} ({opens:%F})"))
    return reasons


def unrehearsed(fleet: Fleet, env: Environment, found: Sequence[DatabaseMigrations]) -> list[tuple[str, str]]:
    """Return why pending migrations may not be applied yet, each with the database's name.

    Raises:
        SlipwayError: a database cannot be asked.
    """
    reasons: list[tuple[str, str]] = []
    for one in found:
        asked = one.database.migrations.rehearsal if one.database.migrations else None
        if asked is None or not asked.required or not one.pending.expand:
            continue

        def look(remote: Remote, database: Database = one.database) -> Measure:
            return measure(remote, database, env.secrets)

        there = fleet.each("schema", look, hosts=[one.host]).all_or_raise("reading schemas")[one.host]
        if not there.has_tables:
            # A first deploy: no backup has tables to rehearse on, and nothing can be lost or locked.
            continue
        certificate = read_certificate(one.state.rehearsal)
        said = objections(certificate, one.pending.expand, there.fingerprint, budget_of(asked), now())
        reasons += [(one.database.name, sentence) for sentence in said]
    return reasons


def budget_of(asked: RehearsalSettings) -> Budget:
    """Return what the settings allow."""
    return Budget(asked.max_age, asked.lock, asked.table_mb * 1_000_000)


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
        certificate = read_certificate(job.database.state.rehearsal)
        if job.direction == "up" or certificate is None:
            continue
        shown = next((one for one in certificate.migrations if one.id == job.migration.id), None)
        if shown and shown.lossy and shown.down_sha256 == (job.migration.down.sha256 if job.migration.down else ""):
            raise UsageError(
                f"taking {shown.label} back loses something, as the rehearsal of {certificate.at} has shown: "
                f"{'; '.join(shown.lossy[:4])}. Nothing was touched",
                hint="--force does it all the same; a backup restores the database: invoke rollback --with-database",
            )


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
    certificate = read_certificate(job.database.state.rehearsal)
    if certificate is None or job.direction == "down":
        return None
    migration = job.migration
    for one in certificate.migrations:
        if (one.id, one.up_sha256) == (migration.id, migration.up.sha256):
            larger = job.database.state.bytes / max(1, certificate.bytes)
            return round(sum(one.milliseconds) / 1000 * max(1.0, larger), 1)
    return None


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


def _host(env: Environment, database: Database) -> str:
    return next(host for host, names in env.database_hosts.items() if database.name in names)
