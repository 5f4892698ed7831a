"""Show where traffic goes: every server on every balancer, at run time. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from playbooks.core.answer import Answer, HostFailure, failures
from playbooks.core.errors import ConfigError, ExitStatus
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.settings.load import PREFIX
from playbooks.steps.traffic_state import BalancerState, ServerState
from playbooks.traffic.registration import unprovisioned
from playbooks.traffic.servers import balancers_of
from playbooks.traffic.traffic import read_balancers


@dataclass(frozen=True)
class ServerTraffic:
    """One server on one balancer.

    Args:
        share: its part of new requests, 0 to 1.
        state: up, down, drained, off.
        in_flight: requests under way.
        testers: whether it gets the testers' requests.
        drift: how it differs from what Slipway set last; empty if it does not.
    """

    edge: str
    server: str
    share: float
    state: str
    in_flight: int
    testers: bool
    drift: str


@dataclass(frozen=True)
class TrafficView(Answer):
    """The traffic on all balancers.

    Args:
        maintenance: the balancers that show the maintenance page.
        unreachable: the balancers that could not be asked.
        lacks: what balancers lack until the next `provision`, as sentences.
        next: the command to type then.
    """

    schema: ClassVar[str] = "slipway.traffic/1"
    servers: tuple[ServerTraffic, ...]
    maintenance: tuple[str, ...]
    unreachable: Mapping[str, HostFailure] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    next: str = ""

    @property
    def drift(self) -> list[str]:
        """Return a sentence for each server that somebody has changed by hand."""
        return [f"{one.edge}: {one.server}: {one.drift}" for one in self.servers if one.drift]

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a balancer differs or is unreachable, because the next deploy will be affected."""
        bad = self.drift or self.unreachable or self.lacks
        return ExitStatus.PERSON_NEEDED if bad else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**super().to_json(), "drift": self.drift}


def show_traffic(env: Environment, progress: Progress) -> TrafficView:
    """Read the state of every balancer.

    Raises:
        ConfigError: there is no balancer.
        SlipwayError: a balancer cannot be read, or none is reachable.
    """
    balancers = need_balancers(env)
    with open_fleet(
        [env.target(name).address for name in balancers], progress=progress, forks=env.settings.forks
    ) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        for balancer, error in fleet.unreachable.items():
            progress.warn(f"without {balancer}: {error.message}")
        states = read_balancers(fleet, env, [one for one in balancers if one in fleet.remotes])
    lacks = tuple(f"{host}: {one}" for host, told in unprovisioned(env, list(states.values())).items() for one in told)
    return TrafficView(
        environment=env.name,
        servers=tuple(one for state in states.values() for one in _servers(state)),
        maintenance=tuple(name for name, state in states.items() if state.maintenance),
        unreachable=failures(fleet.unreachable),
        lacks=lacks,
        next=f"invoke provision {env.flag}" if lacks else "",
    )


def need_balancers(env: Environment) -> tuple[str, ...]:
    """Return the names of the balancers' hosts.

    Raises:
        ConfigError: there is no balancer.
    """
    if env.settings.balancer is None:
        hint = "docs/balancers.md says how; without one, traffic goes to hosts as your own means send it there"
        raise ConfigError([f"{PREFIX}balancer is not set"], hint=hint)
    return balancers_of(env)


def _servers(state: BalancerState) -> list[ServerTraffic]:
    whole = sum(_weight(server) for server in state.servers.values())
    return [
        ServerTraffic(
            edge=state.host,
            server=server.name,
            share=_weight(server) / whole if whole else 0.0,
            state=_state(server),
            in_flight=server.current,
            testers=server.tester,
            drift=server.drift,
        )
        for server in state.servers.values()
    ]


def _weight(server: ServerState) -> int:
    return server.weight if server.serves else 0


def _state(server: ServerState) -> str:
    if not server.on:
        return "drained" if server.admin == "drain" else "off"
    return "down" if server.up is False else "up"
