"""A rollout as a self-contained page: stages, traffic, both versions in numbers, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from playbooks.judgement.sentences import percent
from playbooks.judgement.verdict import Verdict
from playbooks.report.page import page_text
from playbooks.report.timeline import ticks

WIDTH, HEIGHT = 1000.0, 100.0  # what charts are drawn in; they are stretched to the page
FEWEST_LINES = 3  # of a scale


@dataclass(frozen=True)
class Point:
    """One measurement.

    Args:
        at: seconds since the beginning.
        share: the new release's share of the traffic, 0 to 1; None if unknown.
        new_errors, old_errors: rates, 0 to 1; None if there were no requests.
        new_latency, old_latency: p95 in milliseconds; None if nothing was timed.
    """

    at: float
    share: float | None
    new_errors: float | None = None
    old_errors: float | None = None
    new_latency: float | None = None
    old_latency: float | None = None


@dataclass(frozen=True)
class StageOnPage:
    """One stage.

    Args:
        name: what a person calls it.
        began, ended: seconds since the beginning.
        verdict: the last verdict; None for a stage that was not judged.
        decision: what followed from an inconclusive verdict; empty otherwise.
        errors: the limit of its error rate, if it had one.
        latency: the limit of its p95, in milliseconds.
    """

    name: str
    began: float
    ended: float
    verdict: Verdict | None = None
    errors: float | None = None
    latency: float | None = None
    decision: str = ""


@dataclass(frozen=True)
class Story:
    """A rollout from its beginning to its end.

    Args:
        task: its name, e.g. deploy.
        environment: where.
        version, old_version: the new and the old version.
        strategy: how hosts changed.
        exit_status: the task's exit status.
        message: its result, as a sentence.
        ended: when it ended.
        seconds: how long it took.
        acts: its stages, in order.
        points: what was measured, in order.
    """

    task: str
    environment: str
    version: str
    old_version: str
    strategy: str
    exit_status: int
    message: str
    ended: datetime
    seconds: float
    acts: tuple[StageOnPage, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ChartLine:
    """A line of a chart.

    Args:
        kind: what it is drawn as: new, old, or share.
        label: what it is.
        parts: its points in SVG's format; several parts if there are gaps in the measurements.
        dots: measurements without a neighbour, for which a line would have no length.
    """

    kind: str
    label: str
    parts: tuple[str, ...]
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be drawn.

    Args:
        title: what it shows.
        lines: what is drawn, the upper ones last.
        scale: lines of the scale: height from the top in percent, and their text.
        limits: beginning, end, height of a stage's limit in the chart's own units, and its text.
    """

    title: str
    lines: tuple[ChartLine, ...]
    scale: tuple[tuple[float, str], ...]
    limits: tuple[tuple[float, float, float, str], ...] = ()


def rollout_page(story: Story) -> str:
    """The page."""
    return page_text(
        "rollout",
        story=story,
        acts=[(_across(act.began, story), _across(act.ended - act.began, story), act) for act in story.acts],
        charts=charts(story),
        ticks=ticks(story.seconds),
        width=WIDTH,
        height=HEIGHT,
    )


def charts(story: Story) -> list[Chart]:
    """The charts, from the top: traffic, errors, latency. A chart without measurements is left out."""
    found: list[Chart] = []
    if story.points:
        shares = [("share", "new", lambda point: point.share)]
        found.append(_chart(story, "Traffic of the new release", shares, percent, 1.0))
    both: list[tuple[str, Sequence[tuple[str, str, Callable[[Point], float | None]]], Callable[[float], str]]] = [
        (
            "Errors",
            (
                ("old", story.old_version, lambda point: point.old_errors),
                ("new", story.version, lambda point: point.new_errors),
            ),
            percent,
        ),
        (
            "Latency, p95",
            (
                ("old", story.old_version, lambda point: point.old_latency),
                ("new", story.version, lambda point: point.new_latency),
            ),
            lambda value: f"{value:,.4g} ms",
        ),
    ]
    limits = [[act.errors for act in story.acts], [act.latency for act in story.acts]]
    for (title, series, unit), at_most in zip(both, limits, strict=True):
        values = [value for point in story.points for _, _, read in series if (value := read(point)) is not None]
        if values:
            # A limit far above all values would flatten the curve, so it is left out, unless the curve is zero.
            most = max(values)
            near = [limit for limit in at_most if limit is not None and (not most or limit < 4 * most)]
            found.append(_chart(story, title, series, unit, max([most, *near]), at_most))
    return found


def _chart(
    story: Story,
    title: str,
    series: Sequence[tuple[str, str, Callable[[Point], float | None]]],
    unit: Callable[[float], str],
    most: float,
    limits: Sequence[float | None] = (),
) -> Chart:
    step = _round_step(most)
    top = step * max(1, -(-most // step)) if most else 1.0

    def height(value: float) -> float:
        return HEIGHT * (1 - value / top)

    lines = []
    for kind, label, read in series:
        runs: list[list[tuple[float, float]]] = [[]]
        for point in story.points:
            value = read(point)
            if value is None:
                runs.append([])
            else:
                runs[-1].append((_across(point.at, story) * WIDTH / 100, height(value)))
        if kind == "share":
            runs = [_steps(run) for run in runs]
        parts = tuple(" ".join(f"{x:.2f},{y:.2f}" for x, y in run) for run in runs if len(run) > 1)
        lines.append(ChartLine(kind, label, parts, tuple((x, y) for run in runs if len(run) == 1 for x, y in run)))
    marks = tuple(
        (_across(act.began, story) * WIDTH / 100, _across(act.ended, story) * WIDTH / 100, height(limit), unit(limit))
        for act, limit in zip(story.acts, limits or [None] * len(story.acts), strict=True)
        if limit is not None and limit <= top
    )
    scale = tuple((height(step * index), unit(step * index)) for index in range(round(top / step) + 1))
    return Chart(title, tuple(lines), scale, marks)


def _steps(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points as steps, because traffic changes at once and holds until the next measurement."""
    found: list[tuple[float, float]] = []
    for x, y in run:
        found += [(found[-1][0] if found else 0.0, y), (x, y)]
    return found


def _round_step(most: float) -> float:
    """The distance of a scale's lines: the longest round distance that still gives a few lines."""
    steps = (digit * 10.0**power for power in range(8, -7, -1) for digit in (5, 2, 1))
    return next((step for step in steps if most / step >= FEWEST_LINES), 1.0)


def _across(seconds: float, story: Story) -> float:
    """Where a moment is, in percent of the page."""
    return 100 * seconds / max(story.seconds, 1e-9)
