"""Return the controller's time, in the format of ids and records."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Format a time as in records: UTC, ISO 8601, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
