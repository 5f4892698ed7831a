"""Record on the hosts which stage is held, and a person's permission to continue it."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.fleet.lock_owner import LockOwner, read_lock_owner
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult


@dataclass(frozen=True)
class Heard:
    """A host's answer to a promotion.

    Args:
        owner: the lock owner; None if nobody holds the lock.
        stage: the stage that continues; None if no stage is held.
    """

    owner: LockOwner | None = None
    stage: str | None = None


def hold_call(state: str, deploy: str, stage: str | None) -> StepCall:
    """Build the step that records which stage is held. It needs the lock.

    Args:
        state: the application's state folder on the host.
        deploy: the deploy's id.
        stage: the stage's name; None if no stage is held any more.
    """
    return StepCall("hold", values={"state": state, "id": deploy, "stage": stage or ""}, acts=True)


def read_promote(answer: StepResult) -> Heard:
    """Read the result.

    Raises:
        BadAnswer: the answer is malformed.
    """
    promoted = answer.maybe("promoted", 2)
    if promoted is not None:
        return Heard(read_lock_owner(promoted[1]), promoted[0])
    busy = answer.maybe("busy", 1)
    if busy is not None:
        return Heard(read_lock_owner(busy[0]))
    answer.one("free", 0)
    return Heard()
