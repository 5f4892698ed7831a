"""When a database may be migrated: days and hours of a time zone (C2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_DAYS = 8  # in a week, and one more for a night that begins on the last day


@dataclass(frozen=True)
class Window:
    """A window.

    Args:
        days: on which it opens, of `DAYS`.
        opens, closes: by the clock of the zone; a window that closes before it opens lasts until the next day.
        zone: the time zone's name.
    """

    days: Sequence[str]
    opens: time
    closes: time
    zone: str

    @property
    def text(self) -> str:
        """The window for a person."""
        days = "every day" if len(self.days) == len(DAYS) else ", ".join(self.days)
        return f"{days} {self.opens:%H:%M} to {self.closes:%H:%M} {self.zone}"


def is_open(window: Window, now: datetime) -> bool:
    """Return whether a time is in a window.

    Args:
        window: the window.
        now: a time with a zone.
    """
    here = now.astimezone(ZoneInfo(window.zone))
    return any(start <= here < end for start, end in _around(window, here))


def next_opening(window: Window, now: datetime) -> datetime:
    """Return when a window opens next, in its own zone.

    Args:
        window: the window.
        now: a time with a zone.
    """
    here = now.astimezone(ZoneInfo(window.zone))
    return min(start for start, _ in _around(window, here) if start > here)


def _around(window: Window, here: datetime) -> list[tuple[datetime, datetime]]:
    """Return the openings from yesterday on, a week long; those that would be in a missing hour are an hour later."""
    zone = ZoneInfo(window.zone)
    found = []
    for number in range(-1, MAX_DAYS + 1):
        day = (here + timedelta(days=number)).date()
        if DAYS[day.weekday()] not in window.days:
            continue
        last = day if window.closes > window.opens else day + timedelta(days=1)
        found.append((datetime.combine(day, window.opens, zone), datetime.combine(last, window.closes, zone)))
    return found
