"""Move traffic on a balancer's host: arm the guard, then change weights and drain servers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.core.step_codes import StepCode
from playbooks.fleet import script
from playbooks.fleet.remote import StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer

# The weight of a full share: HAProxy's maximum, which leaves room for 1 % below.
FULL = 256
HINTS = {
    StepCode.NO_SERVER: "see which servers answer the balancer's health check, and why the others do not",
    StepCode.UNKNOWN_SERVER: "let the balancer know it: invoke provision --env=…",
    StepCode.BALANCER: "look at the balancer's log on that host: journalctl -u haproxy, or -u nginx",
    StepCode.GUARDED: "see: invoke status --env=…",
}


@dataclass(frozen=True)
class Server:
    """One server of the balancer.

    Args:
        name: the host's inventory name; with slots HOST-SLOT.
        address: the address that the balancer uses.
        port: the port on which it listens.
    """

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class ServerWeight:
    """A server's weight and state to set.

    Args:
        server: the server.
        weight: its part of new requests, 0 to 256, relative to the other servers; 0 for no new requests.
        on: whether the balancer uses it; if not, it is drained and then disabled.
        tester: whether it gets the testers' requests.
        out: disabled only while its host changes.
        idle: nothing runs there yet, so the step does not wait for it to be up.
        restarted: what runs there began anew while the balancer used it, so the step waits for it to be up again.
    """

    server: Server
    weight: int = FULL
    on: bool = True
    tester: bool = True
    out: bool = False
    idle: bool = False
    restarted: bool = False


@dataclass(frozen=True)
class BalancerGuard:
    """The balancer's guard: the weights to set if the controller is silent.

    Args:
        id: the id of the deploy or rollback.
        seconds: how long the controller may be silent.
        settle: seconds between the failover weights and the final weights.
        failover: the failover weights, set at once.
        final: the final weights.
        record: the record that the host then writes into its ledger.
    """

    id: str
    seconds: int
    settle: float
    failover: Sequence[ServerWeight]
    final: Sequence[ServerWeight]
    record: Mapping[str, object]


@dataclass(frozen=True)
class TrafficMove:
    """The result of a change of traffic.

    Args:
        changed: whether anything changed.
        cut: requests still in flight when the drain time was over, by server; drained servers are not listed.
        slow: enabled servers that were not up in time. They get no requests until they are up.
    """

    changed: bool
    cut: Mapping[str, int]
    slow: tuple[str, ...]


def traffic_call(
    balancer: Balancer,
    settings: Settings,
    shares: Sequence[ServerWeight],
    *,
    guard: BalancerGuard,
    drain: float | None = None,
    up: float = 30.0,
    slow: float = 0.0,
    note: Note | None = None,
) -> StepCall:
    """Build the step that moves traffic: arm the guard, enable servers, wait until they are up, drain the others.

    A second call with the same arguments changes nothing. Servers that are not in ``shares`` stay as they are.

    Args:
        balancer: the balancer's settings.
        settings: the settings of the balancer's host.
        shares: the weights to set.
        guard: the guard. Only its id must be the same in each call.
        drain: seconds to wait for requests in flight; default: the setting.
        up: seconds to wait until enabled servers are up.
        slow: the balancer's slow start in seconds, if enabled servers must have their full share before others lose
            theirs; 0 does not wait.
        note: called with each progress message.

    Raises:
        StepFailed: (when run) the balancer does not know a server, no server would be left, another task's
            guard is on this host, or the balancer refuses; see `HINTS`.
    """
    limit = balancer.drain if drain is None else drain
    moving = {
        **checking_values(balancer, settings),
        "drain": f"{math.ceil(limit)}",
        "up_seconds": f"{math.ceil(up)}",
        "settle": f"{math.ceil(guard.settle)}",
    }
    record = json.dumps(guard.record, ensure_ascii=False)
    # The host knows the state folder by the place of this script, and a guard looks at no user's programs: it must act.
    undoing = {name: value for name, value in moving.items() if name not in ("state", "user")}
    parts = {
        "shares_bytes": share_lines(shares),
        "retreat_bytes": share_lines(guard.failover),
        "rest_bytes": share_lines(guard.final),
        "undo_bytes": script.load("traffic_undo").given({**undoing, "record": record}).alone(),
    }
    values = {
        **moving,
        "slow_start": f"{math.ceil(slow)}",
        "id": guard.id,
        "guard_seconds": str(guard.seconds),
        **{name: str(len(part)) for name, part in parts.items()},
    }
    return StepCall(
        "traffic",
        values=values,
        payload=b"".join(parts.values()),
        acts=True,
        timeout=limit + up + slow + settings.timeouts.command,
        note=note,
    )


def failover_call(balancer: Balancer, settings: Settings, *, up: float = 30.0) -> StepCall:
    """Build the step that moves traffic back at once if a dead controller left a guard; else it changes nothing.

    Args:
        balancer: the balancer's settings.
        settings: the settings of the balancer's host.
        up: seconds to wait until enabled servers are up.
    """
    seconds = math.ceil(balancer.drain + up)
    values = {"state": settings.state, "seconds": f"{seconds}"}
    return StepCall("failover", values=values, timeout=seconds + settings.timeouts.command)


def read_traffic_move(answer: StepResult) -> TrafficMove:
    """Read the result.

    Raises:
        BadAnswer: the answer is malformed.
    """
    (changed,) = answer.one("moved", 1)
    cut = {name: answer.number(count) for name, count in answer.all("cut", 2)}
    return TrafficMove(changed == "yes", cut, tuple(name for (name,) in answer.all("slow", 1)))


def backend_of(balancer: Balancer, app: str) -> str:
    """Return the backend's name; the testers' backend has the suffix -testers."""
    return balancer.backend or app


def balancer_values(balancer: Balancer, settings: Settings) -> dict[str, str]:
    """Return the values that all scripts for a balancer need."""
    return {
        "kind": balancer.kind,
        "state": settings.state,
        "backend": backend_of(balancer, settings.app),
        "socket": balancer.socket,
        "user": settings.run_user,
    }


def checking_values(balancer: Balancer, settings: Settings) -> dict[str, str]:
    """Return the values that scripts need to ask servers as the balancer's health check does."""
    return {
        **balancer_values(balancer, settings),
        "path": balancer.health_path,
        "health_host": host_asked(balancer, settings),
    }


def host_asked(balancer: Balancer, settings: Settings) -> str:
    """Return the Host header of the balancer's health check."""
    return balancer.asked_as or settings.app


def share_lines(shares: Sequence[ServerWeight]) -> bytes:
    """Build one line for each server, as balancer.sh reads it."""
    return "".join(
        f"{share.server.name} {share.server.address} {share.server.port} {share.weight} "
        f"{'on' if share.on else 'out' if share.out else 'off'} {'tester' if share.tester else '-'} "
        f"{'idle' if share.idle else 'restarted' if share.restarted else '-'}\n"
        for share in shares
    ).encode()
