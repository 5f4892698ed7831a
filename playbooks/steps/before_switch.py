"""Run the hooks that one host runs for the whole fleet, before any host switches (A1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from playbooks.fleet.remote import StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings
from playbooks.settings.services import Hook

Which = Literal["run", "note"]


def before_switch_call(
    settings: Settings, release: str, hooks: Sequence[Hook], which: Which, note: Note | None = None
) -> StepCall:
    """Build the step that runs the hooks, or that records on another host that they have run.

    Args:
        settings: the host's settings.
        release: the id of the staged release.
        hooks: the hooks that the step runs.
        which: "run" runs the hooks; "note" records that another host has run them.
        note: called with each progress message.
    """
    budget = sum(hook.timeout for hook in hooks) if which == "run" else 0.0
    return StepCall(
        "before_switch",
        values={
            "app": settings.app,
            "home": settings.home,
            "user": settings.run_user,
            "release": release,
            "which": which,
        },
        acts=True,
        timeout=budget + settings.timeouts.command,
        note=note,
    )
