"""The command line's tasks for what a release does to its databases (C1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context, task

from playbooks.cli import confirming, flag_values, runner
from playbooks.cli.flags import APP, ENV, JSON, TIMINGS, WAIT, YES

if TYPE_CHECKING:
    from playbooks.migrate import MigrateResult
    from playbooks.rehearse import Rehearsal
    from playbooks.show_migrations import ShownMigrations


@task(
    positional=[],
    optional=["timings"],
    help={
        "env": ENV,
        "app": APP,
        "to": "bring the databases to the migration with this id, and take later ones back; none: take all back",
        "contract": "also apply the contracts that are owed: older releases do not work after that",
        "force": "leave kept releases behind that need the old schema; take back also what loses data",
        "overrule": "with --contract: why they run that no rehearsal speaks for, or outside of their window",
        "check": "only say which migrations would run, statement by statement, and touch nothing",
        "wait": WAIT,
        "yes": YES,
        "timings": TIMINGS,
        "json": JSON,
    },
)
def migrate(
    c: Context,
    env: str = "",
    to: str | None = None,
    contract: bool = False,
    force: bool = False,
    overrule: str = "",
    check: bool = False,
    wait: str = "0",
    yes: bool = False,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Apply the migrations of the running release that its databases lack, or go to another one."""
    from playbooks.report import migrations as tables

    def ask(environment: runner.Environment) -> None:
        if not check:
            confirming.confirm(
                environment, f"migrate to {to or 'the release that runs'}", confirming.MIGRATE_WORD, yes=yes
            )

    def act(environment: runner.Environment, progress: runner.Progress) -> MigrateResult:
        from playbooks.migrate import MigrateRequest
        from playbooks.migrate import migrate as run

        wanted = MigrateRequest(
            to=to,
            contract=contract,
            force=force,
            overrule=overrule,
            check=check,
            wait=flag_values.seconds("wait", wait),
        )
        return run(environment, wanted, progress)

    observers = runner.timed("migrate", timings)
    runner.perform(env, act, tables.show_migrated, app=app, as_json=json, observers=observers, ask=ask)


@task(positional=[], help={"env": ENV, "app": APP, "json": JSON})
def migrations(c: Context, env: str = "", json: bool = False, app: str | None = None) -> None:
    """Show which migrations the databases have and lack, by whom, and how long they took."""
    from playbooks.report import migrations as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> ShownMigrations:
        from playbooks.show_migrations import show_migrations as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_migrations, app=app, several="each", as_json=json)


@task(
    positional=[],
    optional=["timings"],
    help={
        "env": ENV,
        "app": APP,
        "version": "version whose migrations to rehearse (default: the newest there is)",
        "artifact": "rehearse those of this file instead",
        "fresh": "make a backup first, and rehearse on that",
        "wait": WAIT,
        "contract": "rehearse the contracts that are owed, those of the release that runs, instead",
        "timings": TIMINGS,
        "json": JSON,
    },
)
def rehearse(
    c: Context,
    env: str = "",
    version: str | None = None,
    artifact: str | None = None,
    contract: bool = False,
    fresh: bool = False,
    wait: str = "0",
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Try a release's migrations on a copy from the newest backup, with the running release on top."""
    from playbooks.report import migrations as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Rehearsal:
        from playbooks.rehearse import RehearsalRequest
        from playbooks.rehearse import rehearse as run

        return run(
            environment,
            RehearsalRequest(
                version, artifact, contract, "now" if fresh else "newest", wait=flag_values.seconds("wait", wait)
            ),
            progress,
        )

    observers = runner.timed("rehearse", timings)
    runner.perform(env, act, tables.show_rehearsal, app=app, as_json=json, observers=observers)
