"""Logs: one JSON object a line on standard output, where systemd's journal picks them up."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

# sd-daemon(3): what systemd reads at the start of a line, so that errors are errors in the journal too.
PRIORITIES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; fields given as extra={"fields": {...}} stand beside the message.

    Args:
        to_journal: whether systemd reads it.
    """

    def __init__(self, *, to_journal: bool) -> None:
        super().__init__()
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        priority = PRIORITIES.get(record.levelname, "") if self._to_journal else ""
        return priority + json.dumps(line, default=str)


def set_up(level: str) -> None:
    """Send every log to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(to_journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
