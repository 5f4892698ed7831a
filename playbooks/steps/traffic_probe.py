"""Send a balancer's health check to servers from the balancer's host, in the same way as the balancer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import Server, checking_values

# Characters of an answer that a person reads.
MAX_TEXT = 160


@dataclass(frozen=True)
class Probe:
    """One server's answer.

    Args:
        server: the server's name.
        status: the HTTP status; 0 without an answer.
        text: the first line of the body, or why there was no answer.
    """

    server: str
    status: int
    text: str


def probe_call(balancer: Balancer, settings: Settings, servers: Sequence[Server]) -> StepCall:
    """Build the step that asks servers. It changes nothing, and takes two seconds for each server at most.

    Args:
        balancer: the balancer's settings.
        settings: of the balancer's host.
        servers: the servers to ask.
    """
    words = [word for server in servers for word in (server.name, server.address, f"{server.port}")]
    timeout = settings.timeouts.command + 2.0 * len(servers)
    return StepCall("traffic_probe", words, values=checking_values(balancer, settings), timeout=timeout)


def read_probes(answer: StepResult) -> tuple[Probe, ...]:
    """Read the answers.

    Raises:
        BadAnswer: the answer is malformed.
    """
    return tuple(
        Probe(name, answer.number(status), cut(text, MAX_TEXT)) for name, status, text in answer.all("probe", 3)
    )
