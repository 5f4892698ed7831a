"""How a balancer stands: each server's share as it runs now, and whether that is what was last set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from playbooks.fleet.remote import Ask
from playbooks.fleet.script import Answer
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import place


@dataclass(frozen=True)
class ServerState:
    """One server, as the balancer has it.

    Args:
        weight: 0 to 256.
        admin: "on"; "drain" gets nothing new; "off" is not even checked.
        up: whether it answers the balancer's health check; None where nobody asks it.
        current: requests in flight.
        tester: whether testers' requests go there.
        drift: how this differs from what was last set, as a sentence; empty when it doesn't.
    """

    name: str
    weight: int
    admin: Literal["on", "drain", "off"]
    up: bool | None
    current: int
    tester: bool
    drift: str = ""


@dataclass(frozen=True)
class EdgeState:
    """A balancer.

    Args:
        version: of HAProxy or nginx.
        maintenance: whether clients see the maintenance page.
        servers: by name.
    """

    host: str
    version: str
    maintenance: bool
    servers: Mapping[str, ServerState]

    @property
    def drift(self) -> list[str]:
        """A sentence for each server that is not as it was last set."""
        return [f"{server.name}: {server.drift}" for server in self.servers.values() if server.drift]


def ask_state(balancer: Balancer, settings: Settings) -> Ask:
    """The step that looks at a balancer. Changes nothing."""
    return Ask("traffic_state", place(balancer, settings), timeout=settings.timeouts.command)


def read_state(answer: Answer) -> EdgeState:
    """How it stands.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    raise NotImplementedError


def ask_maintenance(balancer: Balancer, settings: Settings, *, on: bool) -> Ask:
    """The step that shows clients the maintenance page, or the application again (G2). It outlives a restart.

    The answer's ``maintenance`` record says on or off, and whether that was a change (yes, no).
    """
    return Ask(
        "maintenance",
        [*place(balancer, settings), "on" if on else "off"],
        acts=True,
        timeout=settings.timeouts.command,
    )
