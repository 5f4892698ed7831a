"""Traffic on a balancer's host: servers' weights and drains; the guard is set before anything changes."""

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

# What a server weighs that gets its full share. HAProxy has nothing above, and 1 % must be had below.
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
        address: as the balancer reaches it.
        port: where it listens.
    """

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class ServerWeight:
    """What a server is to get.

    Args:
        server: which.
        weight: of new requests, 0 to 256, in proportion to the others'; 0 for nothing new.
        on: whether it is in use; when not, it is drained and then taken off.
        tester: whether testers' requests go there.
        out: off only for as long as its host changes.
        idle: nothing runs there yet: nobody waits for it to be up, and nobody misses it.
    """

    server: Server
    weight: int = FULL
    on: bool = True
    tester: bool = True
    out: bool = False
    idle: bool = False


@dataclass(frozen=True)
class Retreat:
    """What becomes of the traffic should the controller fall silent.

    Args:
        id: of the deploy or rollback.
        seconds: of silence after which it happens.
        settle: seconds between the first and the second of the two.
        retreat: what every server gets at once.
        rest: what every server gets in the end.
        record: what the ledger says of it then.
    """

    id: str
    seconds: int
    settle: float
    retreat: Sequence[ServerWeight]
    rest: Sequence[ServerWeight]
    record: Mapping[str, object]


@dataclass(frozen=True)
class TrafficMove:
    """What a change of traffic came to.

    Args:
        changed: whether anything was to be done.
        cut: requests in flight that were not waited for, by server; what is drained in time is not listed.
        slow: servers put on that were not up in time: they get nothing until they are.
    """

    changed: bool
    cut: Mapping[str, int]
    slow: tuple[str, ...]


def ask_traffic(
    balancer: Balancer,
    settings: Settings,
    shares: Sequence[ServerWeight],
    *,
    retreat: Retreat,
    drain: float | None = None,
    up: float = 30.0,
    slow: float = 0.0,
    note: Note | None = None,
) -> StepCall:
    """The step that moves traffic: arm or update the guard, put servers on, wait until they are up, drain the others.

    The same call twice changes nothing. Servers that are not mentioned stay as they are.

    Args:
        balancer: its settings.
        settings: of the balancer's host.
        shares: what servers are to get.
        retreat: the guard. It may differ from call to call, but for its id.
        drain: seconds that requests in flight are waited for; the setting's when left out.
        up: seconds that servers put on are waited for.
        slow: the balancer's slow start in seconds, where what is put on is to have all of its share before others lose
            theirs; 0: nobody waits.
        note: called with progress.

    Raises:
        StepFailed: (when asked) a server is unknown to the balancer, none would be left that serves, another task's
            guard is on this host, or the balancer refuses; see `HINTS`.
    """
    limit = balancer.drain if drain is None else drain
    undo = script.load("traffic_undo").alone()
    maps = [share_lines(each) for each in (shares, retreat.retreat, retreat.rest)]
    arguments = [
        *place(balancer, settings),
        f"{math.ceil(limit)}",
        f"{math.ceil(up)}",
        f"{math.ceil(slow)}",
        retreat.id,
        str(retreat.seconds),
        f"{math.ceil(retreat.settle)}",
        *(str(len(part)) for part in (*maps, undo)),
        json.dumps(retreat.record, ensure_ascii=False),
    ]
    return StepCall(
        "traffic",
        arguments,
        payload=b"".join((*maps, undo)),
        acts=True,
        timeout=limit + up + slow + settings.timeouts.command,
        note=note,
    )


def ask_retreat(balancer: Balancer, settings: Settings, *, up: float = 30.0) -> StepCall:
    """The step with which traffic goes back at once where a dead controller has left a guard; else it does nothing.

    Args:
        balancer: its settings.
        settings: of the balancer's host.
        up: seconds that servers put on are waited for.
    """
    seconds = math.ceil(balancer.drain + up)
    return StepCall("retreat", [settings.state, f"{seconds}"], timeout=seconds + settings.timeouts.command)


def read_traffic(answer: StepResult) -> TrafficMove:
    """What became of it.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    (changed,) = answer.one("moved", 1)
    cut = {name: answer.number(count) for name, count in answer.all("cut", 2)}
    return TrafficMove(changed == "yes", cut, tuple(name for (name,) in answer.all("slow", 1)))


def backend_of(balancer: Balancer, app: str) -> str:
    """The backend's name; the testers' is the same with -testers."""
    return balancer.backend or app


def place(balancer: Balancer, settings: Settings) -> list[str]:
    """The arguments that all of a balancer's scripts begin with."""
    return [
        balancer.kind,
        settings.state,
        backend_of(balancer, settings.app),
        balancer.socket,
        balancer.health_path,
        host_asked(balancer, settings),
    ]


def host_asked(balancer: Balancer, settings: Settings) -> str:
    """The Host header of the balancer's health check."""
    return balancer.asked_as or settings.app


def share_lines(shares: Sequence[ServerWeight]) -> bytes:
    """A line a server, as balancer.sh reads it."""
    return "".join(
        f"{share.server.name} {share.server.address} {share.server.port} {share.weight} "
        f"{'on' if share.on else 'out' if share.out else 'off'} {'tester' if share.tester else '-'} "
        f"{'idle' if share.idle else '-'}\n"
        for share in shares
    ).encode()
