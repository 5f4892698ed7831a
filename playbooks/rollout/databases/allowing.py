"""Whether databases may be migrated: a history that fits, a rehearsal that speaks for it, the right time (C1, C2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from playbooks.core.clock import now
from playbooks.core.errors import MigrationsRefused, SlipwayError
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Budget, objections, speaks_against
from playbooks.migrations.sql_files import MigrationPhase
from playbooks.migrations.window import Window, is_open, next_opening
from playbooks.rollout.databases.reading import DatabaseMigrations
from playbooks.settings.backup import Database
from playbooks.settings.migrations import RehearsalSettings
from playbooks.steps.database_measure import Measure, measure
from playbooks.steps.facts import Facts, version_in


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
    if one.state.taken:
        yield one.state.taken
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
    fleet: Fleet,
    env: Environment,
    found: Sequence[DatabaseMigrations],
    facts: Mapping[str, Facts],
    version: str,
    overruled: str,
    phase: MigrationPhase = "expand",
) -> list[str]:
    """Refuse migrations that no rehearsal speaks for, or at the wrong time, where the settings ask for that.

    Args:
        fleet: the open sessions.
        env: the environment.
        found: the databases.
        facts: of the application's hosts.
        version: the release's.
        overruled: a person's reason to do it all the same; empty for none.
        phase: whether contracts are to be applied too.

    Returns:
        What was overruled, as warnings.

    Raises:
        MigrationsRefused: with every reason. Nothing has changed.
    """
    reasons = [*outside_windows(found, now(), phase), *unrehearsed(fleet, env, found, facts, phase)]
    if not reasons:
        return []
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons)
    if overruled:
        return [f"what speaks against migrating was overruled ({overruled}): {told}"]
    what, flag = ("migrations", f"--version={version}") if phase == "expand" else ("contracts", "--contract")
    raise MigrationsRefused(
        f"the {what} of {version} may not be applied: {told}. Nothing was touched",
        hint=f"invoke rehearse {env.flag} {flag}; to do it all the same: --overrule=REASON",
    )


def outside_windows(
    found: Sequence[DatabaseMigrations], moment: datetime, phase: MigrationPhase = "expand"
) -> list[tuple[str, str]]:
    """Return for each database with pending migrations why it may not be migrated at this time, with its name."""
    reasons = []
    for one in found:
        asked = one.database.migrations.window if one.database.migrations else None
        if asked is None or not one.lacking(phase):
            continue
        window = Window(asked.days, asked.opens, asked.closes, asked.zone)
        if not is_open(window, moment):
            opens = next_opening(window, moment)
            reasons.append((one.database.name, f"its window is {window.text}, and opens {opens:%a %H:%M} ({opens:%F})"))
    return reasons


def unrehearsed(
    fleet: Fleet,
    env: Environment,
    found: Sequence[DatabaseMigrations],
    facts: Mapping[str, Facts],
    phase: MigrationPhase = "expand",
) -> list[tuple[str, str]]:
    """Return why pending migrations may not be applied yet, each with the database's name.

    A rehearsal in which a release failed counts also where none is required: old and new release run on the new schema,
    whatever the strategy.

    Raises:
        SlipwayError: a database cannot be asked.
    """
    reasons: list[tuple[str, str]] = []
    running = frozenset(version_in(fact.current) for fact in facts.values() if fact.current)
    for one in found:
        asked = one.database.migrations.rehearsal if one.database.migrations else None
        if asked is None or not one.lacking(phase):
            continue
        if not asked.required:
            said = speaks_against(one.certificate(phase), one.lacking(phase), running)
            reasons += [(one.database.name, sentence) for sentence in said]
            continue

        def look(remote: Remote, database: Database = one.database) -> Measure:
            return measure(remote, env.target(remote.name).settings, database, env.secrets)

        there = fleet.each("schema", look, hosts=[one.host]).all_or_raise("reading schemas")[one.host]
        if not there.has_tables:
            # A first deploy: no backup has tables to rehearse on, and nothing can be lost or locked.
            continue
        lacking, limits = one.lacking(phase), budget_of(asked)
        said = objections(one.certificate(phase), lacking, there.fingerprint, running, limits, now())
        reasons += [(one.database.name, sentence) for sentence in said]
    return reasons


def rehearsed_by_deploy(found: Sequence[DatabaseMigrations], reasons: Sequence[tuple[str, str]]) -> bool:
    """Return whether a deploy rehearses what no rehearsal speaks for, so that these reasons end.

    Args:
        found: the databases.
        reasons: from `unrehearsed`.
    """
    names = {name for name, _ in reasons}
    return any(
        one.database.migrations is not None and one.database.migrations.rehearsal.by_deploy
        for one in found
        if one.database.name in names
    )


def budget_of(asked: RehearsalSettings) -> Budget:
    """Return what the settings allow."""
    return Budget(asked.max_age, asked.lock, asked.table_mb * 1_000_000)
