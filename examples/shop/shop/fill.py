"""Make many orders at once, so that a migration has a large table to work on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shop.database import Database, DatabaseUnavailable
from shop.settings import SettingsError, read_settings

AT_ONCE = 20_000  # a statement has two seconds


def main(root: Path, wanted: str) -> int:
    """Make orders.

    Args:
        root: the release's folder.
        wanted: how many, as it was typed.

    Returns:
        The process's exit status.
    """
    made = 0
    try:
        left = int(wanted.replace("_", ""))
        database = Database(read_settings(os.environ), root / "shop" / "sql")
        while made < left:
            database.query("fill", rows=min(AT_ONCE, left - made))
            made += min(AT_ONCE, left - made)
    except (ValueError, SettingsError, DatabaseUnavailable) as error:
        print(f"shop: {error}; {made:,} orders were made", file=sys.stderr)  # noqa: T201  # for a person
        return 1
    print(f"{made:,} orders were made")  # noqa: T201
    return 0
