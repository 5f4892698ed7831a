"""Return the path of data that this machine keeps about an environment. Deleting it does no harm."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from playbooks.core.surroundings import own_path


def place(kind: str, application: str, environment: str, folder: Path) -> Path:
    """Return a file under ``$XDG_STATE_HOME/slipway`` (``~/.local/state``).

    Args:
        kind: the kind of data.
        application, environment: their names.
        folder: the inventory's folder, because two inventories may have the same name.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else own_path("~/.local/state")
    which = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return home / "slipway" / kind / f"{application}@{environment}-{which}.json"
