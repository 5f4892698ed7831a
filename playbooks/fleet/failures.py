"""Make the errors that users read when a step fails on a host."""

from __future__ import annotations

import paramiko

from playbooks.core.errors import BecomeRefused, SlipwayError, StepFailed, StepTimedOut, Unreachable
from playbooks.core.names import cut
from playbooks.core.step_codes import StepCode
from playbooks.core.unreached import in_words
from playbooks.fleet.script import StepResult

# Limits for the program's output in an error.
MAX_LINES, MAX_LINE = 12, 300
HINTS = {StepCode.NEWER_FORMAT: "use that version of Slipway, or a newer one"}


def lost(host: str, step: str, error: BaseException) -> SlipwayError:
    """Make the error for a step whose connection broke, or for which sshd opens no session.

    Args:
        host: its inventory name.
        step: the step's name.
        error: the connection's error.
    """
    if isinstance(error, TimeoutError):
        return StepTimedOut(
            f"'{step}' did not end in time",
            host=host,
            step=step,
            code=StepCode.TIMEOUT,
            hint="it may still be running there; invoke status --env=… shows where the host stands",
        )
    if isinstance(error, paramiko.ChannelException):
        return Unreachable(
            f"sshd lets in no further session on this connection ({error}): its MaxSessions is too small",
            host=host,
            hint="set MaxSessions in the host's sshd_config to 3 or more; it is 10 as it comes",
        )
    reason = in_words(error)
    return Unreachable(
        f"the connection broke during '{step}': {reason}",
        host=host,
        hint="invoke status --env=… shows where the host stands",
    )


def explain(host: str, step: str, answer: StepResult, status: int, errors: bytes) -> SlipwayError:
    """Make the error for a step that failed.

    Args:
        host: its inventory name.
        step: the step's name.
        answer: the step's answer; its reason comes first.
        status: its exit status; -1 if a signal ended it.
        errors: the end of its standard error.
    """
    said = answer.maybe("error", 2)
    if said:
        message = cut(said[1].strip()) or f"'{step}' failed"
        log = [cut(line, MAX_LINE) for (line,) in answer.all("log", 1)][-MAX_LINES:]
        code = StepCode.of_word(said[0])
        return StepFailed(message, host=host, step=step, code=code, hint=HINTS.get(code), log=log)
    lines = [cut(line, MAX_LINE) for line in errors.decode("utf-8", "replace").strip().splitlines()[-3:]]
    tail = " / ".join(lines)
    if not answer.records and "sudo:" in tail:
        return BecomeRefused(
            f"sudo refused: {tail}",
            host=host,
            hint="let the login user sudo without a password, or set ansible_become_password (better: in a vault)",
        )
    how = "was killed by a signal" if status in (-1, 255) or status > 128 else f"ended with status {status}"
    why = f": {lines[-1]}" if lines else ""
    return StepFailed(f"'{step}' {how}{why}", host=host, step=step, log=lines if len(lines) > 1 else ())
