"""Rolling: batch after batch, until the first failure (B1)."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks.settings.rollout import RolloutSettings
from playbooks.strategies.batches import batches, count, tolerance
from playbooks.strategies.plan import FleetShape, Plan, Stage, WatchPeriod, last_watch


def rolling(hosts: Sequence[str], rollout: RolloutSettings, fleet: FleetShape, *, batch: str | None = None) -> Plan:
    """Plan a rolling deploy.

    Args:
        hosts: in the order they change.
        rollout: batch size, pause between batches, failures to tolerate.
        fleet: what they are part of.
        batch: instead of the settings' batch size and ``max_unavailable``.
    """
    size = count(batch or rollout.batch, len(hosts))
    if batch is None and fleet.balanced:
        size = min(size, count(rollout.max_unavailable, fleet.size))
    groups = batches(hosts, size)
    between = WatchPeriod(rollout.grace, rollout.shifting, lenient=True) if rollout.grace else None
    stages = [
        Stage(f"batch {number} of {len(groups)}", group, watch=between if number < len(groups) else None)
        for number, group in enumerate(groups, start=1)
    ]
    return Plan("rolling", (*stages, *last_watch(rollout, fleet)), tolerate=tolerance(rollout.tolerate, len(hosts)))
