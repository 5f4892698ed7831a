"""Where this machine keeps what it remembers of an environment; it may be deleted without harm."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from playbooks.core.surroundings import own_path


def place(kind: str, application: str, environment: str, folder: Path) -> Path:
    """A file under ``$XDG_STATE_HOME/slipway`` (``~/.local/state``).

    Args:
        kind: of what is remembered.
        application, environment: their names.
        folder: the inventory's; two inventories may have the same name.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else own_path("~/.local/state")
    which = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return home / "slipway" / kind / f"{application}@{environment}-{which}.json"
