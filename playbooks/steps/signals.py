"""A host's own signals while a release is watched (B5): units, memory, errors in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.judgement.host import HostReading, UnitReading

MAX_TEXT = 200  # of what a host says of a promotion, in characters


@dataclass(frozen=True)
class Promotion:
    """A person's word that a stage which is held may go on.

    Args:
        deploy: its id.
        by: user@machine.
        stage: its name.
    """

    deploy: str
    by: str
    stage: str


def ask_signals(state: str, units: Sequence[str], cursor: str | None = None, *, timeout: float = 20.0) -> StepCall:
    """The step that reads a host's signals, in one round trip.

    Args:
        state: the application's state folder on the host.
        units: the application's units on this host; with slots those of one slot.
        cursor: of the reading before: errors after it are counted. None: reading begins here.
        timeout: seconds.
    """
    return StepCall("signals", [state, cursor or "-", *units], timeout=timeout)


def read_signals(answer: StepResult) -> HostReading:
    """What the step read.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    (moment,) = answer.one("moment", 1)
    whole, _, fraction = moment.partition(".")
    cursor, errors = answer.one("journal", 2)
    return HostReading(
        host=answer.host,
        moment=answer.number(whole) + answer.number((fraction + "00")[:2]) / 100,
        units=tuple(
            UnitReading(name, active, sub, answer.number(restarts), _bytes(answer, memory), _bytes(answer, most))
            for name, active, sub, restarts, memory, most in answer.all("unit", 6)
        ),
        cursor=None if cursor == "-" else cursor,
        errors=answer.number(errors),
    )


def read_promotion(answer: StepResult) -> Promotion | None:
    """Who has let a stage go on, if somebody has.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    promoted = answer.maybe("promoted", 3)
    return Promotion(*(text[:MAX_TEXT] for text in promoted)) if promoted else None


def _bytes(answer: StepResult, text: str) -> int | None:
    return None if text == "-" else answer.number(text)
