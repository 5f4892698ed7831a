"""Tell the running task to end, as Ctrl-C does where it runs."""

from __future__ import annotations

from playbooks.fleet.lock_owner import LockOwner, read_lock_owner
from playbooks.fleet.script import StepResult


def read_abort(answer: StepResult) -> LockOwner | None:
    """Return the lock owner whose task was asked to end; None if no task runs.

    Raises:
        BadAnswer: the answer is malformed.
    """
    asked = answer.maybe("asked", 1)
    if asked is not None:
        return read_lock_owner(asked[0])
    answer.one("free", 0)
    return None
