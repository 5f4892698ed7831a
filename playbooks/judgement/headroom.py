"""Whether the other servers have headroom: pure functions of a balancer's counts of the last seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from playbooks.judgement.counts import Counts, total
from playbooks.judgement.sentences import milliseconds, rate, window

# Fewer requests than this tell nothing: one that failed of three is no fleet that drowns.
LEAST = 20
# Seconds that are looked back on at the least, where there are readings of them.
BACK = 5.0
# So many requests a server at the same moment are worth a look at how long they take.
BUSY = 2
# So many checks that failed are no accident any more.
FAILED_CHECKS = 2


@dataclass(frozen=True)
class BalancerReading:
    """What one balancer counted, and how it stood at the end of that.

    Args:
        ended: when, by the monotonic clock.
        seconds: for how long it was counted; 0: this is where counting began.
        requests: of all that clients asked.
        up: the servers that may get requests, and whether they answer its health check.
        queue: requests that waited for a server.
        in_flight: by server, requests that it was at.
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
        """Whether somebody answers clients."""
        return any(self.up.values())


@dataclass(frozen=True)
class Least:
    """What servers must keep to, if one of them is to be done without.

    Args:
        errors: the most requests that may fail, 0 to 1; None: not asked.
        p50: milliseconds that half of the requests may take at the most; None: not asked.
    """

    errors: float | None
    p50: float | None


def lacking(readings: Sequence[BalancerReading], leaving: Iterable[str], least: Least) -> str:
    """Why a balancer's servers cannot do without some of them; empty when nothing is known that says so.

    Args:
        readings: of one balancer, in order.
        leaving: names of servers that are to be taken off.
        least: what must be kept to.
    """
    if not readings:
        return ""
    now, gone, recent = readings[-1], frozenset(leaving), _recent(readings)
    # Who serves nobody is no loss; and where all of them leave, that is what was asked for.
    if not any(_serves(name, now, recent) for name in gone & now.up.keys()):
        return ""
    staying = {name: is_up for name, is_up in now.up.items() if name not in gone}
    if not staying:
        return ""
    return "; ".join(_reasons(recent, now, staying, least))


def is_known(readings: Sequence[BalancerReading]) -> bool:
    """Whether that can be told: where many requests are under way, and hardly any has been answered yet, it cannot.

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
    """The last reading, and those before it that are needed to look back for long enough."""
    recent: list[BalancerReading] = []
    for reading in reversed(readings):
        if sum(one.seconds for one in recent) >= BACK:
            break
        recent.append(reading)
    return recent


def _serves(name: str, now: BalancerReading, recent: Sequence[BalancerReading]) -> bool:
    """Whether somebody is served there. Where checks come late, a server is down for a moment, and has its requests."""
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
