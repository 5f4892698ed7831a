"""Numbers as text for a person."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share with as many digits as it takes to tell it from a limit beside it."""
    value = 100 * share
    digits = 0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def rate(events: int, requests: int) -> str:
    """Events of requests, and what share that is."""
    return f"{events:,} of {requests:,} requests" + (f" ({percent(events / requests)})" if requests else "")


def window(seconds: float) -> str:
    """For how long it was counted."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def milliseconds(value: float) -> str:
    """A latency."""
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"


def about(count: float) -> str:
    """An estimate, with the digits that it deserves."""
    size = max(0, len(str(int(count))) - 2)
    return f"{round(count, -size):,.0f}"


def chance(alarm: float) -> str:
    """How seldom a good release comes to this."""
    return f"Chance does this to one good release in {about(1 / alarm)} at the most."
