"""A look at a stage that is watched: as a line, and as a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks.fleet.progress import Look, Side
from playbooks.report import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {"good": "green", "bad": "bold red", "inconclusive": "yellow"}


def in_words(look: Look) -> str:
    """One line, for logs."""
    sides = [look.new_so_far, *([look.old_so_far] if look.old_so_far else [])]
    told = "; ".join(_side(side) for side in sides)
    return clean(f"{look.stage}, {_clock(look.passed)} of {_clock(look.seconds)}: {told}: {look.outcome}")


def as_table(look: Look) -> RenderableType:
    """A row a version, the bar of the stage above, what is known below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2))
    for name in ("", "version", "traffic", "requests", "errors", "p50", "p95", "p99"):
        table.add_column(name, justify="left" if name in ("", "version") else "right")
    new, old = look.new_so_far, look.old_so_far
    both = new.requests + (old.requests if old else 0)
    for what, side in (("new", new), ("old", old)):
        if side is not None:
            part = f"{100 * side.requests / both:.0f} %" if both else "–"
            table.add_row(what, clean(side.version), part, str(side.requests), _errors(side), *_times(side))
    return Group(
        Text(
            f"{clean(look.stage)}  {_bar(look.passed, look.seconds)}  {_clock(look.passed)} of {_clock(look.seconds)}"
        ),
        table,
        Text(clean(f"{look.outcome}: {look.sentence}"), style=STYLES.get(look.outcome, "")),
    )


def _side(side: Side) -> str:
    times = f", p95 {side.p95:.0f} ms" if side.p95 is not None else ""
    return f"{side.version} {side.requests} requests, {_errors(side)} errors{times}"


def _errors(side: Side) -> str:
    return f"{100 * side.errors / side.requests:.2f} %" if side.requests else "–"


def _times(side: Side) -> list[str]:
    return [f"{time:.0f} ms" if time is not None else "–" for time in (side.p50, side.p95, side.p99)]


def _bar(passed: float, seconds: float, width: int = 24) -> str:
    done = min(width, int(width * passed / seconds)) if seconds else width
    return "━" * done + "╌" * (width - done)


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
