"""The command line's tasks for backups: make, list, restore, prove, schedule (A2, G9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context, task

from playbooks.cli import flag_values, runner
from playbooks.cli.flags import APP, ENV, JSON, LIMIT, TIMINGS, WAIT

if TYPE_CHECKING:
    from playbooks.backup import Backups
    from playbooks.restore import Restored
    from playbooks.verify_backups import Verification


@task(
    positional=[],
    optional=["timings"],
    help={"env": ENV, "app": APP, "limit": LIMIT, "wait": WAIT, "timings": TIMINGS, "json": JSON},
)
def backup(
    c: Context,
    env: str = "",
    limit: str | None = None,
    wait: str = "0",
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Back up the application, its data and its databases now; let old backups expire."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Backups:
        from playbooks.backup import backup as run

        return run(environment, progress, wait=flag_values.seconds("wait", wait))

    runner.perform(
        env,
        act,
        tables.show_backups,
        limit=limit,
        app=app,
        as_json=json,
        observers=runner.timed("backup", timings),
    )


@task(positional=[], help={"env": ENV, "app": APP, "limit": LIMIT, "json": JSON})
def backups(c: Context, env: str = "", limit: str | None = None, json: bool = False, app: str | None = None) -> None:
    """List the backups there are."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Backups:
        from playbooks.backup import backups as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_backups, limit=limit, app=app, several="each", as_json=json)


@task(
    positional=[],
    optional=["timings"],
    help={
        "env": ENV,
        "app": APP,
        "backup": "id of the backup (default: the newest)",
        "to-dir": "new folder on the hosts; each host gets a folder in it",
        "limit": LIMIT,
        "timings": TIMINGS,
        "json": JSON,
    },
)
def restore(
    c: Context,
    env: str = "",
    to_dir: str = "",
    backup: str | None = None,
    limit: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Restore a backup into a folder to look at. What runs is not touched; to go back, see rollback."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Restored:
        from playbooks.restore import restore as run

        return run(environment, progress, backup=backup, to_dir=to_dir)

    runner.perform(
        env,
        act,
        tables.show_restored,
        limit=limit,
        app=app,
        as_json=json,
        observers=runner.timed("restore", timings),
    )


@task(
    positional=[], optional=["timings"], help={"env": ENV, "app": APP, "limit": LIMIT, "timings": TIMINGS, "json": JSON}
)
def verify_backups(
    c: Context,
    env: str = "",
    limit: str | None = None,
    timings: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Prove the backups: check the repository, restore the latest, load its dumps, start its release. For cron."""
    from playbooks.report import tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Verification:
        from playbooks.verify_backups import verify_backups as run

        return run(environment, progress)

    runner.perform(
        env,
        act,
        tables.show_drill,
        limit=limit,
        app=app,
        as_json=json,
        observers=runner.timed("verify-backups", timings),
    )


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "at": "time of day as HH:MM, or five cron fields",
        "timer": "install a systemd timer instead of a cron entry",
        "json": JSON,
    },
)
def schedule(
    c: Context, env: str = "", at: str = "03:17", timer: bool = False, json: bool = False, app: str | None = None
) -> None:
    """Run verify-backups every night from this machine."""
    from playbooks.report import tables
    from playbooks.schedule import schedule as run

    runner.perform(env, lambda e, p: run(e, p, at=at, timer=timer), tables.show_schedule, app=app, as_json=json)


@task(positional=[], help={"env": ENV, "app": APP, "json": JSON})
def unschedule(c: Context, env: str = "", json: bool = False, app: str | None = None) -> None:
    """Remove what schedule installed."""
    from playbooks.report import tables
    from playbooks.schedule import unschedule as run

    runner.perform(env, run, tables.show_schedule, app=app, as_json=json)
