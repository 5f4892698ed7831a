"""Define patterns for names, ids and times from hosts, repositories and persons.

Ids become names of files, folders and units, restic's tags, and arguments of root's scripts, also on other hosts than
the one that reported them. So a host's value is used only if it matches its pattern; steps/lib/names.sh has the
same patterns for the values that hosts get, and that they read from a repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

STAMP = "%Y%m%dT%H%M%SZ"
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
RELEASE = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({VERSION.pattern})", re.ASCII)
# The id has no version if the hosts do not agree on one.
BACKUP = re.compile(rf"(\d{{8}}T\d{{6}}Z)(?:-({VERSION.pattern}))?", re.ASCII)
# A task's id: a deploy has its release's id, a rollback's has a suffix, any other's is its time.
TASK = BACKUP
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,250}\.(?:service|socket|timer|target|path|mount)")
SLOT = re.compile(r"[a-z][a-z0-9]{0,19}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# restic before 0.17 prints only the first eight digits.
SNAPSHOT = re.compile(r"[0-9a-f]{8,64}")
# How far a host's clock may be ahead of the controller's before its ids are ignored for other hosts.
MAX_AHEAD = timedelta(days=1)
MAX_BACKUPS = 20_000  # for one host: hourly backups for two years
MAX_TEXT = 2000  # characters of a host's sentence


def stamp(moment: datetime) -> str:
    """Format a time as in ids, which sorts as text."""
    return moment.strftime(STAMP)


def moment_of(name: str) -> datetime | None:
    """Return the time at the beginning of an id; None if it has no valid time."""
    try:
        return datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def is_ahead(name: str, now: datetime) -> bool:
    """Return whether an id is from the future, by more than clocks may differ.

    Args:
        name: the id of a release, backup or task.
        now: the controller's time.
    """
    moment = moment_of(name)
    return moment is not None and moment > now + MAX_AHEAD


def after(others: Iterable[str], now: datetime) -> str:
    """Return the first stamp that sorts after all of these ids; empty if there are none.

    Ids from a clock that is slightly ahead count. Ids from the future do not, because one of them would
    raise every later id.

    Args:
        others: the ids; text without a time is ignored.
        now: the controller's time.
    """
    moments = [moment for name in others if (moment := moment_of(name)) and not is_ahead(name, now)]
    return stamp(max(moments) + timedelta(seconds=1)) if moments else ""


def parse_time(text: object) -> datetime | None:
    """Read a time from a record, with its zone; None if invalid, or outside of the calendar in UTC."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def cut(text: str, most: int = MAX_TEXT) -> str:
    """Shorten a host's sentence, so that it fits into a ledger's record; an argument of a script has at most 128 kB."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
