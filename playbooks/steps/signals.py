"""Read a host's own signals during a watch (B5): units, memory, errors in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.judgement.host import HostReading, UnitReading

MAX_TEXT = 200  # characters of a host's text about a promotion


@dataclass(frozen=True)
class Promotion:
    """A person's permission to continue a held stage.

    Args:
        deploy: the deploy's id.
        by: user@machine.
        stage: the stage's name.
    """

    deploy: str
    by: str
    stage: str


def signals_call(state: str, units: Sequence[str], cursor: str | None = None, *, timeout: float = 20.0) -> StepCall:
    """Build the step that reads a host's signals, in one round trip.

    Args:
        state: the application's state folder on the host.
        units: the application's units on this host; with slots, those of one slot.
        cursor: the previous reading's position, after which errors are counted; None begins here.
        timeout: seconds.
    """
    return StepCall("signals", units, values={"state": state, "cursor": cursor or "-"}, timeout=timeout)


def read_signals(answer: StepResult) -> HostReading:
    """Read the signals.

    Raises:
        BadAnswer: the answer is malformed.
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
    """Read the promotion of the held stage, if there is one.

    Raises:
        BadAnswer: the answer is malformed.
    """
    promoted = answer.maybe("promoted", 3)
    return Promotion(*(text[:MAX_TEXT] for text in promoted)) if promoted else None


def _bytes(answer: StepResult, text: str) -> int | None:
    return None if text == "-" else answer.number(text)
