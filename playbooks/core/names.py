"""Patterns of names, ids and times: what a host, a repository or a person gives must match them.

Ids become names of files and folders, restic's tags, unit names and arguments of root's scripts, on hosts that did not
say them. So a value that a host gave is used for nothing else than what its pattern allows; steps/lib/names.sh has the
same patterns for what hosts are given, and for what they read back out of a repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

STAMP = "%Y%m%dT%H%M%SZ"
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
RELEASE = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({VERSION.pattern})", re.ASCII)
# The version is left out where the hosts do not agree on one.
BACKUP = re.compile(rf"(\d{{8}}T\d{{6}}Z)(?:-({VERSION.pattern}))?", re.ASCII)
# A task's: a deploy's is its release, a rollback's ends so, any other's is its time.
TASK = BACKUP
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,250}\.(?:service|socket|timer|target|path|mount)")
SLOT = re.compile(r"[a-z][a-z0-9]{0,19}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# restic before 0.17 tells the first eight digits only.
SNAPSHOT = re.compile(r"[0-9a-f]{8,64}")
# How far ahead of the controller's a clock may be before what it stamps counts for nobody but its own host.
MAX_AHEAD = timedelta(days=1)
MAX_BACKUPS = 20_000  # of a host: an hourly one for two years
MAX_TEXT = 2000  # characters of a sentence that a host says


def stamp(moment: datetime) -> str:
    """A time as ids have it: sorts as text."""
    return moment.strftime(STAMP)


def moment_of(name: str) -> datetime | None:
    """The time that an id begins with; None where it begins with none that a calendar has."""
    try:
        return datetime.strptime(name.partition("-")[0], STAMP).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def is_ahead(name: str, now: datetime) -> bool:
    """Whether an id is from the future, by more than clocks differ.

    Args:
        name: the id of a release, backup or task.
        now: the controller's time.
    """
    moment = moment_of(name)
    return moment is not None and moment > now + MAX_AHEAD


def after(others: Iterable[str], now: datetime) -> str:
    """The first stamp that sorts after all of these ids; empty where there is none.

    Ids made by a controller whose clock is a little ahead count; those from the future do not, or one of them would
    move every id after it.

    Args:
        others: ids; what begins with no time is none.
        now: the controller's time.
    """
    moments = [moment for name in others if (moment := moment_of(name)) and not is_ahead(name, now)]
    return stamp(max(moments) + timedelta(seconds=1)) if moments else ""


def parse_time(text: object) -> datetime | None:
    """A time as records have it, with its zone; None if it is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def cut(text: str, most: int = MAX_TEXT) -> str:
    """A host's sentence, no longer than what goes into every ledger: one argument of a script has 128 kB."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
