"""Record a task on a host, mark the release, and prune old releases (A1, A9)."""

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

# "discarded": the release never ran, and the step removes it.
Mark = Literal["proven", "failed", "discarded"]
HEALED = '"healed":true,'


@dataclass(frozen=True)
class Finished:
    """The result of the step.

    Args:
        pruned: the removed releases.
        head: the ledger's last line; None if the record was there already.
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
        record: the record; the host adds its name and the hash of the previous line.
        mark: the release's new state.
        release: its id; required with a mark.
        after: steps to begin afterwards.
    """
    text = json.dumps({"host": remote.name, **record}, ensure_ascii=False)
    ask = StepCall(
        "finish",
        values={
            "home": settings.home,
            "state": settings.state,
            "keep": str(settings.keep_releases),
            "record": text,
            "mark": mark or "-",
            "release": release or "-",
        },
        acts=True,
        timeout=settings.timeouts.command,
    )
    answers = remote.without_deadline().chain([ask, *after])
    answer = next(answers)
    # The steps in `after` leave their result on the host, and the next task reads it.
    with contextlib.suppress(SlipwayError):
        list(answers)
    return Finished(tuple(name for (name,) in answer.all("pruned", 1)), read_appended(answer, text))


def read_appended(answer: StepResult, record: str) -> Head | None:
    """Read the line that append.sh wrote; None if the record was there already.

    Args:
        answer: the step's answer.
        record: the record that the step got.

    Raises:
        BadAnswer: the answer is malformed.
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
