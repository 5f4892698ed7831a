"""Every error a user can meet: a sentence, where it happened, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

ANY_ENV = "--env=…"  # in a hint of who does not know the environment


class ExitStatus(IntEnum):
    """What a task's exit status promises (the contract in README.md)."""

    DONE = 0
    FAILED = 1  # and the fleet is back on what it ran before
    USAGE = 2  # bad usage or configuration; nothing touched
    PERSON_NEEDED = 3  # the message says where
    LOCKED = 4  # somebody else holds the lock


class SlipwayError(Exception):
    """A failure told to the user as a sentence.

    Args:
        message: what happened, one or two sentences, without a trailing newline.
        host: the inventory name of the host it happened on, if it was one host.
        hint: what to do next, as a sentence or the command to type.
        log: what a program wrote last there, a line each.
    """

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


def error_document(error: SlipwayError) -> dict[str, object]:
    """What --json prints of an error."""
    told: dict[str, object] = {"kind": type(error).__name__, "message": error.message}
    told |= {"host": error.host, "hint": error.hint, "log": list(error.log)}
    return {"error": told, "exit_status": int(error.exit_status)}


class UsageError(SlipwayError):
    """The command line asks for something that is not there or makes no sense."""

    exit_status = ExitStatus.USAGE


class ConfigError(SlipwayError):
    """The inventory or the settings are wrong; every problem found is told at once.

    Args:
        problems: one sentence each: file, key, what was found, what is expected.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        head = "1 problem in the configuration" if count == 1 else f"{count} problems in the configuration"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{head}; nothing was touched:\n{lines}", hint=hint)


class HostError(SlipwayError):
    """Something failed on, or on the way to, one host."""


class Unreachable(HostError):
    """No SSH session could be had."""


class HostKeyRefused(HostError):
    """The host's key is unknown or differs from the recorded one."""

    exit_status = ExitStatus.USAGE


class BecomeRefused(HostError):
    """sudo did not let the login user become root."""

    exit_status = ExitStatus.USAGE


class StepFailed(HostError):
    """A step ran on the host and failed.

    Args:
        step: the step's name, e.g. "stage".
        code: the step's own word for the failure, e.g. "checksum" (see the script).
        log: what the application, or the program that failed, wrote last, a line each.
    """

    def __init__(
        self,
        message: str,
        *,
        host: str,
        step: str,
        code: str = "failed",
        hint: str | None = None,
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(message, host=host, hint=hint, log=log)
        self.step = step
        self.code = code


class StepTimedOut(StepFailed):
    """A step did not end within its time limit."""


class BadAnswer(HostError):
    """A host answered something a step's script never prints."""


class Locked(SlipwayError):
    """Somebody else holds the deploy lock."""

    exit_status = ExitStatus.LOCKED


class FleetError(SlipwayError):
    """Some hosts failed: the message has a line for each of them."""


class Interrupted(SlipwayError):
    """The person at the keyboard ended the run, or somebody elsewhere by `invoke abort`."""


def stopped(by: BaseException) -> str:
    """How a run was ended, for a sentence: by Ctrl-C, or by whoever a KeyboardInterrupt names (fleet/ending.py)."""
    if isinstance(by, Interrupted):
        return by.message
    return f"stopped by {by.args[0]} (invoke abort)" if by.args and by.args[0] else "stopped by Ctrl-C"
