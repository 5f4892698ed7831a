"""What a balancer counted of each server: requests, errors, latencies. Nothing needs to be installed for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from playbooks.fleet.remote import Ask
from playbooks.fleet.script import MOST_RECORDS, Answer
from playbooks.judgement.counts import Counts
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import place

# A bucket of latencies ends a tenth above the one before; the scripts count in powers of it, in milliseconds.
GROWTH = 1.1
MOST_BUCKETS = 200


def ask_counts(balancer: Balancer, settings: Settings, cursor: str) -> Ask:
    """The step that reads a balancer's numbers. Changes nothing.

    Args:
        balancer: its settings.
        settings: of the balancer's host.
        cursor: the meter's: up to where its log was read.
    """
    return Ask("traffic_counts", [*place(balancer, settings), cursor], timeout=settings.timeouts.command)


@dataclass
class Meter:
    """Turns one balancer's numbers into what was counted since they were last read.

    Args:
        cursor: for the next `ask_counts`.
    """

    cursor: str = "-"
    _epoch: str | None = None
    _seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def feed(self, answer: Answer) -> Mapping[str, Counts]:
        """What was counted since the last answer, by server. The first answer sets the start, and gives nothing.

        HAProxy counts anew after a reload: what it has counted since is all there is then.

        Raises:
            BadAnswer: it makes no sense.
        """
        (epoch,), (cursor,) = answer.one("epoch", 1), answer.one("cursor", 1)
        counters = _numbers(answer, "counter")
        counted = _numbers(answer, "counted")
        latencies = _latencies(answer)
        first, before = self._epoch is None, self._seen if epoch == self._epoch else {}
        self.cursor, self._epoch, self._seen = cursor, epoch, counters
        if first:
            return {}
        for name, (requests, errors) in counters.items():
            old = before.get(name, (0, 0))
            anew = requests < old[0] or errors < old[1]
            counted[name] = (requests, errors) if anew else (requests - old[0], errors - old[1])
        return {name: _counts(counted.get(name, (0, 0)), latencies.get(name, {})) for name in {*counted, *latencies}}


def _counts(counted: tuple[int, int], latencies: Mapping[float, int]) -> Counts:
    requests, errors = counted
    return Counts(requests, min(errors, requests), latencies)


def _numbers(answer: Answer, tag: str) -> dict[str, tuple[int, int]]:
    return {name: (answer.number(all_), answer.number(bad)) for name, all_, bad in answer.all(tag, 3)}


def _latencies(answer: Answer) -> Mapping[str, Mapping[float, int]]:
    found: dict[str, dict[float, int]] = defaultdict(dict)
    for name, bucket, count in answer.all("latency", 3, MOST_RECORDS):
        power = answer.number(bucket)
        if not 0 <= power <= MOST_BUCKETS:
            raise answer.bad(f"there is no bucket {power}")
        found[name][round(GROWTH**power, 3)] = answer.number(count)
    return found
