"""Stop the idle slot or group of hosts after a while, by a timer on the host (B2)."""

from __future__ import annotations

import math

from playbooks.fleet import script
from playbooks.fleet.remote import StepCall
from playbooks.settings import Settings
from playbooks.steps.facts import Facts


def leave_slot(settings: Settings, before: Facts, *, after: float) -> list[StepCall]:
    """Build the step that stops the old release's slot once it has no traffic; none if it ran in no slot.

    A boot no longer starts it. The next switch into that slot, or back to that release, cancels the timer. The step
    refuses the current release, and leaves a release alone that is in no slot any more.

    Args:
        settings: the host's settings.
        before: the host's facts from before the switch.
        after: seconds that it keeps running, for a fast rollback; 0 stops it at once.
    """
    if before.current is None or before.slot is None:
        return []
    return [_ask("idle", settings, before.current, str(math.ceil(after)))]


def leave_other_slot(settings: Settings, now: Facts) -> list[StepCall]:
    """Build the step that stops the other slot, if it runs. A rollback whose controller died may leave it running.

    Args:
        settings: the host's settings.
        now: the host's present facts.
    """
    return [_ask("idle", settings, now.idle.release, "0")] if now.idle else []


def idle_host_call(settings: Settings, *, release: str, after: float | None) -> StepCall:
    """Build the step that stops a host's units after its group has had no traffic for a while.

    Args:
        settings: the host's settings.
        release: the current release.
        after: seconds; None cancels the timer, because traffic is about to come back. The next switch cancels it too.
    """
    return _ask("idle_host", settings, release, "-" if after is None else str(max(1, math.ceil(after))))


def _ask(step: str, settings: Settings, release: str, after: str) -> StepCall:
    run = script.load("idle_end").alone()
    limit = min(settings.health.patience, settings.timeouts.command)
    return StepCall(
        step,
        values={
            "home": settings.home,
            "state": settings.state,
            "release": release,
            "seconds": after,
            "limit": f"{limit:g}",
            "bytes": str(len(run)),
        },
        payload=run,
        acts=True,
        timeout=settings.timeouts.command + limit,
    )
