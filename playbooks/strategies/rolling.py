"""Rolling: batch after batch, stopping at the first sign of trouble (B1)."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks.settings.rollout import Rollout
from playbooks.strategies.plan import Plan, Stage


def rolling(hosts: Sequence[str], rollout: Rollout, *, batch: str | None = None) -> Plan:
    """Plan a rolling deploy.

    Args:
        hosts: in the order they change.
        rollout: batch size, pause between batches, failures to tolerate.
        batch: instead of the settings' batch size.
    """
    size = count(batch or rollout.batch, len(hosts))
    batches = [tuple(hosts[start : start + size]) for start in range(0, len(hosts), size)]
    stages = tuple(
        Stage(f"batch {number} of {len(batches)}", batch, pause=rollout.grace if number < len(batches) else 0.0)
        for number, batch in enumerate(batches, start=1)
    )
    return Plan("rolling", stages, tolerate=0 if rollout.tolerate == "0" else count(rollout.tolerate, len(hosts)))


def count(share: str, total: int) -> int:
    """Hosts that a number or a percentage means: a percentage is rounded down, but is never nobody."""
    if share.endswith("%"):
        return max(1, total * int(share[:-1]) // 100)
    return max(1, min(int(share), total))
