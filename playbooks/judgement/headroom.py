"""Whether the other servers have headroom: pure functions of a balancer's counts of the last seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from playbooks.judgement.counts import Counts, total
from playbooks.judgement.sentences import milliseconds, rate, window

# Fewer requests than this are not judged: one failure of three does not show an overload.
LEAST = 20
# The least number of seconds to look back, if there are readings of them.
BACK = 5.0
# With this many requests in flight for each server, it is worth waiting for their latencies.
BUSY = 2
# This many failed checks are not a coincidence.
FAILED_CHECKS = 2


@dataclass(frozen=True)
class BalancerReading:
    """The counts of one balancer, and its state at the end.

    Args:
        ended: when, by the monotonic clock.
        seconds: for how long it was counted; 0: the first reading.
        requests: of all clients.
        up: the servers that may get requests, and whether they answer its health check.
        queue: requests that waited for a server.
        in_flight: by server, requests that it was answering.
        failed_checks: by server, health checks that failed while it was up.
        failing: servers that are up, and whose last check has failed.
    """

    ended: float
    seconds: float
    requests: Counts = field(default_factory=Counts)
    up: Mapping[str, bool] = field(default_factory=dict)
    queue: int = 0
    in_flight: Mapping[str, int] = field(default_factory=dict)
    failed_checks: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()

    @property
    def is_served(self) -> bool:
        """Whether some server answers clients."""
        return any(self.up.values())


@dataclass(frozen=True)
class Least:
    """The limits that servers must keep so that one of them may leave.

    Args:
        errors: the most requests that may fail, 0 to 1; None: no limit.
        p50: milliseconds that half of the requests may take at the most; None: no limit.
    """

    errors: float | None
    p50: float | None


def lacking(readings: Sequence[BalancerReading], leaving: Iterable[str], least: Least) -> str:
    """Why some of a balancer's servers cannot leave; empty if nothing speaks against it.

    Args:
        readings: of one balancer, in order.
        leaving: names of servers that will be turned off.
        least: the limits.
    """
    if not readings:
        return ""
    now, gone, recent = readings[-1], frozenset(leaving), _recent(readings)
    # A server without requests may always leave. If all of them leave, the user has asked for that.
    if not any(_serves(name, now, recent) for name in gone & now.up.keys()):
        return ""
    staying = {name: is_up for name, is_up in now.up.items() if name not in gone}
    if not staying:
        return ""
    return "; ".join(_reasons(recent, now, staying, least))


def is_known(readings: Sequence[BalancerReading]) -> bool:
    """Whether `lacking` can be answered: not if many requests are in flight and almost none has been answered.

    Args:
        readings: of one balancer, in order.
    """
    recent = _recent(readings)
    if not recent or sum(one.seconds for one in recent) >= BACK or merged(recent).requests >= LEAST:
        return True
    return sum(recent[0].in_flight.values()) <= BUSY * sum(recent[0].up.values())


def merged(readings: Iterable[BalancerReading]) -> Counts:
    """All requests of these readings."""
    return total(reading.requests for reading in readings)


def _recent(readings: Sequence[BalancerReading]) -> list[BalancerReading]:
    """The last reading, and as many before it as are needed to look back far enough."""
    recent: list[BalancerReading] = []
    for reading in reversed(readings):
        if sum(one.seconds for one in recent) >= BACK:
            break
        recent.append(reading)
    return recent


def _serves(name: str, now: BalancerReading, recent: Sequence[BalancerReading]) -> bool:
    """Whether this server serves requests. If checks are late, a server may count as down and still serve."""
    return now.up[name] or now.in_flight.get(name, 0) > 0 or any(one.failed_checks.get(name) for one in recent)


def _reasons(
    recent: Sequence[BalancerReading], now: BalancerReading, staying: Mapping[str, bool], least: Least
) -> Iterator[str]:
    up = [name for name, is_up in staying.items() if is_up]
    if not up:
        yield f"of the servers that stay, {_names(staying)}, none is up"
    failed = {name: sum(one.failed_checks.get(name, 0) for one in recent) for name in up}
    failing = [name for name in up if name in now.failing or failed[name] >= FAILED_CHECKS]
    if failing:
        yield f"the balancer's checks of {_names(failing)} fail at times"
    if now.queue > len(staying):
        yield f"{now.queue} requests wait for a server"
    counts, seconds = merged(recent), window(sum(one.seconds for one in recent))
    if counts.requests < LEAST:
        return
    if least.errors is not None and counts.errors > least.errors * counts.requests:
        yield f"{rate(counts.errors, counts.requests)} failed in the last {seconds}"
    half = counts.quantile(0.5)
    if least.p50 is not None and half is not None and half > least.p50:
        yield f"half of the requests of the last {seconds} took longer than {milliseconds(least.p50)}"


def _names(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found if len(found) <= 4 else [*found[:3], f"{len(found) - 3} others"])
