"""Switch a host: arm the guard, make the release current with one rename, restart its units (A1, A3)."""

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
    """The guard of a switch: what the host does if the controller is silent.

    Args:
        id: the id of the deploy or rollback.
        target: the release that the host goes back to by itself; None removes the application.
        record: the record that the host then writes into its ledger.
    """

    id: str
    target: str | None
    record: dict[str, object]


def switch_call(
    settings: Settings,
    *,
    target: str | None,
    expected: str | None,
    watch: SwitchGuard,
    what: What,
    first: bool = False,
    host_guard_delay: float = 0.0,
    note: Note | None = None,
) -> StepCall:
    """Build the step that switches a host from one release to another.

    The step ignores a unit that does not start; the health check reports it.

    Args:
        settings: the host's settings.
        target: the release to run; None removes the application, which undoes a first deploy.
        expected: the release that is current now. The step refuses any other, except the target.
        watch: the guard to arm first.
        what: "deploy" runs before_switch hooks (but those of `before_switch.sh`) and after_switch hooks; a rollback and
            the way "back" of a failed deploy run no hooks; "arm" only arms the guard.
        first: whether after_switch hooks with `once` run on this host.
        host_guard_delay: seconds that the guard waits longer than ``slipway_guard``, so that the balancer's guard acts
            first.
        note: called with each progress message.
    """
    hooks = what == "deploy"
    seconds = min(settings.health.patience, settings.timeouts.command)
    budget = sum(hook.timeout for hook in (*settings.hooks.before_switch, *settings.hooks.after_switch)) if hooks else 0
    moving = {"home": settings.home, "limit": f"{seconds:g}"}
    # A guard whose target is the new release (a rollback's) stops nothing: with slots the traffic has not moved yet.
    undo = script.load("undo").given(
        {
            **moving,
            "undo_as": "rollback" if what != "back" and watch.target == target else "back",
            "switched_from": expected or "-",
            "switched_to": target or "-",
            "record": json.dumps(watch.record, ensure_ascii=False),
        }
    )
    values = {
        **moving,
        "app": settings.app,
        "state": settings.state,
        "user": settings.run_user,
        "what": what,
        "target": target or "-",
        "expected": expected or "-",
        "first": "first" if first else "-",
        "id": watch.id,
        "guard_seconds": str(math.ceil(settings.guard.timeout + host_guard_delay)),
        "way_back": watch.target or "-",
        "undo_bytes": str(len(undo.alone())),
    }
    return StepCall(
        "switch",
        values=values,
        payload=undo.alone(),
        acts=True,
        timeout=seconds + budget + settings.timeouts.command,
        note=note,
    )


def with_hint(error: StepFailed) -> StepFailed:
    """Return the error with the hint that belongs to the step's code."""
    error.hint = error.hint or HINTS.get(error.code)
    return error
