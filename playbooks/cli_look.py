"""The command line's tasks that look into what runs: what was changed by hand, logs, commands in a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context, task

from playbooks import cli
from playbooks.flags import ENV, JSON, LIMIT

if TYPE_CHECKING:
    from playbooks.drift import FleetDrift


@task(positional=[], help={"env": ENV, "limit": LIMIT, "json": JSON})
def drift(c: Context, env: str = "", limit: str | None = None, json: bool = False) -> None:
    """Show what was changed by hand of what runs, and what the inventory would have otherwise; status 1 if by hand."""
    from playbooks.report import look

    def act(environment: cli.Environment, progress: cli.Progress) -> FleetDrift:
        from playbooks.drift import drift as run

        return run(environment, progress)

    cli.perform(env, act, look.show_drift, limit=limit, as_json=json)
