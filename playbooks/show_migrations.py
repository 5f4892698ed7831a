"""Which migrations the databases have, which are pending, by whom and how long they took (C1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from playbooks.core.errors import ExitStatus
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.migrate import require_migrations, running_release
from playbooks.migrations.pending import Applied
from playbooks.rollout.databases.reading import (
    DatabaseMigrations,
    compared,
    databases_with_migrations,
    from_release,
    migrating_hosts,
    secrets_of_migrations,
)
from playbooks.rollout.databases.tools import look_at_tools, tool_name


@dataclass(frozen=True)
class ShownDatabase:
    """A database's migrations.

    Args:
        name, host: the database, and the host that reaches it.
        applied: those that it has, or had.
        pending: expands that the running release needs.
        owed: contracts that wait until nothing needs the old schema.
        newer: those of a later release, which the running one works with.
        problems: why nothing may be applied.
        busy: seconds for which a task has migrated it; None if none does.
        invalid: indexes that are not whole.
        bytes: its size.
    """

    name: str
    host: str
    applied: tuple[Applied, ...]
    pending: tuple[str, ...]
    owed: tuple[str, ...]
    newer: tuple[str, ...]
    problems: tuple[str, ...]
    busy: int | None
    invalid: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class ShownTool:
    """What the application's own tool says of a database.

    Args:
        name: the database.
        tool: the tool's name; "commands" if it is none that Slipway knows.
        host: the host that was asked.
        known: whether Slipway understands the tool's output; else only `said` counts.
        applied, pending: migrations by the tool's names.
        said: the output's lines.
        exit: the exit status of the tool's status command.
    """

    name: str
    tool: str
    host: str
    known: bool
    applied: tuple[str, ...]
    pending: tuple[str, ...]
    said: tuple[str, ...]
    exit: int


@dataclass(frozen=True)
class ShownMigrations:
    """The migrations of an environment."""

    schema: ClassVar[str] = "slipway.migrations/1"
    environment: str
    release: str
    databases: tuple[ShownDatabase, ...]
    tools: tuple[ShownTool, ...] = ()

    @property
    def exit_status(self) -> ExitStatus:
        """Return 3 if a person must look at a database."""
        bad = any(one.problems or any(row.is_half for row in one.applied) for one in self.databases)
        bad = bad or any(one.exit and not one.known for one in self.tools)
        return ExitStatus.PERSON_NEEDED if bad else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "release": self.release,
            "databases": [asdict(one) for one in self.databases],
            "tools": [asdict(one) for one in self.tools],
            "exit_status": int(self.exit_status),
        }


def show_migrations(env: Environment, progress: Progress) -> ShownMigrations:
    """Read every database's migrations, and compare them with the running release.

    Raises:
        UsageError: there are no migrations.
        SlipwayError: a host or a database does not answer.
    """
    require_migrations(env)
    env.secrets.require(secrets_of_migrations(env))
    names = dict.fromkeys([*(target.name for target in env.targets), *migrating_hosts(env)])
    with open_fleet([env.target(name).address for name in names], progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        host, release = running_release(env, read_all(fleet, env, env.targets))
        by_files = databases_with_migrations(env)
        found = compared(fleet, env, from_release(fleet, env, release, [host])) if by_files else []
        statuses = look_at_tools(fleet, env, release, host)
    tools = tuple(ShownTool(name, tool_name(env, name), host, **vars(status)) for name, status in statuses.items())
    return ShownMigrations(env.name, release, tuple(_shown(one) for one in found), tools)


def _shown(one: DatabaseMigrations) -> ShownDatabase:
    return ShownDatabase(
        name=one.database.name,
        host=one.host,
        applied=one.state.applied,
        pending=tuple(migration.label for migration in one.pending.expand),
        owed=tuple(migration.label for migration in one.pending.contract),
        newer=one.pending.newer,
        problems=(*one.pending.problems, *filter(None, [one.state.taken])),
        busy=one.state.busy,
        invalid=one.state.invalid,
        bytes=one.state.bytes,
    )
