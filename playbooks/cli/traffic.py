"""The command line's tasks about traffic: where it goes, how requests fare, maintenance, warm-up (G2, G3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context, task

from playbooks.cli import flag_values, runner
from playbooks.cli.flags import APP, ENV, JSON, LIMIT

if TYPE_CHECKING:
    from playbooks.abort import Aborted
    from playbooks.maintenance import Maintenance
    from playbooks.measure import Measures
    from playbooks.promote import Promoted
    from playbooks.show_traffic import TrafficView
    from playbooks.warm_up import WarmedUp

OVER = "how long to count, e.g. 30s or 5m"


@task(positional=[], help={"env": ENV, "app": APP, "json": JSON})
def traffic(c: Context, env: str = "", json: bool = False, app: str | None = None) -> None:
    """Show where the traffic goes: each server's share on each balancer, and what was changed there by hand."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> TrafficView:
        from playbooks.show_traffic import show_traffic as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_traffic, app=app, several="each", as_json=json)


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "on": "show clients the maintenance page",
        "off": "show them the application again",
        "wait": "how long to wait for another task, e.g. 60s",
        "json": JSON,
    },
)
def maintenance(
    c: Context,
    env: str = "",
    on: bool = False,
    off: bool = False,
    wait: str = "0",
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show clients a maintenance page, on all balancers at once, or the application again."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Maintenance:
        from playbooks.core.errors import UsageError
        from playbooks.maintenance import maintenance as run

        if on == off:
            raise UsageError(
                "maintenance: on or off? give --on or --off", hint=f"see: invoke traffic {environment.flag}"
            )
        return run(environment, progress, on=on, wait=flag_values.seconds("wait", wait))

    runner.perform(env, act, tables.show_maintenance, app=app, as_json=json)


@task(positional=[], help={"env": ENV, "app": APP, "json": JSON})
def promote(c: Context, env: str = "", json: bool = False, app: str | None = None) -> None:
    """Let a stage go on that a deploy holds for want of requests; the deploy sees it at its next check."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Promoted:
        from playbooks.promote import promote as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_promoted, app=app, as_json=json)


@task(positional=[], help={"env": ENV, "app": APP, "json": JSON})
def abort(c: Context, env: str = "", json: bool = False, app: str | None = None) -> None:
    """End a task that somebody has running, from any machine, as Ctrl-C does where it runs: a deploy is taken back."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Aborted:
        from playbooks.abort import abort as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_aborted, app=app, as_json=json)


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "over": OVER,
        "fail_above": "end with status 1 above this, e.g. 5%",
        "limit": LIMIT,
        "json": JSON,
    },
)
def error_rate(
    c: Context,
    env: str = "",
    over: str = "10s",
    fail_above: str | None = None,
    limit: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Count requests and errors for a while: of each server, of each version, of all."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Measures:
        from playbooks.measure import measure as run

        most_errors = None if fail_above is None else flag_values.share("fail-above", fail_above)
        return run(environment, progress, seconds=flag_values.window("over", over), most_errors=most_errors)

    runner.perform(env, act, tables.show_measures, limit=limit, app=app, several="each", as_json=json)


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "over": OVER,
        "fail_above": "end with status 1 if p99 is above this, e.g. 1s",
        "limit": LIMIT,
        "json": JSON,
    },
)
def latency(
    c: Context,
    env: str = "",
    over: str = "10s",
    fail_above: str | None = None,
    limit: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Take the time of requests for a while: p50, p95, p99 of each server, of each version, of all."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> Measures:
        from playbooks.measure import measure as run

        most_p99 = None if fail_above is None else 1000 * flag_values.seconds("fail-above", fail_above)
        return run(environment, progress, seconds=flag_values.window("over", over), most_p99=most_p99)

    runner.perform(env, act, tables.show_measures, limit=limit, app=app, several="each", as_json=json)


@task(positional=[], help={"env": ENV, "app": APP, "limit": LIMIT, "json": JSON})
def warm_up(c: Context, env: str = "", limit: str | None = None, json: bool = False, app: str | None = None) -> None:
    """Ask every host for the pages of slipway_warm_up, so that the first user does not pay for cold caches."""
    from playbooks.report import traffic as tables

    def act(environment: runner.Environment, progress: runner.Progress) -> WarmedUp:
        from playbooks.warm_up import warm_up as run

        return run(environment, progress)

    runner.perform(env, act, tables.show_warmed_up, limit=limit, app=app, as_json=json)
