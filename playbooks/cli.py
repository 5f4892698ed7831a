"""What every task does around its playbook: read the environment, watch, show the result, end with the right status."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from invoke.exceptions import Exit, ParseError
from invoke.parser import parser as invoke_parser
from invoke.parser.context import ParserContext

from playbooks.errors import ExitStatus, Interrupted, SlipwayError, UsageError

if TYPE_CHECKING:
    from playbooks.environment import Environment as Environment
    from playbooks.fleet.progress import Progress as Progress
    from playbooks.outcome import Outcome as Outcome

DEPLOY_WORD = "DEPLOY TO PRODUCTION"  # D2
ROLLBACK_WORD = "ROLL BACK PRODUCTION"
PROJECT = Path(__file__).resolve().parent.parent


class Result(Protocol):
    """What a playbook returns."""

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""

    def to_json(self) -> dict[str, Any]:
        """The answer as a document."""


R = TypeVar("R", bound=Result)


class BadUsage(ParseError, Exit):
    """A command line that Invoke cannot read. Invoke ends with 1 then, which in our contract means a failed deploy."""

    def __init__(self, message: str, context: ParserContext | None = None) -> None:
        ParseError.__init__(self, message, context)
        Exit.__init__(self, None, int(ExitStatus.USAGE))
        self.args = (message,)


def strict_usage() -> None:
    """Let Invoke's parser raise `BadUsage`."""
    setattr(invoke_parser, "ParseError", BadUsage)  # noqa: B010 - a class of another package is replaced on purpose


def load(env: str, limit: str | None = None) -> Environment:
    """Load an environment of this project."""
    from playbooks.environment import load_environment
    from playbooks.fleet.inventory import environments

    if not env:
        there = ", ".join(environments(PROJECT)) or "none yet"
        raise UsageError(f"which environment? give --env=NAME; under inventory/ there is: {there}")
    return load_environment(env, PROJECT, limit=limit)


def perform(
    env: str,
    act: Callable[[Environment, Progress], R],
    show: Callable[[R], None],
    *,
    limit: str | None = None,
    as_json: bool = False,
) -> None:
    """Run a playbook for an environment and end the task with its status.

    Args:
        env: name or path of the environment.
        act: the playbook.
        show: prints its result for a person, on standard output.
        limit: a pattern that narrows the hosts.
        as_json: print one JSON document instead, and nothing else, on standard output.

    Raises:
        Exit: with a status other than 0.
    """
    environment: Environment | None = None
    # What goes wrong there comes to us as an error; paramiko would print it as a traceback besides.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    try:
        environment = load(env, limit)
        from playbooks.report import choose, json_text
        from playbooks.report.masked import masked

        with choose(masked(sys.stderr, environment.secrets.mask)) as progress:
            for warning in environment.inventory.warnings:
                progress.warn(warning)
            result = act(environment, progress)
    except SlipwayError as error:
        _tell(error, environment, as_json=as_json)
        raise Exit(code=int(error.exit_status)) from None
    except KeyboardInterrupt:
        _tell(Interrupted("stopped by Ctrl-C"), environment, as_json=as_json)
        raise Exit(code=int(ExitStatus.FAILED)) from None
    except Exception as error:  # noqa: BLE001 - a fault of ours is a sentence too
        _tell(_bug(error), environment, as_json=as_json)
        raise Exit(code=int(ExitStatus.PERSON_NEEDED)) from None
    try:
        if as_json:
            # Struck out before it is JSON: a quote or backslash in a secret looks different after.
            sys.stdout.write(json_text(environment.secrets.mask_document(result.to_json())) + "\n")
        else:
            with contextlib.redirect_stdout(masked(sys.stdout, environment.secrets.mask)):
                show(result)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (| head). What was done is done, and its status still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if result.exit_status:
        raise Exit(code=int(result.exit_status))


def _tell(error: SlipwayError, environment: Environment | None, *, as_json: bool) -> None:
    from playbooks.report import clean, json_text

    def mask(text: str) -> str:
        return clean(environment.secrets.mask(text) if environment else text)

    sys.stdout.flush()
    sys.stderr.write("".join(f"{mask(line)}\n" for line in f"error: {error}".split("\n")))
    if as_json:
        document = {
            "error": {
                "kind": type(error).__name__,
                "message": mask(error.message),
                "host": error.host,
                "hint": mask(error.hint) if error.hint else None,
            },
            "exit_status": int(error.exit_status),
        }
        sys.stdout.write(json_text(document) + "\n")


def _bug(error: Exception) -> SlipwayError:
    if os.environ.get("SLIPWAY_DEBUG"):
        traceback.print_exception(error)
    found = SlipwayError(
        f"this is a fault in Slipway itself: {type(error).__name__}: {error}",
        hint="look at the fleet with invoke status; SLIPWAY_DEBUG=1 shows where it happened, for a report",
    )
    found.exit_status = ExitStatus.PERSON_NEEDED
    return found


def seconds(flag: str, text: str) -> float:
    """A flag's duration in seconds: 60, 60s, 5m.

    Raises:
        UsageError: it isn't one. (Invoke's own number flags end in a traceback then.)
    """
    from playbooks.settings.types import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise UsageError(f"--{flag}={text}: {error}") from None


def number(flag: str, text: str) -> int:
    """A flag's whole number, 1 or more.

    Raises:
        UsageError: it isn't one.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 10**8):
        raise UsageError(f"--{flag}={text}: expected a whole number from 1 on")
    return int(text)


def confirm(environment: Environment, what: str, word: str, *, yes: bool) -> None:
    """In production, let a person type a word first (A6, D2).

    Args:
        environment: where.
        what: what is about to happen.
        word: what to type.
        yes: whether --yes was given.

    Raises:
        UsageError: something else was typed, or nobody is there to type.
    """
    if yes or not environment.settings.production:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{environment.name} is production: {what} needs a person, or --yes")
    sys.stderr.write(f"{what} on {environment.name}, {len(environment.targets)} hosts. Type {word} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was touched")
