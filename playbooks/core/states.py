"""What a task came to, where a guard stands, why a stage went no further: words that documents and ledgers have.

docs/errors.md says what each means. They are never renamed: people's programs decide by them, and so do older records.
"""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """What became of a task that changes hosts: a record's ``status``."""

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
    """Where a host's guard stands; on the host it is the name of a file (guard.sh)."""

    ARMED = "armed"
    FIRING = "firing"
    STUCK = "stuck"


class StageCode(StrEnum):
    """Why judging a stage ended a rollout."""

    BAD = "release.bad"
    INCONCLUSIVE = "release.inconclusive"
