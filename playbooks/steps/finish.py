"""Record what was done on a host, mark the release, prune old ones (A1, A9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from playbooks.fleet.remote import Remote
from playbooks.settings import Settings

# "discarded": it never ran; it is removed.
Mark = Literal["proven", "failed", "discarded"]


def finish(
    remote: Remote,
    settings: Settings,
    record: Mapping[str, Any],
    *,
    mark: Mark | None = None,
    release: str | None = None,
) -> list[str]:
    """Append a record to the host's ledger; mark a release; after "proven", prune.

    Args:
        remote: the host.
        settings: its settings.
        record: what happened; the host adds its name and the hash of the record before.
        mark: what became of the release.
        release: which release; needed with a mark.

    Returns:
        The releases that were removed.
    """
    answer = remote.patient().run(
        "finish",
        [
            settings.home,
            settings.state,
            str(settings.keep_releases),
            json.dumps({"host": remote.name, **record}, ensure_ascii=False),
            mark or "-",
            release or "-",
        ],
        acts=True,
        timeout=settings.timeouts.command,
    )
    return [name for (name,) in answer.all("pruned", 1)]
