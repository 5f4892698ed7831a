"""Migrations as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from playbooks.report.tables import ago, say, show_table

if TYPE_CHECKING:
    from playbooks.migrate import MigrateResult
    from playbooks.migrations.pending import Applied
    from playbooks.show_migrations import ShownDatabase, ShownMigrations


def show_migrated(result: MigrateResult) -> None:
    """What a task did to the databases, or would do."""
    if result.planned:
        say("Dry run: nothing was touched.")
        for plan in result.planned:
            name = f"{plan.id}_{plan.name}"
            what = f"take {name} back" if plan.direction == "down" else f"apply {name}"
            say(f"\n{plan.database}: {what}{', a contract' if plan.phase == 'contract' else ''}")
            say("\n".join(f"  {number}. {text}" for number, text in enumerate(plan.statements, start=1)))
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


def show_migrations(shown: ShownMigrations) -> None:
    """What the databases have and lack."""
    say(f"{shown.environment} runs {shown.release}")
    for one in shown.databases:
        _database(one)


def _database(one: ShownDatabase) -> None:
    say(f"\n{one.name}, {one.bytes / 1e6:.0f} MB, through {one.host}:")
    rows = [(*_row(row), row.by, row.error) for row in one.applied]
    rows += [(label, "expand", "pending", "", "", "", "") for label in one.pending]
    rows += [(label, "contract", "owed", "", "", "", "") for label in one.owed]
    if rows:
        show_table(("migration", "phase", "state", "when", "took", "by", "why"), rows)
    else:
        say("no migration, and none is pending")
    if one.busy is not None:
        say(f"a task has been migrating it for {one.busy} s")
    if one.invalid:
        say(f"warning: not whole, and of no use: the indexes {', '.join(one.invalid)}")
    for problem in one.problems:
        say(f"problem: {problem}")


def _row(row: Applied) -> tuple[str, str, str, str, str]:
    state = {"running": "begun", "failed": "FAILED"}.get(row.state, str(row.state))
    if row.is_half:
        state = f"{state} after statement {row.statement} of {row.statements}"
    return row.label, row.phase, state, ago(row.ended or row.started), f"{row.milliseconds / 1000:.2f} s"


def _owed(owed: Sequence[str]) -> None:
    if owed:
        say(f"owed, once nothing needs the old schema: {', '.join(owed)}. Then: invoke migrate --env=… --contract")
