"""Find the slot in which a release runs on a host, beside another release (B2)."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target


@dataclass(frozen=True)
class Slot:
    """One of the two places on a host where a release can run."""

    name: str
    port: int


def slots_on(env: Environment, target: Target) -> list[Slot | None]:
    """Return the slots of a host; None if it has no slots."""
    settings = target.settings
    if not any(service.in_slots and env.runs_on(target, service.hosts) for service in settings.services):
        return [None]
    return [Slot(name, port) for name, port in settings.slots.items()]
