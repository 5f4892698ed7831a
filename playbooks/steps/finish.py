"""Record what was done on a host, mark the release, prune old ones (A1, A9)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from playbooks.errors import SlipwayError
from playbooks.fleet.remote import Ask, Remote
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
    after: Sequence[Ask] = (),
) -> list[str]:
    """Append a record to the host's ledger; mark a release; after "proven", prune.

    Args:
        remote: the host.
        settings: its settings.
        record: what happened; the host adds its name and the hash of the record before.
        mark: what became of the release.
        release: which release; needed with a mark.
        after: what to begin once that is done.

    Returns:
        The releases that were removed.
    """
    ask = Ask(
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
    answers = remote.patient().chain([ask, *after])
    answer = next(answers)
    # What is begun now tells by itself how it went, to whoever looks next.
    with contextlib.suppress(SlipwayError):
        list(answers)
    return [name for (name,) in answer.all("pruned", 1)]
