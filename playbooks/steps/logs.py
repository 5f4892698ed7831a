"""Read what an application's units wrote into a host's journal."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from playbooks.core.names import UNIT, cut
from playbooks.fleet.host_json import read_object
from playbooks.fleet.listening import listen
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings

MAX_LINES = 10_000  # from one host, in one answer
MAX_BYTES = 64 * 1024 * 1024  # likewise
MAX_MESSAGE = 8000  # characters
INFO = 6  # syslog(3)
LAST_MOMENT = 253402300800 * 1_000_000  # the end of the year 9999


@dataclass(frozen=True)
class LogQuery:
    """Which messages of the journal to read.

    Args:
        lines: how many of the last lines of each host, at most.
        since: a time as journalctl takes it; default: from the beginning.
        unit: only this one.
    """

    lines: int = 50
    since: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class LogLine:
    """A message in a journal.

    Args:
        at: microseconds since 1970, by the host's clock.
        unit: the unit that wrote the message, or that systemd's message is about.
        systemd: whether systemd wrote it.
        priority: 0 (emergency) to 7 (debug).
        text: may have several lines.
    """

    at: int
    host: str
    unit: str
    systemd: bool
    priority: int
    text: str

    @property
    def time(self) -> str:
        """Return the time in UTC, ISO 8601, to the millisecond."""
        moment = datetime.fromtimestamp(self.at / 1_000_000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"

    def to_json(self) -> dict[str, Any]:
        """As a part of a JSON document."""
        return {
            "time": self.time,
            "host": self.host,
            "unit": self.unit,
            "systemd": self.systemd,
            "priority": self.priority,
            "message": self.text,
        }


def read_logs(
    remote: Remote, settings: Settings, asked: LogQuery, *, follow: bool = False
) -> Generator[LogLine, None, None]:
    """Read messages of the application's units, oldest first.

    Args:
        remote: the host.
        settings: its settings.
        asked: which messages.
        follow: continue with new messages; closing the iterator ends the step on the host.

    Raises:
        StepFailed: the unit does not exist.
        Unreachable: the session is lost.
    """
    values = {
        "home": settings.home,
        "follow": "yes" if follow else "no",
        "lines": str(asked.lines),
        "since": asked.since or "-",
        "unit": asked.unit or "-",
    }
    with contextlib.closing(listen(remote, "logs", values)) as lines:
        for raw in lines:
            line = read_line(remote.name, raw)
            if line is not None:
                yield line


def read_line(host: str, raw: bytes) -> LogLine | None:
    """Read one line that journalctl prints; None if it is not a message."""
    entry = read_object(raw.decode("utf-8", "replace"))
    if entry is None:
        return None
    # A program may set any field, except those that begin with "_", which the journal sets.
    systemd = isinstance(entry.get("UNIT"), str) and entry.get("_PID") == "1"
    at, unit = str(entry.get("__REALTIME_TIMESTAMP")), entry.get("UNIT" if systemd else "_SYSTEMD_UNIT")
    if not (at.isascii() and at.isdigit() and int(at[:18]) < LAST_MOMENT):
        return None
    priority = str(entry.get("PRIORITY"))
    return LogLine(
        at=int(at[:18]),
        host=host,
        unit=unit if isinstance(unit, str) and UNIT.fullmatch(unit) else "",
        systemd=systemd,
        priority=int(priority) if priority in set("01234567") else INFO,
        text=cut(_text(entry.get("MESSAGE")), MAX_MESSAGE),
    )


def _text(message: object) -> str:
    """Return a message's text. journalctl gives bytes if it is not UTF-8, and a list if the field is repeated."""
    if isinstance(message, list):
        if all(isinstance(byte, int) and 0 <= byte < 256 for byte in message):
            return bytes(message).decode("utf-8", "replace")
        return "\n".join(part for part in message if isinstance(part, str))
    return message if isinstance(message, str) else ""
