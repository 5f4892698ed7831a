"""Define the errors that users see: a code, a sentence, the host, and what to do next.

Each class has its own code, AREA.WHAT. Programs decide by it, so it is never renamed;
docs/errors.md explains each code and what to do, and a test compares it with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from playbooks.core.step_codes import StepCode

ANY_ENV = "--env=…"  # in a hint where the environment is unknown


class ExitStatus(IntEnum):
    """A task's exit status (the contract in README.md)."""

    DONE = 0
    FAILED = 1  # and the fleet runs what it ran before
    USAGE = 2  # bad usage or configuration; nothing has changed
    PERSON_NEEDED = 3  # the message says where
    LOCKED = 4  # another task holds the lock


class SlipwayError(Exception):
    """A failure that the user sees as a sentence.

    Args:
        message: what happened, one or two sentences, without a trailing newline.
        host: the inventory name of the host, if it happened on one host.
        hint: what to do next, as a sentence or the command to type.
        log: the last lines of a program's output on the host.
    """

    code: str = "task.failed"
    exit_status: ExitStatus = ExitStatus.FAILED

    def __init__(
        self, message: str, *, host: str | None = None, hint: str | None = None, log: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.hint = hint
        self.log = tuple(log)

    def __str__(self) -> str:
        text = f"{self.host}: {self.message}" if self.host else self.message
        lines = [text, *(f"  | {line}" for line in self.log), *([f"  → {self.hint}"] if self.hint else [])]
        return "\n".join(lines)


class UsageError(SlipwayError):
    """The command line asks for something that does not exist or is impossible."""

    code = "usage.invalid"
    exit_status = ExitStatus.USAGE


class ConfigError(SlipwayError):
    """The inventory or the settings are wrong; the error has every problem.

    Args:
        problems: a sentence for each: file, key, the value found, the value expected.
    """

    code = "config.invalid"
    exit_status = ExitStatus.USAGE

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        head = "1 problem in the configuration" if count == 1 else f"{count} problems in the configuration"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{head}; nothing was touched:\n{lines}", hint=hint)


class HostError(SlipwayError):
    """Something failed on one host, or on the way to it."""

    code = "host.failed"


class Unreachable(HostError):
    """An SSH session could not be opened, or it broke."""

    code = "host.unreachable"


class HostKeyRefused(HostError):
    """The host's key is unknown or differs from the recorded one."""

    code = "host.key-refused"
    exit_status = ExitStatus.USAGE


class BecomeRefused(HostError):
    """sudo did not let the login user become root."""

    code = "host.become-refused"
    exit_status = ExitStatus.USAGE


class StepFailed(HostError):
    """A step ran on the host and failed.

    Args:
        step: the step's name, e.g. "stage".
        code: the reason.
        log: the last lines of the application or the failed program.
    """

    code: StepCode = StepCode.FAILED

    def __init__(
        self,
        message: str,
        *,
        host: str,
        step: str,
        code: StepCode = StepCode.FAILED,
        hint: str | None = None,
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(message, host=host, hint=hint, log=log)
        self.step = step
        self.code = code


class StepTimedOut(StepFailed):
    """A step did not end within its time limit."""


class BadAnswer(HostError):
    """A host's answer does not come from a step's script."""

    code = "host.bad-answer"


class Locked(SlipwayError):
    """Another task holds the lock."""

    code = "lock.held"
    exit_status = ExitStatus.LOCKED


class MigrationsRefused(SlipwayError):
    """Migrations were not rehearsed, the rehearsal speaks against them, or it is not the time for them."""

    code = "migrations.refused"


class FleetError(SlipwayError):
    """Several hosts failed; the message has a line for each. If all have the same code, this has it too.

    Args:
        errors: the errors by host.
    """

    code = "fleet.failed"

    def __init__(self, message: str, errors: Mapping[str, SlipwayError], *, log: Sequence[str] = ()) -> None:
        super().__init__(message, log=log)
        self.errors = dict(errors)
        codes = {error.code for error in errors.values()}
        statuses = {error.exit_status for error in errors.values()}
        self.code = codes.pop() if len(codes) == 1 else FleetError.code
        self.exit_status = statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED


class Interrupted(SlipwayError):
    """A person ended the task, by Ctrl-C or with `invoke abort` elsewhere."""

    code = "task.interrupted"


class ControllerError(SlipwayError):
    """Something on this machine failed, for example a file cannot be written or a program is missing."""

    code = "controller.failed"


class Fault(SlipwayError):
    """A fault in Slipway itself; what it has done so far is unknown."""

    code = "slipway.fault"
    exit_status = ExitStatus.PERSON_NEEDED


def error_document(error: SlipwayError) -> dict[str, object]:
    """Return the document that --json prints for an error."""
    errors = error.errors if isinstance(error, FleetError) else {error.host: error} if error.host else {}
    hosts = [{"host": host, **_told(one)} for host, one in errors.items()]
    told = {**_told(error), "host": error.host, "log": list(error.log), "hosts": hosts}
    return {"schema": "slipway.error/1", "error": told, "exit_status": int(error.exit_status)}


def _told(error: SlipwayError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def stopped(by: BaseException) -> str:
    """Return how a task was ended, for a sentence: by Ctrl-C, or by a KeyboardInterrupt's person (fleet/ending.py)."""
    if isinstance(by, Interrupted):
        return by.message
    return f"stopped by {by.args[0]} (invoke abort)" if by.args and by.args[0] else "stopped by Ctrl-C"
