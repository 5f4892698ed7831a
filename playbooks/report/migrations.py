"""Migrations as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from playbooks.report.tables import ago, say, show_planned_migration, show_table

if TYPE_CHECKING:
    from playbooks.migrate import MigrateResult
    from playbooks.migrations.certificate import Certificate
    from playbooks.migrations.pending import Applied
    from playbooks.rehearse import Rehearsal
    from playbooks.show_migrations import ShownDatabase, ShownMigrations, ShownTool


def show_migrated(result: MigrateResult) -> None:
    """What a task did to the databases, or would do."""
    for tool in result.planned_tools:
        say(f"{tool.database}: {tool.host} would run '{tool.command}' ({tool.tool})")
    if result.planned:
        say("Dry run: nothing was touched.")
        for plan in result.planned:
            show_planned_migration(plan)
        say("")
    if result.done:
        rows = [
            (
                one.database,
                f"{one.id}_{one.name}",
                "taken back" if one.direction == "down" else "applied",
                f"{one.seconds:.2f} s",
                f"{one.tries} tries" if one.tries > 1 else "",
            )
            for one in result.done
        ]
        show_table(("database", "migration", "", "took", "because of locks"), rows)
    say(result.message)
    _owed(result.owed)
    for warning in result.warnings:
        say(f"warning: {warning}")


def show_migrations(shown: ShownMigrations) -> None:
    """What the databases have and lack."""
    say(f"{shown.environment} runs {shown.release}")
    for one in shown.databases:
        _database(one)
    for tool in shown.tools:
        _tool(tool)


def _database(one: ShownDatabase) -> None:
    say(f"\n{one.name}, {one.bytes / 1e6:.0f} MB, through {one.host}:")
    rows = [(*_row(row), row.by, row.error) for row in one.applied]
    rows += [(label, "expand", "pending", "", "", "", "") for label in one.pending]
    rows += [(label, "contract", "owed", "", "", "", "") for label in one.owed]
    if rows:
        show_table(("migration", "phase", "state", "when", "took", "by", "why"), rows)
    else:
        say("no migration, and none is pending")
    if one.newer:
        say(f"from a later release, and the running one works with it: {', '.join(one.newer)}")
    if one.busy is not None:
        say(f"a task has been migrating it for {one.busy} s")
    if one.invalid:
        say(f"warning: not whole, and of no use: the indexes {', '.join(one.invalid)}")
    for problem in one.problems:
        say(f"problem: {problem}")


def _tool(one: ShownTool) -> None:
    say(f"\n{one.name}, as {one.tool} says on {one.host}:")
    if one.known:
        rows = [(name, "applied") for name in one.applied] + [(name, "pending") for name in one.pending]
        if rows:
            show_table(("migration", "state"), rows)
        else:
            say("nothing is pending")
        return
    say("\n".join(f"  | {line}" for line in one.said) or "  nothing")
    if one.exit:
        say(f"its status command ended with status {one.exit}")


def _row(row: Applied) -> tuple[str, str, str, str, str]:
    state = {"running": "begun", "failed": "FAILED"}.get(row.state, str(row.state))
    if row.is_half:
        state = f"{state} after statement {row.statement} of {row.statements}"
    return row.label, row.phase, state, ago(row.ended or row.started), f"{row.milliseconds / 1000:.2f} s"


def show_rehearsal(rehearsal: Rehearsal) -> None:
    """What a rehearsal has shown."""
    if not rehearsal.status and rehearsal.contract:
        say(f"no contract of {rehearsal.version} is owed; there was nothing to rehearse")
        return
    if not rehearsal.status:
        say(f"every database has what {rehearsal.version} needs; there was nothing to rehearse")
        return
    for one in rehearsal.databases:
        _certificate(one)
    say(f"\n{rehearsal.status} in {rehearsal.seconds:.1f} s")
    for problem in rehearsal.problems:
        say(f"problem: {problem}")


def _certificate(one: Certificate) -> None:
    grown = f"{_megabytes(one.bytes)}, and {_megabytes(one.grown)} more after it"
    say(f"{one.database}: {one.version} on backup {one.source}, {grown}")
    rows = [
        (
            f"{migration.label} (contract)" if migration.phase == "contract" else migration.label,
            f"{sum(migration.milliseconds) / 1000:.2f} s",
            ", ".join(f"{table} {took / 1000:.2f} s ({_whom(mode)})" for table, (mode, took) in migration.held.items()),
            ", ".join(migration.rewrites),
            "no" if not migration.reversible else "loses data" if migration.lossy else "yes",
        )
        for migration in one.migrations
    ]
    show_table(("migration", "took", "keeps others waiting", "rewrites", "way back"), rows)
    for migration in one.migrations:
        for sentence in migration.lossy:
            say(f"warning: {migration.label}, taken back: {sentence}")
    running = f"release that runs{f', {one.running},' if one.running else ''}"
    for called, name, proof in (
        (running, "old_release", one.old_release),
        ("new release", "new_release", one.new_release),
    ):
        why = one.why.get(name, "")
        say(f"the {called} on the new schema: {proof}{f': {why}' if why else ''}")
    if one.written:
        say(f"a release has written to {', '.join(one.written)} when it started: those rows were not compared")
    for sentence in one.checks:
        say(f"on the new schema, {sentence}")


def _whom(mode: str) -> str:
    return "readers and writers" if mode == "AccessExclusiveLock" else "writers"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _owed(owed: Sequence[str]) -> None:
    if owed:
        say(f"owed, once nothing needs the old schema: {', '.join(owed)}. Then: invoke migrate --env=… --contract")
