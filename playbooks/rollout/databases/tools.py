"""Databases whose releases migrate them by a tool of their own (C1): what would run, and running it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from playbooks.core.counting import counted
from playbooks.core.errors import StepFailed, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.sql_files import Direction
from playbooks.migrations.tools import (
    MAX_KEPT,
    ToolStatus,
    commands_of,
    down_command,
    moved,
    require_applied,
)
from playbooks.settings.backup import Database
from playbooks.settings.migrations import Migrations
from playbooks.steps.migration_tool import ToolJob, ToolRan, look, run_tool
from playbooks.steps.migrations import with_hint


@dataclass(frozen=True)
class KeptStatus:
    """A tool's status as it is kept in a record, cut short.

    Args:
        applied: how many migrations are applied; None if Slipway does not understand the tool's output.
        last: the last one that is applied.
        pending: those that are pending, the first ones of them.
        said: the output's last lines, if Slipway does not understand them.
    """

    applied: int | None
    last: str
    pending: tuple[str, ...]
    said: tuple[str, ...]


@dataclass(frozen=True)
class ToolDone:
    """One run of a tool.

    Args:
        database: the database's name.
        tool: the tool's name; "commands" if it is none that Slipway knows.
        direction: up or down.
        host: where it ran.
        seconds: how long it took.
        exit: its exit status.
        locked: whether it held the database's lock of migrations.
        moved: what it applied or took back, the first ones of it; empty also if that is not known.
        before, after: its status.
    """

    database: str
    tool: str
    direction: Direction
    host: str
    seconds: float
    exit: int
    locked: bool
    moved: tuple[str, ...]
    before: KeptStatus
    after: KeptStatus

    @property
    def sentence(self) -> str:
        """What it did, for a person."""
        how = "taken back" if self.direction == "down" else "applied"
        if self.after.applied is None or self.before.applied is None:
            return f"{self.tool} ran in {self.database} for {self.seconds:.1f} s"
        what = f"{', '.join(self.moved)} {how}" if self.moved else "nothing was pending"
        return f"{self.tool} in {self.database}: {what}, in {self.seconds:.1f} s"


@dataclass(frozen=True)
class PlannedTool:
    """A run of a tool that is to come.

    Args:
        database: the database's name.
        tool: the tool's name; "commands" if it is none that Slipway knows.
        host: where it runs.
        command: what runs.
        unlocked: why it does not hold the database's lock of migrations; empty if it does.
    """

    database: str
    tool: str
    host: str
    command: str
    unlocked: str


def databases_with_tools(env: Environment) -> list[Database]:
    """Return the databases that a tool of the application's migrates."""
    return [one for one in env.settings.databases if one.migrations and one.migrations.by_tool]


def tool_name(env: Environment, database: str) -> str:
    """Return the name of a database's tool, for a person."""
    return next(_name(one) for one in databases_with_tools(env) if one.name == database)


def planned_tools(env: Environment, host: str | None, to: str | None = None) -> list[PlannedTool]:
    """Return what would run on a host; nothing without a host.

    Raises:
        UsageError: a tool has no way to the version.
    """
    return [
        PlannedTool(one.name, _name(one), host, _command(one, to), _why_unlocked(env, one, host))
        for one in (databases_with_tools(env) if host else ())
        if host
    ]


def look_at_tools(fleet: Fleet, env: Environment, release: str, host: str) -> dict[str, ToolStatus]:
    """Read the status of every tool, by the database's name.

    Args:
        fleet: the open sessions.
        env: the environment.
        release: the release's id.
        host: a host that has it.

    Raises:
        SlipwayError: the host does not answer, or a tool cannot be run.
    """

    def act(remote: Remote) -> dict[str, ToolStatus]:
        settings = env.target(host).settings
        return {one.name: look(remote, settings, one, release) for one in databases_with_tools(env)}

    if not databases_with_tools(env):
        return {}
    return fleet.each("status of tools", act, hosts=[host]).all_or_raise("asking the migration tools")[host]


def run_tools(
    fleet: Fleet, env: Environment, release: str, host: str, done: list[ToolDone], *, to: str | None = None
) -> list[str]:
    """Migrate each database by its tool, until the first that fails.

    Args:
        fleet: the open sessions, with the locks held.
        env: the environment.
        release: the release's id.
        host: the host that runs the tools, and has the release.
        done: gets each run, also one that fails.
        to: the version to go back to; default: apply what is pending.

    Returns:
        What a person should know.

    Raises:
        SlipwayError: one failed; it says how, and where the database stands.
    """
    databases = databases_with_tools(env)
    if not databases:
        return []
    statuses = look_at_tools(fleet, env, release, host) if to is not None else {}
    for one in databases if to is not None else ():
        require_applied(_migrations(one), statuses[one.name], to or "")
    warnings: list[str] = []
    for number, one in enumerate(databases, start=1):
        what = "takes back" if to is not None else "migrates"
        text = f"{_name(one)} {what} {one.name} on {host} ({number} of {len(databases)})"
        fleet.progress.phase(Phase(PhaseCode.MIGRATING, text))
        unlocked = _why_unlocked(env, one, host)
        direction: Direction = "down" if to is not None else "up"
        job = ToolJob(release, direction, _command(one, to), not unlocked)

        def act(remote: Remote, one: Database = one, job: ToolJob = job) -> ToolRan:
            settings = env.target(host).settings
            try:
                return run_tool(remote, settings, one, env.secrets, job, note=partial(fleet.progress.note, remote.name))
            except StepFailed as error:
                raise with_hint(error, env.flag) from None

        ran = fleet.each("migrate", act, hosts=[host], finish=True).all_or_raise("migrating")[host]
        done.append(_done(one, direction, host, ran, locked=not unlocked))
        if ran.exit:
            raise _failed(env, one, host, job, ran, len(databases) - number)
        warnings += _warnings(one, ran, unlocked, direction)
    return warnings


def _failed(env: Environment, one: Database, host: str, job: ToolJob, ran: ToolRan, left: int) -> StepFailed:
    was, now = (f"{status.sentence.rstrip('.')}" for status in (ran.before, ran.after))
    stands = f"The status of {one.name}" + (f" is as before: {now}" if was == now else f" was: {was}. It is now: {now}")
    rest = f". {counted(left, 'database')} after it was not begun" if left else ""
    error = StepFailed(
        f"'{job.command}' {ran.ended.rstrip('.')}. What it did until then stays done. {stands}{rest}",
        host=host,
        step="migration_tool",
        code=StepCode.MIGRATION_TOOL,
        log=ran.log,
    )
    return with_hint(error, env.flag)


def _warnings(one: Database, ran: ToolRan, unlocked: str, direction: Direction) -> list[str]:
    told = []
    if unlocked:
        told.append(
            f"{_name(one)} migrated {one.name} under the locks of the hosts alone, since {unlocked}: another machine "
            "with other hosts could migrate it at the same time"
        )
    elif not ran.kept:
        told.append(
            f"the lock of migrations in {one.name} was lost while {_name(one)} ran; is there a pooler at "
            f"{one.host} port {one.port}?"
        )
    if direction == "up" and ran.after.known and ran.after.pending:
        told.append(
            f"{_name(one)} ended well, but its status says that in {one.name} this is pending: "
            f"{', '.join(ran.after.pending[:MAX_KEPT])}"
        )
    return told


def _done(one: Database, direction: Direction, host: str, ran: ToolRan, *, locked: bool) -> ToolDone:
    return ToolDone(
        database=one.name,
        tool=_name(one),
        direction=direction,
        host=host,
        seconds=round(ran.milliseconds / 1000, 3),
        exit=ran.exit,
        locked=locked and ran.kept,
        moved=tuple(moved(ran.before, ran.after))[:MAX_KEPT],
        before=_kept(ran.before),
        after=_kept(ran.after),
    )


def _kept(status: ToolStatus) -> KeptStatus:
    return KeptStatus(
        applied=len(status.applied) if status.known else None,
        last=status.applied[-1] if status.applied else "",
        pending=status.pending[:MAX_KEPT],
        said=() if status.known else status.said[-MAX_KEPT:],
    )


def _migrations(database: Database) -> Migrations:
    assert database.migrations is not None  # databases_with_tools has looked  # noqa: S101
    return database.migrations


def _name(database: Database) -> str:
    return _migrations(database).tool or "commands"


def _command(database: Database, to: str | None) -> str:
    migrations = _migrations(database)
    return commands_of(migrations).up if to is None else down_command(migrations, to)


def _why_unlocked(env: Environment, database: Database, host: str) -> str:
    """Return why the tool cannot hold the database's lock of migrations on this host; empty if it can."""
    if database.migrating_user is None:
        return "slipway_databases names no owner with owner_password"
    if host in env.database_hosts and database.name in env.database_hosts[host]:
        return ""
    if database.host is None or _is_loopback(database.host):
        return f"slipway_databases names no address at which {host} reaches the server"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")


def require_one_database(env: Environment, to: str) -> None:
    """Refuse a version where it is not clear which database it belongs to.

    Raises:
        UsageError: a database has a tool, and it is not the only one with migrations.
    """
    found = [one.name for one in env.settings.databases if one.migrations]
    if databases_with_tools(env) and len(found) > 1:
        raise UsageError(
            f"--to={to}: releases migrate {' and '.join(found)}, and it is not known whose version this is; "
            "nothing was touched",
            hint="run the tool's own command: invoke exec",
        )
