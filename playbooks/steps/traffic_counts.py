"""Read a balancer's counts for each server: requests, errors, latencies. The host needs no extra software."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import MAX_RECORDS, StepResult
from playbooks.judgement.counts import Counts, total
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import balancer_values

# Each latency bucket's limit is a tenth above the previous one; the scripts count in powers of it, in milliseconds.
GROWTH = 1.1
MAX_BUCKETS = 200


def counts_call(balancer: Balancer, settings: Settings, cursor: str) -> StepCall:
    """Build the step that reads a balancer's counts. It changes nothing.

    Args:
        balancer: the balancer's settings.
        settings: of the balancer's host.
        cursor: the meter's position in the balancer's log.
    """
    values = {**balancer_values(balancer, settings), "cursor": cursor}
    return StepCall("traffic_counts", values=values, timeout=settings.timeouts.command)


@dataclass(frozen=True)
class Counted:
    """A balancer's counts between two readings, and its state at the second one.

    Args:
        servers: counts of tries, by server.
        whole: counts of client requests, each once, including those without a server; the latencies are those of
            the servers' answers.
        queue: requests that wait for a server.
        failed_checks: health checks that failed while the server was up, by server.
        failing: servers that are up although their last check failed.
    """

    servers: Mapping[str, Counts] = field(default_factory=dict)
    whole: Counts = field(default_factory=Counts)
    queue: int = 0
    failed_checks: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()


@dataclass
class Meter:
    """Turns a balancer's totals into counts since the last reading.

    Args:
        cursor: for the next `counts_call`.
    """

    cursor: str = "-"
    _epoch: str | None = None
    _seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def feed(self, answer: StepResult) -> Mapping[str, Counts]:
        """Return the counts since the last answer, by server; see `read`."""
        return self.read(answer).servers

    def read(self, answer: StepResult) -> Counted:
        """Return the counts since the last answer. The first answer sets the start and gives zero.

        HAProxy starts at zero after a reload; then the counts since the reload are all that is known.

        Raises:
            BadAnswer: the answer is malformed.
        """
        (epoch,), (cursor,) = answer.one("epoch", 1), answer.one("cursor", 1)
        (queue,) = answer.maybe("queue", 1) or ("0",)
        counters = _numbers(answer, "counter")
        counted = _numbers(answer, "counted")
        checks = {name: (answer.number(failed), 0) for name, failed, _ in answer.all("checked", 3)}
        latencies = _latencies(answer)
        whole_of, whole_now = _whole(answer)
        # No server's name contains a blank.
        now = {**counters, **{f"checks of {name}": failed for name, failed in checks.items()}, whole_of: whole_now}
        first, before = self._epoch is None, self._seen if epoch == self._epoch else {}
        self.cursor, self._epoch, self._seen = cursor, epoch, now
        failing = frozenset(name for name, _, stand in answer.all("checked", 3) if stand == "failing")
        if first:
            return Counted(queue=answer.number(queue), failing=failing)
        counted |= {name: _since(numbers, before.get(name)) for name, numbers in counters.items()}
        servers = {name: _counts(counted.get(name, (0, 0)), latencies.get(name, {})) for name in {*counted, *latencies}}
        whole = whole_now if whole_of == "whole of cursor" else _since(whole_now, before.get(whole_of))
        return Counted(
            servers,
            replace(_counts(whole, {}), latencies=total(servers.values()).latencies),
            answer.number(queue),
            {name: _since(failed, before.get(f"checks of {name}"))[0] for name, failed in checks.items()},
            failing,
        )


def _since(now: tuple[int, int], before: tuple[int, int] | None) -> tuple[int, int]:
    """Return the increase; the whole value if the counter was reset."""
    old = before or (0, 0)
    anew = now[0] < old[0] or now[1] < old[1]
    return now if anew else (now[0] - old[0], now[1] - old[1])


def _whole(answer: StepResult) -> tuple[str, tuple[int, int]]:
    since, requests, failed = answer.maybe("whole", 3) or ("cursor", "0", "0")
    if since not in ("epoch", "cursor"):
        raise answer.bad(f"there is nothing since {since[:40]}")
    return f"whole of {since}", (answer.number(requests), answer.number(failed))


def _counts(counted: tuple[int, int], latencies: Mapping[float, int]) -> Counts:
    requests, errors = counted
    return Counts(requests, min(errors, requests), latencies)


def _numbers(answer: StepResult, tag: str) -> dict[str, tuple[int, int]]:
    return {name: (answer.number(all_), answer.number(bad)) for name, all_, bad in answer.all(tag, 3)}


def _latencies(answer: StepResult) -> Mapping[str, Mapping[float, int]]:
    found: dict[str, dict[float, int]] = defaultdict(dict)
    for name, bucket, count in answer.all("latency", 3, MAX_RECORDS):
        power = answer.number(bucket)
        if not 0 <= power <= MAX_BUCKETS:
            raise answer.bad(f"there is no bucket {power}")
        found[name][round(GROWTH**power, 3)] = answer.number(count)
    return found
