"""What a balancer counted of each server: requests, errors, latencies. Nothing needs to be installed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from playbooks.fleet.remote import Ask
from playbooks.fleet.script import Answer
from playbooks.judgement.counts import Counts
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import place

# Upper bounds of the latencies' buckets, in milliseconds: each a tenth above the one before, from 1 ms to 100 s.
BASE = 1.1


def ask_counts(balancer: Balancer, settings: Settings, cursor: str) -> Ask:
    """The step that reads a balancer's numbers. Changes nothing.

    Args:
        balancer: its settings.
        settings: of the balancer's host.
        cursor: the meter's: where its log was read to.
    """
    return Ask("traffic_counts", [*place(balancer, settings), cursor], timeout=settings.timeouts.command)


@dataclass
class Meter:
    """Turns one balancer's numbers into what was counted since they were last read.

    Args:
        cursor: for the next `ask_counts`.
    """

    cursor: str = "-"
    _epoch: str = ""
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def feed(self, answer: Answer) -> Mapping[str, Counts]:
        """What was counted since the last answer, by server. The first answer sets the start, and gives nothing.

        Raises:
            BadAnswer: it makes no sense.
        """
        raise NotImplementedError
