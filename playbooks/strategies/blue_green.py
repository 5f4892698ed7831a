"""Blue-green: the new release starts beside the old one, and the traffic moves from one to the other (B2)."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks.settings.judgement import Step
from playbooks.settings.rollout import RolloutSettings
from playbooks.strategies.batches import batches, count
from playbooks.strategies.plan import FleetShape, Plan, Stage, WatchPeriod, last_watch, percent


def side_by_side(
    hosts: Sequence[str], rollout: RolloutSettings, fleet: FleetShape, *, strategy: str, batch: str | None = None
) -> Plan:
    """Plan a deploy whose new release runs beside the old one: the strategy only says how the traffic moves.

    Args:
        hosts: those on which the new release starts.
        rollout: the stages.
        fleet: what they are part of.
        strategy: blue-green and canary move the traffic by their own stages, rolling moves it at once.
        batch: hosts that start it at the same time; default: all of them, since nothing that serves changes.
    """
    groups = batches(hosts, count(batch, len(hosts)) if batch else max(1, len(hosts)))
    many = len(groups) > 1
    starts = [
        Stage(f"start beside{f', batch {number} of {len(groups)}' if many else ''}", group, share=0.0)
        for number, group in enumerate(groups, start=1)
    ]
    ladders: dict[str, list[Step]] = {"blue-green": rollout.blue_green, "canary": rollout.canary}
    steps = [
        Stage(f"{percent(step.share)} of the traffic", share=step.share, watch=WatchPeriod(step.for_, step.criteria))
        for step in ladders.get(strategy, [])
    ]
    if not steps:
        steps = [Stage("all of the traffic", share=1.0)]
    return Plan(strategy, (*starts, *steps, *(last_watch(rollout, fleet, share=1.0) if strategy != "canary" else ())))
