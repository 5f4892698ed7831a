"""Tell a person, or a program, what came of a task: its answer, its error, or a fault of Slipway itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from invoke.exceptions import Exit

from playbooks.core import streams
from playbooks.core.answer import Result, document_of
from playbooks.core.errors import ANY_ENV, Fault, Interrupted, SlipwayError, UsageError, error_document

if TYPE_CHECKING:
    from playbooks.environments.environment import Environment
    from playbooks.report.touch import Touch

R = TypeVar("R", bound=Result)


def point_to_status(error: SlipwayError, environment: Environment | None, touch: Touch | None) -> None:
    """Add where to look to the error of a stopped task, unless the task has only read."""
    if isinstance(error, Interrupted) and error.hint is None:
        if environment is None or touch is None or touch.nothing:
            error.message += "; nothing was touched"
        else:
            error.hint = f"where it stands: invoke status {environment.flag}"


def tell_answer(result: R, show: Callable[[R], None], told: dict[str, Any], *, as_json: bool) -> None:
    """Show what was done."""
    from playbooks.report import output

    if as_json:
        write_answer(lambda: output.answer_json({**document_of(result), **told}))
    else:
        write_answer(lambda: show(result))


def write_answer(write: Callable[[], None]) -> None:
    """Write an answer. A failure here changes neither what was done nor the exit status."""
    from playbooks.report import output

    try:
        write()
    except Exception as error:  # noqa: BLE001 - whatever it is
        fault = f"warning: the task is done, but its result cannot be shown: {fault_of(error)}"
        output.tell(*output.shown_lines(fault))
    why = streams.lost(sys.stdout)
    if why is not None and not isinstance(why, BrokenPipeError):  # a reader that ended early (| head) is no fault
        output.tell(output.shown(f"warning: the answer could not be written: {why.strerror}"))


def tell_error(error: SlipwayError, told: dict[str, Any], *, as_json: bool) -> None:
    from playbooks.report import output

    output.tell(*output.shown_lines(f"error: {error}"))
    if as_json:
        output.answer(output.json_text({**error_document(error), **told}))


def fault_of(error: Exception) -> SlipwayError:
    if os.environ.get("SLIPWAY_DEBUG"):
        from playbooks.report import output

        output.tell_fault(error)
    if isinstance(error, UnicodeEncodeError) and error.encoding.replace("-", "") != "utf8":
        # For instance a file's name. Printing cannot fail in this way (streams.py).
        return Fault(
            f"this needs characters that the encoding of your locale ({error.encoding}) does not have",
            hint=f"look at the fleet: invoke status {ANY_ENV}; run it again with LC_ALL=C.UTF-8",
        )
    return Fault(
        f"this is a fault in Slipway itself: {type(error).__name__}: {error}",
        hint=f"look at the fleet: invoke status {ANY_ENV}; SLIPWAY_DEBUG=1 shows where it happened, for a report",
    )


def refuse(error: UsageError, *, as_json: bool) -> None:
    """End a task with an error of usage.

    Raises:
        Exit: always.
    """
    streams.prepare()
    tell_error(error, {}, as_json=as_json)
    raise Exit(code=int(error.exit_status))


def refuse_together(flag: str, given: Mapping[str, object], why: str, *, as_json: bool) -> None:
    """Refuse flags that would have no effect beside another one.

    Args:
        flag: that was given, and why the others do not count.
        given: those others, with their values; a false one was not given.
        why: a sentence.
        as_json: whether --json was given.

    Raises:
        Exit: one of them was.
    """
    others = [f"--{name}" for name, value in given.items() if value]
    if others:
        does = "does" if len(others) == 1 else "do"
        said = f"{' and '.join(others)} {does} not go with {flag}: {why}; nothing was touched"
        refuse(UsageError(said, hint="leave one of them out"), as_json=as_json)
