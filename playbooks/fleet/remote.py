"""One live session with one host, and the one way to act on it: run a step's script."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import fabric
import paramiko

from playbooks.errors import BecomeRefused, SlipwayError, StepFailed, StepTimedOut, Unreachable
from playbooks.fleet import script as scripts
from playbooks.fleet.address import Address
from playbooks.fleet.pipe import Note, Payload, Pipe
from playbooks.fleet.script import Answer
from playbooks.fleet.session import Session

# How often a step is begun at the most: each time it was lost before it had begun on the host.
MOST_TRIES = 4
# The code of a step that says that not all of its payload came. It has changed nothing then.
CUT = "cut"
MAX_SESSIONS_SECONDS = 2.0
_NOT_IN_UNITS = re.compile(r"[^A-Za-z0-9:_.-]")  # systemd.unit(5)

# sudo asks for a password or doesn't; it must not read the script as one. The password comes first on standard input,
# is read by the shell itself, and so is in no command line. It is tried before the script is handed on: a sudo that
# refuses would leave cat waiting. -k: were a login remembered, the password would become the first line of the script.
_ASKED = (
    'IFS= read -r word; if sudo -n true 2>/dev/null; then sudo -n -- "$@"; else '
    'printf "%s\\n" "$word" | sudo -k -S -p "" -- true >&2 || exit 1; '
    '{ printf "%s\\n" "$word"; cat; } | sudo -k -S -p "" -- "$@"; fi'
)

# Called with the host, the operation's name, and whether it has been sent or answered.
Watch = Callable[[str, str, Literal["sent", "answered"]], None]


@dataclass(frozen=True)
class Remote:
    """An open session with one host.

    Args:
        address: the host.
        session: the connection.
        watch: told of each operation.
        deadline: when the whole task should be over, by the monotonic clock; no step goes on beyond it.
    """

    address: Address
    session: Session
    watch: Watch
    deadline: float = math.inf

    @property
    def name(self) -> str:
        """The host's inventory name."""
        return self.address.name

    def patient(self) -> Remote:
        """The same session without a deadline: the way back, and the record, are worth any wait."""
        return replace(self, deadline=math.inf)

    def run(
        self,
        step: str,
        arguments: Sequence[str] = (),
        *,
        payload: Payload = b"",
        unit: str | None = None,
        timeout: float = 60.0,
        note: Note | None = None,
    ) -> Answer:
        """Run a step's script as root, in one round trip.

        When the connection breaks while the lock is held, it is had anew: a step that only reads is done again; one
        in a unit went on meanwhile, and its answer is fetched.

        Args:
            step: the script's name, ``playbooks/steps/<step>.sh``.
            arguments: its arguments; anything may be in them but a NUL, and nothing secret.
            payload: what it reads on standard input; secrets travel here.
            unit: name of the systemd unit to run it in, so that it goes on to its end when the session drops.
                None for scripts that only read.
            timeout: seconds for the whole step.
            note: called with each line it writes on standard error, while it runs.

        Raises:
            StepFailed: it said why, or ended badly.
            StepTimedOut: it did not end in time; it may still be running on the host.
            BecomeRefused: sudo said no.
            BadAnswer: the host answers something else than a script of ours.
            Unreachable: the session is gone.
        """
        script = scripts.load(step)
        unit = unit and _NOT_IN_UNITS.sub("_", unit)
        deadline = min(time.monotonic() + timeout, self.deadline)
        claim = self.session.claim
        answer = f"{claim.run}/answers/{unit}.{secrets.token_hex(4)}" if claim else ""
        # Without a lock no loss is ridden out, so nobody would ask for the answer.
        text = script.acting(answer, claim) if unit and claim else script.reading()
        tries = 0
        while True:
            connection = self.session.connection
            tries += 1
            try:
                return self._try(step, text, arguments, payload, unit, deadline, note)
            except Unreachable as lost:
                if is_alive(connection) or tries == MOST_TRIES:
                    raise
                if not self.session.renewable:
                    raise (self.session.ended or lost) from None
                if note:
                    note(f"{lost.message}; connecting again")
                self.session.renew(connection)
                found = self._ask(step, unit, answer, deadline) if unit else None
                if found is not None:
                    return found

    def _try(
        self,
        step: str,
        text: bytes,
        arguments: Sequence[str],
        payload: Payload,
        unit: str | None,
        deadline: float,
        note: Note | None,
    ) -> Answer:
        started = time.monotonic()
        channel = self.open(scripts.command(text, arguments), unit=unit)
        pipe = Pipe(self.name, step, channel, deadline, note)
        try:
            pipe.send(self.preamble() + text, payload)
            self.watch(self.name, step, "sent")
            status = pipe.receive()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(step, error) from None
        finally:
            channel.close()
        answer = scripts.parse(self.name, step, bytes(pipe.output), time.monotonic() - started)
        self.watch(self.name, step, "answered")
        if status != 0:
            raise self.explain(step, answer, status, bytes(pipe.errors))
        return answer

    def _ask(self, step: str, unit: str, folder: str, deadline: float) -> Answer | None:
        """How a step went whose connection broke; None if it is to be begun again: it had not, or its payload was cut.

        Raises:
            StepFailed: badly.
        """
        seconds = max(1, min(deadline - time.monotonic(), 86400))
        answer = replace(self, deadline=deadline).run("result", [unit, folder, f"{seconds:.0f}"], timeout=seconds + 60)
        (went,) = answer.one("step", 1)
        if went == "never":
            return None
        if went == "running":
            raise self._lost(step, TimeoutError())
        if went == "killed":
            raise StepFailed(f"'{step}' was killed on the host", host=self.name, step=step)
        kept = replace(answer, step=step)
        status = answer.number(went.removeprefix("ended "))
        if status == 0:
            return kept
        error = self.explain(step, kept, status, b"")
        if isinstance(error, StepFailed) and error.code == CUT:
            return None
        raise error

    def open(
        self, words: Sequence[str], *, unit: str | None = None, connection: fabric.Connection | None = None
    ) -> paramiko.Channel:
        """Start a command as root on a channel of its own; the caller talks to it and closes it.

        Args:
            words: program and arguments.
            unit: see `run`.
            connection: another than the session's.

        Raises:
            Unreachable: the session is gone.
        """
        try:
            transport = (connection or self.session.connection).transport
            channel = self._channel(transport)
            channel.exec_command(scripts.quote(self._become(in_unit(words, unit))).encode())
        except (paramiko.SSHException, EOFError, OSError, AttributeError) as error:
            raise self._lost("open a channel", error) from None
        return channel

    def _channel(self, transport: paramiko.Transport) -> paramiko.Channel:
        """A channel. sshd counts one that was just closed for a moment yet, against its MaxSessions."""
        until = time.monotonic() + MAX_SESSIONS_SECONDS
        while True:
            try:
                return transport.open_session(timeout=self.address.connect_timeout)
            except paramiko.ChannelException:
                if time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def close(self) -> None:
        """End the session. Steps that run in a unit of their own go on."""
        self.session.close()

    def _become(self, words: Sequence[str]) -> list[str]:
        if not self.address.become:
            return list(words)
        if self.address.become_password is not None:
            return ["/bin/sh", "-c", _ASKED, "sudo", *words]
        return ["sudo", "-n", "--", *words]

    def preamble(self) -> bytes:
        """What goes on standard input before a script: the password that sudo may ask for."""
        if self.address.become and self.address.become_password is not None:
            return self.address.become_password.encode() + b"\n"
        return b""

    def _lost(self, step: str, error: BaseException) -> SlipwayError:
        if isinstance(error, TimeoutError):
            return StepTimedOut(
                f"'{step}' did not end in time",
                host=self.name,
                step=step,
                code="timeout",
                hint="it may still be running there; invoke status --env=… shows where the host stands",
            )
        if isinstance(error, paramiko.ChannelException):
            return Unreachable(
                f"sshd lets in no further session on this connection ({error}): its MaxSessions is too small",
                host=self.name,
                hint="set MaxSessions in the host's sshd_config to 3 or more; it is 10 as it comes",
            )
        reason = str(error) or type(error).__name__
        return Unreachable(
            f"the connection broke during '{step}': {reason}",
            host=self.name,
            hint="invoke status --env=… shows where the host stands",
        )

    def explain(self, step: str, answer: Answer, status: int, errors: bytes) -> SlipwayError:
        """The error for a step that ended with this status."""
        said = answer.maybe("error", 2)
        if said:
            return StepFailed(said[1].strip() or f"'{step}' failed", host=self.name, step=step, code=said[0])
        tail = " / ".join(errors.decode("utf-8", "replace").strip().splitlines()[-3:])[-600:]
        if not answer.records and "sudo:" in tail:
            return BecomeRefused(
                f"sudo refused: {tail}",
                host=self.name,
                hint="let the login user sudo without a password, or set ansible_become_password (better: in a vault)",
            )
        how = "was killed by a signal" if status in (-1, 255) or status > 128 else f"ended with status {status}"
        return StepFailed(f"'{step}' {how}" + (f": {tail}" if tail else ""), host=self.name, step=step)


def is_alive(connection: fabric.Connection) -> bool:
    """Whether a connection still is one, as far as can be told from here."""
    transport = connection.client.get_transport()
    return transport is not None and transport.is_active()


def in_unit(words: Sequence[str], unit: str | None) -> Sequence[str]:
    """Words that run in a transient unit of their own (systemd-run(1)): it outlives the SSH session."""
    if unit is None:
        return words
    options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", "--property=TasksMax=infinity"]
    # systemd.service(5): a dollar in an argument would be read as a variable.
    return ["systemd-run", *options, "--", *(word.replace("$", "$$") for word in words)]
