"""Tell the running task to end, as Ctrl-C does where it runs."""

from __future__ import annotations

from playbooks.fleet.lock_owner import LockOwner, read_lock_owner
from playbooks.fleet.script import StepResult


def read_abort(answer: StepResult) -> LockOwner | None:
    """Whose task was asked to end; None where there is none.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    asked = answer.maybe("asked", 1)
    if asked is not None:
        return read_lock_owner(asked[0])
    answer.one("free", 0)
    return None
