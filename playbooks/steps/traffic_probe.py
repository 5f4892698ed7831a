"""What servers answer to a balancer's health check, asked from the balancer's host in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import Server, place

# What a person reads of an answer.
MAX_TEXT = 160


@dataclass(frozen=True)
class Probe:
    """One server's answer.

    Args:
        server: its name.
        status: of HTTP; 0 where there was no answer.
        text: the first line of the answer's body, or why there was none.
    """

    server: str
    status: int
    text: str


def ask_probe(balancer: Balancer, settings: Settings, servers: Sequence[Server]) -> StepCall:
    """The step that asks servers. Changes nothing; two seconds each at the most.

    Args:
        balancer: its settings.
        settings: of the balancer's host.
        servers: whom.
    """
    words = [word for server in servers for word in (server.name, server.address, f"{server.port}")]
    timeout = settings.timeouts.command + 2.0 * len(servers)
    return StepCall("traffic_probe", [*place(balancer, settings), *words], timeout=timeout)


def read_probes(answer: StepResult) -> tuple[Probe, ...]:
    """What they answered.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    return tuple(
        Probe(name, answer.number(status), cut(text, MAX_TEXT)) for name, status, text in answer.all("probe", 3)
    )
