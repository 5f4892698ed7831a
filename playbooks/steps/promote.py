"""A held stage, and a person's permission to go on; both are written on the hosts."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.fleet.lock_owner import LockOwner, read_lock_owner
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult


@dataclass(frozen=True)
class Heard:
    """What a host made of a promotion.

    Args:
        holder: who holds the lock there; None: nobody.
        stage: that goes on; None where none is held.
    """

    holder: LockOwner | None = None
    stage: str | None = None


def ask_hold(state: str, deploy: str, stage: str | None) -> StepCall:
    """The step that writes down which stage is held; it needs the lock.

    Args:
        state: the application's state folder on the host.
        deploy: its id.
        stage: its name; None: none is held any more.
    """
    return StepCall("hold", [state, deploy, *([] if stage is None else [stage])], acts=True)


def read_promote(answer: StepResult) -> Heard:
    """What came of it.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    promoted = answer.maybe("promoted", 2)
    if promoted is not None:
        return Heard(read_lock_owner(promoted[1]), promoted[0])
    busy = answer.maybe("busy", 1)
    if busy is not None:
        return Heard(read_lock_owner(busy[0]))
    answer.one("free", 0)
    return Heard()
