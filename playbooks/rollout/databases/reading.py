"""The migrations of a release, and what its databases have of them (C1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.core.artifact import Artifact
from playbooks.core.errors import ConfigError, SlipwayError, StepFailed
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Certificate, read_certificate
from playbooks.migrations.pending import Pending, compare
from playbooks.migrations.sql_files import Migration, MigrationPhase, read_sql_files
from playbooks.releases.sql_in_artifact import sql_in_artifact
from playbooks.settings.backup import Database
from playbooks.steps.migrations import (
    DatabaseState,
    read_sql,
    read_state,
    with_hint,
)

# How many hosts are asked for a release's SQL: of three, two say which one lies.
WITNESSES = 3
# The SQL files of a release, by database and name.
Files = Mapping[str, Mapping[str, bytes]]


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

    def lacking(self, phase: MigrationPhase) -> tuple[Migration, ...]:
        """What is applied next, in order: by a deploy; or with the contracts that are owed, after what they rest on."""
        if phase == "expand":
            return self.pending.expand
        return (*self.pending.expand, *self.pending.contract) if self.pending.contract else ()

    def certificate(self, phase: MigrationPhase) -> Certificate | None:
        """The last rehearsal of what a deploy applies, or of contracts."""
        return read_certificate(self.state.rehearsal if phase == "expand" else self.state.contract_rehearsal)

    @property
    def certificates(self) -> list[Certificate]:
        """The last rehearsals, the newest first."""
        found = [one for one in (self.certificate("expand"), self.certificate("contract")) if one]
        return sorted(found, key=lambda one: one.at, reverse=True)


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


def from_release(
    fleet: Fleet, env: Environment, release: str, hosts: Sequence[str]
) -> Mapping[str, tuple[Migration, ...]]:
    """Read a release's migrations from hosts that have it, by database.

    What they say runs as a database's user that the host itself may not be. So several hosts are asked, and must say
    the same.

    Args:
        fleet: the open sessions.
        env: the environment.
        release: the release's id.
        hosts: the application's hosts that have it, at least one.

    Raises:
        ConfigError: a file is wrong.
        SlipwayError: a host does not answer, or has no such folder, or hosts have other files than others.
    """

    def files(remote: Remote) -> Files:
        settings = env.target(remote.name).settings
        return {name: read_sql(remote, settings, release, folder) for name, folder in _folders(env).items()}

    asked = list(hosts)[:WITNESSES]
    found = fleet.each("migrations", files, hosts=asked).all_or_raise("reading migrations")
    agreed = agreed_files({host: found[host] for host in asked}, release)
    return {name: read_sql_files(agreed[name], folder) for name, folder in _folders(env).items()}


def agreed_files(found: Mapping[str, Files], release: str) -> Files:
    """Return the SQL files that all hosts have.

    Args:
        found: each host's files, by database and name.
        release: the release's id, for the message.

    Raises:
        SlipwayError: hosts have others; it names those that most do not agree with.
    """
    said = list(found.values())
    most = max(said, key=said.count)
    others = [host for host, files in found.items() if files != most]
    if others:
        raise SlipwayError(
            f"{' and '.join(others)} say that release {release} has other SQL files than "
            f"{' and '.join(host for host in found if host not in others)} say; no database was touched",
            hint="compare the files there; invoke drift shows what was changed by hand",
        )
    return most


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


def _host(env: Environment, database: Database) -> str:
    return next(host for host, names in env.database_hosts.items() if database.name in names)
