"""A visit counter in SQLite: data that lives on the host, outside of the release."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

LOG = logging.getLogger(__name__)


def prepare(folder: Path | None) -> None:
    """Make the counter, so that it is there to be backed up before the first visit."""
    if folder is None:
        return
    try:
        with closing(sqlite3.connect(folder / "visits.sqlite", timeout=1)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER)")
    except sqlite3.Error as error:
        LOG.warning("visits will not be counted: %s", error)


def count_visit(folder: Path | None) -> int | None:
    """Count a visit of the page.

    Returns:
        How many there were, or None where none are counted: no page fails for its counter.
    """
    if folder is None:
        return None
    try:
        with closing(sqlite3.connect(folder / "visits.sqlite", timeout=1)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER)")
            statement = "INSERT INTO visits VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1 RETURNING n"
            return int(connection.execute(statement).fetchone()[0])
    except sqlite3.Error as error:
        LOG.warning("a visit was not counted: %s", error)
        return None
