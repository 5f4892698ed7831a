"""The goals, and what a run came to. A goal whose scenario was not run is left out."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LINEAR = (
    1.25  # the last stretch may be so much steeper than the straight line before growth counts as worse than linear
)


@dataclass(frozen=True)
class Goal:
    """One goal.

    Args:
        text: what is wanted.
        measured: what was found.
        met: whether that is so; None when the run was of another size than the goal.
    """

    text: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Line:
    """A straight line through points, by least squares."""

    start: float
    slope: float

    def at(self, x: float) -> float:
        """Its height there."""
        return self.start + self.slope * x


def fit(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The line that fits best."""
    slope, start = statistics.linear_regression(xs, ys)
    return Line(start, slope)


def median(results: dict[str, Any], name: str, what: str = "wall") -> float:
    """A contender's median in a table."""
    return float(statistics.median(results["rows"][name][what]))


def goals(results: dict[str, Any]) -> list[Goal]:
    """Every goal that this run can speak about."""
    return [
        *_ratios(results),
        *_changed(results.get("changed")),
        *_fan_out(results.get("fan_out")),
        *_crowd(results.get("crowd")),
        *_rollback(results.get("rollback")),
        *_startup(results.get("startup")),
        *_nothing(results.get("nothing")),
    ]


def find(results: dict[str, Any], *, megabytes: float, round_trip: int) -> dict[str, Any] | None:
    """The table of a size at a round trip."""
    for table in results.get("full", []):
        if (table["megabytes"], table["round_trip"]) == (megabytes, round_trip):
            return dict(table)
    return None


def _ratios(results: dict[str, Any]) -> Iterator[Goal]:
    wanted = [
        ("Slipway's deploy ÷ by hand, 8 hosts, 1 MB, 50 ms", 1, 50, "slipway", "by hand", 1.2, True),
        ("Slipway's deploy ÷ by hand, 8 hosts, 20 MB, 0 ms", 20, 0, "slipway", "by hand", 1.0, True),
        ("pyinfra ÷ Slipway, 8 hosts, 1 MB, 50 ms", 1, 50, "pyinfra", "slipway", 2.0, False),
        ("ansible-core ÷ Slipway, 8 hosts, 1 MB, 50 ms", 1, 50, "ansible-core", "slipway", 8.0, False),
    ]
    for text, megabytes, round_trip, one, other, limit, at_most in wanted:
        table = find(results, megabytes=megabytes, round_trip=round_trip)
        if table is None or not {one, other} <= set(table["rows"]):
            continue
        ratio = median(table, one) / median(table, other)
        met = ratio <= limit if at_most else ratio >= limit
        yield Goal(f"{text}: {'≤' if at_most else '≥'} {limit:g}", f"{ratio:.2f}", met if table["hosts"] == 8 else None)


def _changed(table: dict[str, Any] | None) -> Iterator[Goal]:
    if table is None:
        return
    meant = table["megabytes"] == 200
    for kind, said in (("files", "1 % of the files new"), ("ranges", "1 % of every file new")):
        name = f"slipway, {kind}"
        ratio = median(table, "by hand") / median(table, name)
        met = ratio >= 20 if meant else None
        yield Goal(f"by hand ÷ Slipway, 200 MB, {said}, 100 Mbit/s: ≥ 20", f"{ratio:.1f}", met)
        share = 100 * median(table, name, "sent") / (table["size"] * table["hosts"])
        met = share <= 2 if meant else None
        yield Goal(f"of 200 MB, {said}, at most 2 % is sent", f"{share:.2f} %", met)


def _fan_out(rows: list[dict[str, Any]] | None) -> Iterator[Goal]:
    if not rows:
        return
    last = max(rows, key=lambda row: int(row["hosts"]))
    count = last["hosts"]
    for text, key, limit, unit in (
        ("controller's CPU a host", "cpu", 0.1, "s"),
        ("controller's memory a host", "memory", 5, "MB"),
    ):
        each = statistics.median(last[key]) / count
        more = ""
        if len(rows) > 1:
            slope = fit([row["hosts"] for row in rows], [statistics.median(row[key]) for row in rows]).slope
            more = f"; one more host {slope:.3f} {unit}"
        met = each <= limit if count == 50 else None
        yield Goal(f"50 hosts: {text} at most {limit:g} {unit}", f"{each:.3f} {unit}{more}", met)


def _crowd(rows: list[dict[str, Any]] | None) -> Iterator[Goal]:
    if not rows or len(rows) < 3:
        return
    counts = [row["hosts"] for row in rows]
    for text, key, unit in (("CPU", "cpu", "s"), ("memory", "memory", "MB")):
        values = [statistics.median(row[key]) for row in rows]
        line = fit(counts, values)
        last = (values[-1] - values[-2]) / (counts[-1] - counts[-2])
        measured = f"{line.start:.2f} + {line.slope:.4f} × hosts {unit}; last stretch {last:.4f} a host"
        met = last <= LINEAR * line.slope if counts[-1] == 500 else None
        yield Goal(f"to 500 sshd the controller's {text} grows no faster than a straight line", measured, met)


def _rollback(row: dict[str, Any] | None) -> Iterator[Goal]:
    if not row:
        return
    back, start = statistics.median(row["back"]), statistics.median(row["start"])
    measured = f"{back:.2f} s, less {start:.2f} s of the application's own: {back - start:.2f} s"
    met = back - start <= 3 if row["hosts"] == 20 else None
    yield Goal("20 hosts: old version back on all within 3 s and the application's own start", measured, met)


def _startup(rows: dict[str, Any] | None) -> Iterator[Goal]:
    if not rows:
        return
    times = {name: statistics.median(row["cpu"]) for name, row in rows.items()}
    slowest = max(times, key=lambda name: times[name])
    measured = f"--list {times['--list']:.2f} s; the slowest, {slowest}, {times[slowest]:.2f} s"
    yield Goal("every task's first line within 0.3 s of CPU", measured, times[slowest] <= 0.3)


def _nothing(row: dict[str, Any] | None) -> Iterator[Goal]:
    if row:
        wall = statistics.median(row["wall"])
        yield Goal(
            "8 hosts: a deploy with nothing to do, under 1 s", f"{wall:.2f} s", wall < 1 if row["hosts"] == 8 else None
        )
