"""--timings as a table with a row for each host; for a large fleet only the slowest hosts."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from playbooks.report.timings import Cost, HostTimings, Timings, cost

MAX_ROWS = 12  # more hosts than this are summed up
SLOWEST_SHOWN = 5
GAP = "  "

Row = list[str]


def told_timings(timings: Timings, width: int | None) -> Iterator[str]:
    """Where the time went, for each host and together, as lines.

    Args:
        timings: of a task that has ended, with or without success.
        width: of the terminal, in characters; if it is too narrow, columns continue below. None for a log.
    """
    slowest = timings.slowest
    if slowest is None:
        yield f"timings: {timings.seconds:.2f} s, and no host was reached"
        return
    yield "timings: seconds on the wire + at work on the host"
    yield from lines(table(timings), width)
    total = cost(timings.trips)
    yield (
        f"{timings.seconds:.2f} s in all; slowest: {slowest.host}, busy for {slowest.seconds:.2f} s; "
        f"{total.round_trips} round trips, {size(total.bytes_out)} sent, {size(total.bytes_in)} received"
    )


def table(timings: Timings) -> list[Row]:
    """The rows, the first with the columns' names: every host, or with many hosts the slowest and the median."""
    hosts = [host for host in timings.hosts if host.trips]
    many = len(hosts) > MAX_ROWS
    shown = sorted(hosts, key=lambda host: -host.seconds)[:SLOWEST_SHOWN] if many else hosts
    rows = [["host", "busy", *timings.steps, "sent", "trips"]]
    rows += [_row(host.host, host.seconds, [host.steps.get(step) for step in timings.steps], host) for host in shown]
    if many:
        rows.append([f"… {len(hosts) - len(shown)} more", *[""] * (len(rows[0]) - 1)])
        rows.append(_median(timings, hosts))
    if len(hosts) > 1:
        rows.append(_total(timings, hosts))
    return rows


def lines(rows: Sequence[Row], width: int | None) -> Iterator[str]:
    """The table as aligned lines. If it is wider than the terminal, it is cut between columns and continues below."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for block in _blocks(widths, width):
        for row in rows:
            first = row[0].ljust(widths[0])
            yield GAP.join([first, *(row[index].rjust(widths[index]) for index in block)]).rstrip()


def size(count: float) -> str:
    """Bytes as a person reads them: 812 B, 48.3 kB, 12.0 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    power = 3 if count >= 999_950_000 else 2 if count >= 999_950 else 1
    return f"{count / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def _row(name: str, seconds: float, costs: Sequence[Cost | None], host: HostTimings) -> Row:
    total = host.total
    return [name, f"{seconds:.2f}", *map(_cell, costs), size(total.bytes_out), str(total.round_trips)]


def _cell(found: Cost | None) -> str:
    if found is None:
        return ""
    if found.work is None or found.wire is None:
        return f"{found.seconds:.2f}"
    return f"{found.seconds - found.work:.2f}+{found.work:.2f}"


def _median(timings: Timings, hosts: Sequence[HostTimings]) -> Row:
    def middle(step: str) -> str:
        found = [cost for host in hosts if (cost := host.steps.get(step))]
        work = [cost.work for cost in found if cost.work is not None]
        wire = [cost.wire for cost in found if cost.wire is not None]
        if work and wire:
            return f"{statistics.median(wire):.2f}+{statistics.median(work):.2f}"
        return f"{statistics.median(cost.seconds for cost in found):.2f}"

    totals = [host.total for host in hosts]
    return [
        "median",
        f"{statistics.median(host.seconds for host in hosts):.2f}",
        *map(middle, timings.steps),
        size(statistics.median(total.bytes_out for total in totals)),
        f"{statistics.median(total.round_trips for total in totals):g}",
    ]


def _total(timings: Timings, hosts: Sequence[HostTimings]) -> Row:
    trips = timings.trips
    costs = [_cell(cost(trip for trip in trips if trip.name == step)) for step in timings.steps]
    total = cost(trips)
    busy = sum(host.seconds for host in hosts)
    return ["total", f"{busy:.2f}", *costs, size(total.bytes_out), str(total.round_trips)]


def _blocks(widths: Sequence[int], width: int | None) -> Iterator[list[int]]:
    """Which columns are beside the first one, block by block."""
    block: list[int] = []
    used = widths[0]
    for index in range(1, len(widths)):
        needed = len(GAP) + widths[index]
        if block and width is not None and used + needed > width:
            yield block
            block, used = [], widths[0]
        block.append(index)
        used += needed
    yield block
