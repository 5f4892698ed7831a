"""Record what was done on a host, mark the release, prune old ones (A1, A9)."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from playbooks.core.errors import SlipwayError
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.ledger.heads import Head, head_written
from playbooks.settings import Settings

# "discarded": it never ran; it is removed.
Mark = Literal["proven", "failed", "discarded"]
HEALED = '"healed":true,'


@dataclass(frozen=True)
class Finished:
    """What became of it.

    Args:
        pruned: the releases that were removed.
        head: the ledger's last line now; None: the record stood there already.
    """

    pruned: tuple[str, ...]
    head: Head | None


def finish(
    remote: Remote,
    settings: Settings,
    record: Mapping[str, Any],
    *,
    mark: Mark | None = None,
    release: str | None = None,
    after: Sequence[StepCall] = (),
) -> Finished:
    """Append a record to the host's ledger; mark a release; after "proven", prune.

    Args:
        remote: the host.
        settings: its settings.
        record: what happened; the host adds its name and the hash of the record before.
        mark: what became of the release.
        release: which release; needed with a mark.
        after: what to begin once that is done.
    """
    text = json.dumps({"host": remote.name, **record}, ensure_ascii=False)
    ask = StepCall(
        "finish",
        [
            settings.home,
            settings.state,
            str(settings.keep_releases),
            text,
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
    return Finished(tuple(name for (name,) in answer.all("pruned", 1)), read_appended(answer, text))


def read_appended(answer: StepResult, record: str) -> Head | None:
    """The line that append.sh has written; None: it stood there already.

    Args:
        answer: of the step.
        record: as it was handed over.

    Raises:
        BadAnswer: it makes no sense.
    """
    appended = answer.maybe("appended", 3)
    if appended is None:
        return None
    prev, healed, offset = appended
    if not re.fullmatch("start|[0-9a-f]{64}", prev) or healed not in ("", HEALED):
        raise answer.bad("it does not say what it has written into the ledger")
    about = json.loads(record)
    what = f"{about.get('task')} {about.get('id')}"
    return head_written(record, prev, healed, answer.number(offset), str(about.get("started")), what)
