"""Make a release current with one rename and restart its units (A1, A3); the guard is set first."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal

from playbooks.core.errors import StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.fleet import script
from playbooks.fleet.remote import StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings

What = Literal["deploy", "rollback", "back", "arm"]
HINTS = {
    StepCode.MOVED: "somebody changed it by hand or by another tool; see: invoke status --env=…",
    StepCode.INCOMPLETE: "deploy that version again: invoke deploy --env=… --version=… --force",
    StepCode.HOOK: "the release was staged well; correct the hook and deploy again",
    StepCode.GUARDED: "see: invoke status --env=…",
}


@dataclass(frozen=True)
class SwitchGuard:
    """Whom a switch belongs to, and what becomes of the host should its controller fall silent.

    Args:
        id: of the deploy or rollback.
        target: the release that the host goes to then by itself; None takes the application off.
        record: what its ledger says of it then.
    """

    id: str
    target: str | None
    record: dict[str, object]


def ask_switch(
    settings: Settings,
    *,
    target: str | None,
    expected: str | None,
    watch: SwitchGuard,
    what: What,
    first: bool = False,
    lag: float = 0.0,
    note: Note | None = None,
) -> StepCall:
    """The step that switches a host from one release to another.

    A unit that does not start is the health check's to tell.

    Args:
        settings: the host's.
        target: the release to run; None takes the application off, which undoes a first deploy.
        expected: the release that is current now; anything else there (but the target) is refused.
        watch: the guard to arm before.
        what: a deploy runs before_switch hooks, but those of `before_switch.sh`, and after_switch hooks; a rollback and
            the way "back" of a failed deploy run none; "arm" only arms the guard.
        first: whether after_switch hooks that run on one host only run on this one.
        lag: seconds that its guard waits longer than ``slipway_guard`` says, for the balancer's to come first.
        note: called with progress.
    """
    hooks = what == "deploy"
    seconds = min(settings.health.patience, settings.timeouts.command)
    budget = sum(hook.timeout for hook in (*settings.hooks.before_switch, *settings.hooks.after_switch)) if hooks else 0
    undo = script.load("undo").alone()
    arguments = [
        settings.home,
        target or "-",
        expected or "-",
        settings.run_user,
        what,
        "first" if first else "-",
        f"{seconds:g}",
        settings.state,
        watch.id,
        str(math.ceil(settings.guard.timeout + lag)),
        watch.target or "-",
        str(len(undo)),
        json.dumps(watch.record, ensure_ascii=False),
    ]
    return StepCall(
        "switch",
        arguments,
        payload=undo,
        acts=True,
        timeout=seconds + budget + settings.timeouts.command,
        note=note,
    )


def with_hint(error: StepFailed) -> StepFailed:
    """The error, with what to do next where the step's code tells."""
    error.hint = error.hint or HINTS.get(error.code)
    return error
