"""A balancer's state: each server's share at run time, and whether that is what was last set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import place

Admin = Literal["on", "drain", "off"]
ADMIN: Mapping[str, Admin] = {"on": "on", "drain": "drain", "off": "off"}
MAX_WEIGHT = 256
UP: Mapping[str, bool | None] = {"up": True, "down": False, "-": None}


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
        out: whether a task has taken it off for as long as its host changes, and not put it back.
        address, port: where the balancer has it.
    """

    name: str
    weight: int
    admin: Admin
    up: bool | None
    current: int
    tester: bool
    drift: str = ""
    out: bool = False
    address: str = ""
    port: int = 0

    @property
    def on(self) -> bool:
        """Whether it may get requests."""
        return self.admin == "on"

    @property
    def wanted(self) -> bool:
        """Whether it is meant to get some."""
        return self.on and self.weight > 0

    @property
    def serves(self) -> bool:
        """Whether it gets some, as far as the balancer knows."""
        return self.wanted and self.up is not False


@dataclass(frozen=True)
class BalancerState:
    """A balancer.

    Args:
        version: of HAProxy or nginx.
        maintenance: whether clients see the maintenance page.
        servers: by name.
        edited: the file that somebody else changed, if one is.
    """

    host: str
    version: str
    maintenance: bool
    servers: Mapping[str, ServerState]
    edited: str = ""

    @property
    def drift(self) -> list[str]:
        """A sentence for all that is not as it was last set."""
        told = [f"{server.name}: {server.drift}" for server in self.servers.values() if server.drift]
        return [*told, f"{self.edited} was changed by hand"] if self.edited else told


def ask_state(balancer: Balancer, settings: Settings) -> StepCall:
    """The step that looks at a balancer. Changes nothing."""
    return StepCall("traffic_state", place(balancer, settings), timeout=settings.timeouts.command)


def read_state(answer: StepResult) -> BalancerState:
    """How it stands.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    (version,), (maintenance,) = answer.one("version", 1), answer.one("maintenance", 1)
    servers = {}
    for name, address, port, weight, admin, tester, up, current, drift, out in answer.all("server", 10):
        if admin not in ADMIN or up not in UP:
            raise answer.bad(f"{name[:40]} is {admin[:40]} and {up[:40]}")
        if answer.number(weight) > MAX_WEIGHT:
            raise answer.bad(f"{name[:40]} has weight {weight}, of {MAX_WEIGHT} at the most")
        servers[name] = ServerState(
            name,
            answer.number(weight),
            ADMIN[admin],
            UP[up],
            answer.number(current),
            tester == "tester",
            cut(drift),
            out == "out",
            address,
            answer.number(port),
        )
    edited = answer.maybe("edited", 1)
    return BalancerState(answer.host, cut(version), maintenance == "on", servers, cut(edited[0]) if edited else "")


def ask_maintenance(balancer: Balancer, settings: Settings, *, on: bool) -> StepCall:
    """The step that shows clients the maintenance page, or the application again (G2). It outlives a restart."""
    return StepCall(
        "maintenance",
        [*place(balancer, settings), "on" if on else "off"],
        acts=True,
        timeout=settings.timeouts.command,
    )


def read_maintenance(answer: StepResult) -> bool:
    """Whether it was otherwise before.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    return answer.one("maintenance", 2)[1] == "yes"
