"""Numbers as text for a person."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share with enough digits to distinguish it from a limit beside it."""
    value = 100 * share
    digits = 0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def rate(events: int, requests: int) -> str:
    """How many of the requests are events, with the share."""
    return f"{events:,} of {requests:,} requests" + (f" ({percent(events / requests)})" if requests else "")


def window(seconds: float) -> str:
    """The length of a window."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def milliseconds(value: float) -> str:
    """A latency."""
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"


def about(count: float) -> str:
    """An estimate, rounded to two digits."""
    size = max(0, len(str(int(count))) - 2)
    return f"{round(count, -size):,.0f}"


def chance(alarm: float) -> str:
    """How often chance alone gives a good release this result, at the most."""
    return f"False-alarm rate: at most {percent(alarm)}."
