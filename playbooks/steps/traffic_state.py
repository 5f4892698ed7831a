"""Read a balancer's state: each server's share at run time, and whether it is what Slipway set last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import balancer_values, checking_values

Admin = Literal["on", "drain", "off"]
ADMIN: Mapping[str, Admin] = {"on": "on", "drain": "drain", "off": "off"}
MAX_WEIGHT = 256
UP: Mapping[str, bool | None] = {"up": True, "down": False, "-": None}


@dataclass(frozen=True)
class ServerState:
    """One server's state in the balancer.

    Args:
        weight: 0 to 256.
        admin: "on"; "drain" gets no new requests; "off" gets no health checks either.
        up: whether it answers the balancer's health check; None if it is not checked.
        current: requests in flight.
        tester: whether it gets the testers' requests.
        drift: how this differs from what Slipway set last, as a sentence; empty if it does not.
        out: whether a task disabled it while its host changes, and has not enabled it again.
        address, port: the address and port in the balancer.
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
        """Return whether it may get requests."""
        return self.admin == "on"

    @property
    def wanted(self) -> bool:
        """Return whether it is meant to get requests."""
        return self.on and self.weight > 0

    @property
    def serves(self) -> bool:
        """Return whether it gets requests, as far as the balancer knows."""
        return self.wanted and self.up is not False


@dataclass(frozen=True)
class BalancerState:
    """The state of a balancer.

    Args:
        version: the version of HAProxy or nginx.
        maintenance: whether clients see the maintenance page.
        servers: the servers by name.
        edited: the configuration file that somebody else changed, if any.
    """

    host: str
    version: str
    maintenance: bool
    servers: Mapping[str, ServerState]
    edited: str = ""

    @property
    def drift(self) -> list[str]:
        """Return a sentence for each difference from what Slipway set last."""
        told = [f"{server.name}: {server.drift}" for server in self.servers.values() if server.drift]
        return [*told, f"{self.edited} was changed by hand"] if self.edited else told


def state_call(balancer: Balancer, settings: Settings) -> StepCall:
    """Build the step that reads a balancer's state. It changes nothing."""
    return StepCall("traffic_state", values=checking_values(balancer, settings), timeout=settings.timeouts.command)


def read_state(answer: StepResult) -> BalancerState:
    """Read the state.

    Raises:
        BadAnswer: the answer is malformed.
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


def maintenance_call(balancer: Balancer, settings: Settings, *, on: bool) -> StepCall:
    """Build the step that shows the maintenance page or the application (G2). The choice survives a restart."""
    return StepCall(
        "maintenance",
        values={**balancer_values(balancer, settings), "page": "on" if on else "off"},
        acts=True,
        timeout=settings.timeouts.command,
    )


def read_maintenance(answer: StepResult) -> bool:
    """Return whether the step changed what clients see.

    Raises:
        BadAnswer: the answer is malformed.
    """
    return answer.one("maintenance", 2)[1] == "yes"
