"""Define words in documents and ledgers: a task's status, a guard's state, why a stage ended.

docs/errors.md explains each. Never rename one, because people's programs and older records use them.
"""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """The result of a task that changes hosts: a record's ``status``."""

    BEGUN = "begun"
    DONE = "done"
    UNCHANGED = "unchanged"
    PARTIAL = "partial"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    HALTED = "halted"
    STUCK = "stuck"
    INTERRUPTED = "interrupted"


class GuardState(StrEnum):
    """The state of a host's guard; on the host it is a file's name (guard.sh)."""

    ARMED = "armed"
    FIRING = "firing"
    STUCK = "stuck"


class StageCode(StrEnum):
    """The reason for which the verdict on a stage ended a rollout."""

    BAD = "release.bad"
    INCONCLUSIVE = "release.inconclusive"
