"""Stop the slot or group of hosts that a rollout has left, by a timer on the host after its time (B2)."""

from __future__ import annotations

import math

from playbooks.fleet import script
from playbooks.fleet.remote import StepCall
from playbooks.settings import Settings
from playbooks.steps.facts import Facts


def leave_slot(settings: Settings, before: Facts, *, after: float) -> list[StepCall]:
    """The step that stops what ran before a rollout, once no traffic goes there; none for what ran in no slot.

    No boot starts it any more. The next switch into that slot, or back to that release, puts the timer off. A release
    that is current is refused; one that is in no slot any more is left alone.

    Args:
        settings: the host's.
        before: its facts from before the switch.
        after: seconds that it is kept running, for a way back at once; 0 for none.
    """
    if before.current is None or before.slot is None:
        return []
    return [_ask("idle", settings, before.current, str(math.ceil(after)))]


def leave_other_slot(settings: Settings, now: Facts) -> list[StepCall]:
    """The step that stops what runs beside the current release, if anything does: a dead rollback left it.

    Args:
        settings: the host's.
        now: its facts.
    """
    return [_ask("idle", settings, now.idle.release, "0")] if now.idle else []


def ask_idle_host(settings: Settings, *, release: str, after: float | None) -> StepCall:
    """The step that stops a host's units once its group has been without traffic for long enough.

    Args:
        settings: the host's.
        release: the current one.
        after: seconds; None puts off what was begun, since the traffic is about to come back. So does the next switch.
    """
    return _ask("idle_host", settings, release, "-" if after is None else str(max(1, math.ceil(after))))


def _ask(step: str, settings: Settings, release: str, after: str) -> StepCall:
    run = script.load("idle_end").alone()
    limit = min(settings.health.patience, settings.timeouts.command)
    return StepCall(
        step,
        [settings.home, settings.state, release, after, f"{limit:g}", str(len(run))],
        payload=run,
        acts=True,
        timeout=settings.timeouts.command + limit,
    )
