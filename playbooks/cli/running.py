"""The command line's tasks about what runs: changes made by hand, logs, commands in a release."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from invoke import Context, task

from playbooks.cli import confirming, flag_values, runner
from playbooks.cli.flags import APP, ENV, JSON, LIMIT, YES

if TYPE_CHECKING:
    from playbooks.console import Console
    from playbooks.drift import FleetDrift
    from playbooks.exec import Executed
    from playbooks.logs import Logs


@task(positional=[], help={"env": ENV, "app": APP, "limit": LIMIT, "json": JSON})
def drift(c: Context, env: str = "", limit: str | None = None, json: bool = False, app: str | None = None) -> None:
    """Show what was changed by hand of what runs, and what the inventory would have otherwise; status 1 if by hand."""
    from playbooks.report import running

    def act(environment: runner.Environment, progress: runner.Progress) -> FleetDrift:
        from playbooks.drift import drift as run

        return run(environment, progress)

    runner.perform(env, act, running.show_drift, limit=limit, app=app, several="each", as_json=json)


@task(
    positional=[],
    help={
        "env": ENV,
        "app": APP,
        "follow": "go on with what is written from now on, until Ctrl-C",
        "host": "only this host",
        "limit": LIMIT,
        "since": "from when on: 10m, 2h, or a time such as 2026-11-29T14:00 (UTC)",
        "unit": "only this unit (default: all of the application's)",
        "lines": "the last lines of each host, at the most (default: 50; with --since 10000)",
        "json": "print one JSON document, or with --follow a JSON object a line",
    },
)
def logs(
    c: Context,
    env: str = "",
    follow: bool = False,
    host: str | None = None,
    limit: str | None = None,
    since: str | None = None,
    unit: str | None = None,
    lines: str | None = None,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Show what the application's units wrote, on all hosts, merged by time."""
    from playbooks.core.errors import UsageError
    from playbooks.report import output, running

    def act(environment: runner.Environment, progress: runner.Progress) -> Logs:
        from playbooks.logs import follow_logs
        from playbooks.logs import logs as run
        from playbooks.steps.logs import MAX_LINES, LogQuery

        most = MAX_LINES if since else 50
        if lines is not None:
            most = flag_values.number("lines", lines, most=MAX_LINES)
        if unit == "":
            raise UsageError("--unit is empty; left out, it is all units")
        asked = LogQuery(most, flag_values.since(since) if since else None, unit)
        if not follow:
            return run(environment, progress, asked)
        names = [target.name for target in environment.targets]
        return follow_logs(environment, progress, asked, running.teller(names, as_json=json), output.nothing_arrives)

    def show(found: Logs) -> None:
        running.show_logs(found)

    runner.perform(
        env,
        act,
        show,
        limit=limit,
        host=host,
        app=app,
        several="ask" if follow else "each",
        as_json=json and not follow,
        moving=not follow,
        meant=lambda environment: unit is None or has_unit(environment, unit),
    )


def has_unit(environment: runner.Environment, unit: str) -> bool:
    """Whether an application's settings have this unit on any host, so that only its hosts are asked."""
    name = unit.removesuffix(".service").partition("@")[0]
    return any(name == service.name for target in environment.targets for service in target.settings.services)


UNIT = "run it as this unit would (default: the release's first service)"
IN_PRODUCTION = "RUN IN PRODUCTION"


@task(
    name="exec",
    positional=[],
    help={"env": ENV, "app": APP, "host": "only on this host", "limit": LIMIT, "unit": UNIT, "yes": YES, "json": JSON},
)
def execute(
    c: Context,
    env: str = "",
    host: str | None = None,
    limit: str | None = None,
    unit: str | None = None,
    yes: bool = False,
    json: bool = False,
    app: str | None = None,
) -> None:
    """Run a command in the running release, as its user, with its environment: invoke exec --env=E -- COMMAND."""
    from playbooks.report import output, running

    words = behind_dashes(sys.argv)

    def ask(environment: runner.Environment) -> None:
        if words:
            confirming.confirm(environment, f"run {shlex.join(words)}", IN_PRODUCTION, yes=yes)

    def act(environment: runner.Environment, progress: runner.Progress) -> Executed:
        from playbooks.exec import execute as run

        tell = None if json else running.output_teller([target.name for target in environment.targets])
        return run(environment, progress, words, unit=unit, tell=tell, deserted=output.nobody_reads)

    runner.perform(
        env, act, running.show_executed, limit=limit, host=host, app=app, as_json=json, moving=False, ask=ask
    )


@task(
    positional=[], help={"env": ENV, "app": APP, "host": "on this host (default: the first)", "unit": UNIT, "yes": YES}
)
def console(
    c: Context,
    env: str = "",
    host: str | None = None,
    unit: str | None = None,
    yes: bool = False,
    app: str | None = None,
) -> None:
    """Open a terminal in the running release on one host, as its user, with its environment."""
    from playbooks.core.errors import UsageError
    from playbooks.report import output, running

    def ask(environment: runner.Environment) -> None:
        if not sys.stdin.isatty() or output.answers_terminal() is None:
            raise UsageError(
                "a console needs a terminal, and there is none; nothing was touched",
                hint=f"invoke exec {environment.flag} -- COMMAND needs none",
            )
        name = environment.targets[0].name
        if len(environment.targets) > 1:
            output.tell(output.shown(f"on {name}; --host=NAME chooses another one"))
        confirming.confirm(environment, f"a console on {name}", IN_PRODUCTION, yes=yes)

    def act(environment: runner.Environment, progress: runner.Progress) -> Console:
        from playbooks.console import console as run

        return run(environment, progress, output.pass_on, unit=unit)

    runner.perform(env, act, running.show_console, host=host, app=app, moving=False, ask=ask)


def behind_dashes(argv: list[str]) -> list[str]:
    """The words after the first -- of a command line. Invoke would join them with blanks."""
    return argv[argv.index("--") + 1 :] if "--" in argv else []
