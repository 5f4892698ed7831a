"""A plan: what a strategy decides, before anything is done. It can be printed, tested without a host, and run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Hosts that change at the same time.

    Args:
        name: what a person calls it, e.g. "batch 1 of 3".
        hosts: inventory names.
        pause: seconds to wait after it.
    """

    name: str
    hosts: tuple[str, ...]
    pause: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The order in which hosts change.

    Args:
        strategy: what made it.
        stages: one after the other.
        tolerate: how many hosts may fail before the whole deploy does.
    """

    strategy: str
    stages: tuple[Stage, ...]
    tolerate: int = 0
