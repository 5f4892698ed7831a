"""Canary: a few hosts get a share of the traffic and are watched before the others change (B3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from playbooks.settings.judgement import Step
from playbooks.settings.rollout import RolloutSettings
from playbooks.strategies.batches import batches, count
from playbooks.strategies.plan import FleetShape, Plan, Stage, WatchPeriod, percent


def canary(hosts: Sequence[str], rollout: RolloutSettings, fleet: FleetShape, *, batch: str | None = None) -> Plan:
    """Plan a canary: in each stage as many hosts change as its share of the traffic needs.

    Args:
        hosts: in the order they change; the first ones are the canaries.
        rollout: the stages.
        fleet: what they are part of.
        batch: hosts that change at the same time, instead of ``max_unavailable``.
    """
    size = count(batch or rollout.max_unavailable, max(fleet.size, len(hosts)))
    stages: list[Stage] = []
    moved, before = 0, 0.0
    for step in rollout.canary:
        last = step.share == 1
        wanted = len(hosts) if last else min(max(1, math.ceil(step.share * len(hosts) - 1e-9)), len(hosts) - 1)
        stages += _climb(hosts[moved:wanted], step, size, None if last else before)
        stages.append(
            Stage(f"{percent(step.share)} of the traffic", share=None if last else step.share, watch=_watch(step))
        )
        moved, before = wanted, step.share
    return Plan("canary", tuple(stages))


def _climb(hosts: Sequence[str], step: Step, size: int, share: float | None) -> Iterator[Stage]:
    """Hosts that change before a stage; the traffic moves after all of them have changed."""
    groups = batches(hosts, size)
    for number, group in enumerate(groups, start=1):
        which = f", batch {number} of {len(groups)}" if len(groups) > 1 else ""
        yield Stage(f"to {percent(step.share)}{which}", group, share=share)


def _watch(step: Step) -> WatchPeriod:
    return WatchPeriod(step.for_, step.criteria)
