"""--timings=PAGE.html: a task as a self-contained page, with a lane for each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from playbooks.fleet.progress import Trip
from playbooks.report.page import page_text
from playbooks.report.timings import HostTimings, Timings, cost, split
from playbooks.report.timings_table import size

# The colours of timeline.css by step, the same on every page.
MEANINGS: Mapping[int, frozenset[str]] = {
    0: frozenset({"connect", "lock", "release", "result", "hold"}),
    1: frozenset(
        {"facts", "preflight", "rendered", "repository", "check_release", "drift", "ledger", "logs", "certificate"}
        | {"migration_files", "migration_state", "database_measure"}
    ),
    2: frozenset({"traffic", "traffic_state", "traffic_probe", "maintenance", "promote", "failover", "abort"}),
    3: frozenset({"backup", "prove", "retention"}),
    4: frozenset({"stage", "adopt"}),
    5: frozenset({"before_switch", "migrate", "migration_tool", "switch"}),
    6: frozenset({"app_metrics", "http_get", "signals", "traffic_counts"}),
    7: frozenset({"health", "warm_up"}),
    8: frozenset({"restore", "restore_database", "drill", "drill_start", "drill_checks", "drill_end"}),
    9: frozenset(
        {"confirm", "finish", "idle", "idle_host", "idle_end", "ledger_copy", "ledger_repair", "exec", "console"}
        | {"keep_rehearsal"}
    ),
    10: frozenset({"provision_application", "provision_balancer", "provision_database", "provision_sudo"}),
}
OTHER = 11
MAX_TICKS = 8
BAR, GAP = 16, 3  # pixels


@dataclass(frozen=True)
class PageHead:
    """The text above the lanes.

    Args:
        task: its name.
        environment: where, and the hosts' number.
        version: what was deployed; empty if unknown.
        exit_status: the task's exit status.
        message: its result, as a sentence; may have several lines.
        ended: when it ended.
    """

    task: str
    environment: str
    version: str
    exit_status: int
    message: str
    ended: datetime


@dataclass(frozen=True)
class Bar:
    """One round trip, drawn: offsets and widths in percent of the lane.

    Args:
        left: where it begins.
        wire, work: how much of it was on the wire, and then work on the host.
        top: pixels from the lane's top; trips at the same time are drawn below each other.
        colour: the step's.
        title: the text that a person reads when pointing at it.
    """

    left: float
    wire: float
    work: float
    top: int
    colour: int
    title: str


@dataclass(frozen=True)
class Lane:
    """One host, drawn."""

    host: str
    height: int
    bars: tuple[Bar, ...]
    busy: str
    wire: str
    work: str
    round_trips: int
    sent: str
    slowest: bool


def timeline(timings: Timings, head: PageHead) -> str:
    """The page.

    Args:
        timings: what is drawn.
        head: the text above the lanes.
    """
    colours = {step: colour_of(step) for step in timings.steps}
    total = cost(timings.trips)
    return page_text(
        "timeline",
        head=head,
        seconds=timings.seconds,
        total=total,
        sent=size(total.bytes_out),
        received=size(total.bytes_in),
        slowest=timings.slowest,
        lanes=lanes(timings, colours),
        legend=[(colours[step], step, *_summed(timings.trips, step)) for step in timings.steps],
        phases=_phases(timings),
        ticks=ticks(timings.seconds),
        bar=BAR,
    )


def colour_of(step: str) -> int:
    """A step's colour. The name of a failed step has a suffix that says how it ended."""
    name = step.partition(" (")[0]
    return next((colour for colour, steps in MEANINGS.items() if name in steps), OTHER)


def lanes(timings: Timings, colours: Mapping[str, int]) -> list[Lane]:
    """Every host's lane, to the same scale."""
    return [_lane(host, timings, colours) for host in timings.hosts]


def ticks(seconds: float) -> list[tuple[float, str]]:
    """The marks of the time axis: position in percent, and text."""
    step = next(
        step
        for power in range(-3, 9)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if seconds / step <= MAX_TICKS
    )
    count = int(seconds / step)
    digits = max(0, 3 if step < 0.01 else 2 if step < 0.1 else 1 if step < 1 else 0)
    return [(100 * index * step / max(seconds, 1e-9), f"{index * step:.{digits}f} s") for index in range(count + 1)]


def _lane(host: HostTimings, timings: Timings, colours: Mapping[str, int]) -> Lane:
    rows = _side_by_side(host.trips)
    bars = tuple(_bar(trip, row, timings.seconds, colours) for trip, row in zip(host.trips, rows, strict=True))
    total = host.total
    return Lane(
        host=host.host,
        height=GAP + (BAR + GAP) * (max(rows, default=0) + 1),
        bars=bars,
        busy=f"{host.seconds:.2f}",
        wire="" if total.wire is None else f"{total.seconds - (total.work or 0):.2f}",
        work="" if total.work is None else f"{total.work:.2f}",
        round_trips=total.round_trips,
        sent=size(total.bytes_out),
        slowest=len(timings.hosts) > 1 and host is timings.slowest,
    )


def _bar(trip: Trip, row: int, seconds: float, colours: Mapping[str, int]) -> Bar:
    whole, work = split(trip)
    scale = 100 / max(seconds, 1e-9)
    told = f"{whole:.3f} s" if work is None else f"{whole:.3f} s: wire {whole - work:.3f} s, work {work:.3f} s"
    trips = "1 round trip" if trip.round_trips == 1 else f"{trip.round_trips} round trips"
    return Bar(
        left=trip.began * scale,
        wire=(whole - (work or 0.0)) * scale,
        work=(work or 0.0) * scale,
        top=GAP + row * (BAR + GAP),
        colour=colours[trip.name],
        title=f"{trip.name} on {trip.host}, from {trip.began:.2f} s on: {told}; "
        f"{size(trip.bytes_out)} out, {size(trip.bytes_in)} in, {trips}",
    )


def _side_by_side(trips: Sequence[Trip]) -> list[int]:
    """For each trip the first row that is free when it begins."""
    free: list[float] = []
    rows = []
    for trip in trips:
        row = next((row for row, until in enumerate(free) if until <= trip.began), len(free))
        free[row : row + 1] = [trip.answered]
        rows.append(row)
    return rows


def _phases(timings: Timings) -> list[tuple[float, float, str]]:
    """Beginning and length in percent, and text; the first begins with the task."""
    scale = 100 / max(timings.seconds, 1e-9)
    marks = [*((at, phase.text) for at, phase in timings.phases), (timings.seconds, "")]
    return [(at * scale, (end - at) * scale, text) for (at, text), (end, _) in pairwise(marks) if end > at]


def _summed(trips: Sequence[Trip], step: str) -> tuple[str, str]:
    """A step's seconds over all hosts, and the longest."""
    found = [split(trip)[0] for trip in trips if trip.name == step]
    return f"{sum(found):.2f}", f"{max(found):.2f}"
