"""Make a release from what another tool deployed, so that a host can go back to it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from playbooks.core import names
from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings

HINT = "docs/first-deploy.md says what can be taken over, under 'Taking over from another tool'"
# Capistrano and Ansistrano name releases by time, Deployer by a counter.
TIME = re.compile(r"(\d{8})(\d{6})Z?", re.ASCII)
BEFORE_ALL = "20000101T000000Z"


def release_of(folder: str) -> str | None:
    """Make an id for another tool's release. It is the same on every host and sorts before Slipway's own ids.

    Args:
        folder: the release's folder name in ``releases``.

    Returns:
        The id; None if the folder's name cannot be a version.
    """
    if not names.VERSION.fullmatch(folder):
        return None
    time = TIME.fullmatch(folder)
    moment = f"{time[1]}T{time[2]}Z" if time else BEFORE_ALL
    return f"{moment if names.moment_of(moment) else BEFORE_ALL}-{folder}"


def adopt(
    remote: Remote,
    settings: Settings,
    folder: str,
    units: Sequence[str],
    *,
    look: bool = False,
    note: Note | None = None,
) -> None:
    """Make a release of the folder that ``current`` leads to. The application keeps running.

    Args:
        remote: the host.
        settings: its settings.
        folder: the release's folder name in ``releases``.
        units: the units of the release that will replace it.
        look: change nothing; only find out whether the adoption is possible.
        note: called with each progress message.

    Raises:
        StepFailed: the adoption is not possible.
    """
    release = release_of(folder) or ""
    nothing = "0" * 64
    about = {
        "release": release,
        "version": folder,
        "sha256": nothing,
        "config": nothing,
        "artifact": f"releases/{folder}",
        "created": "",
        "by": "another tool",
    }
    limit = max(1, round(settings.timeouts.command))
    values = {
        "home": settings.home,
        "user": settings.run_user,
        "id": release,
        "theirs": folder,
        "limit": str(limit),
        "about": json.dumps(about),
        "what": "look" if look else "adopt",
    }
    try:
        remote.run(
            "adopt",
            units,
            values=values,
            acts=not look,
            timeout=settings.timeouts.command,
            note=note,
        )
    except StepFailed as error:
        error.hint = error.hint or HINT
        raise
