"""One live session with one host, and the one way to act on it: run a step's script."""

from __future__ import annotations

import contextlib
import math
import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import fabric
import paramiko

from playbooks.errors import BadAnswer, BecomeRefused, SlipwayError, StepFailed, StepTimedOut, Unreachable
from playbooks.fleet import script as scripts
from playbooks.fleet.address import Address
from playbooks.fleet.script import Answer

# What a step may answer at the most. The longest honest answer is a manifest of a large release.
MOST_OUTPUT = 16 * 1024 * 1024
MOST_PROGRESS = 1024 * 1024

# sudo asks for a password or doesn't; it must not read the script as one. The password comes first on standard input,
# is read by the shell itself, and so is in no command line. It is tried before the script is handed on: a sudo that
# refuses would leave cat waiting. -k: were a login remembered, the password would become the first line of the script.
_ASKED = (
    'IFS= read -r word; if sudo -n true 2>/dev/null; then sudo -n -- "$@"; else '
    'printf "%s\\n" "$word" | sudo -k -S -p "" -- true >&2 || exit 1; '
    '{ printf "%s\\n" "$word"; cat; } | sudo -k -S -p "" -- "$@"; fi'
)

Note = Callable[[str], None]


@dataclass(frozen=True)
class Remote:
    """An open session with one host.

    Args:
        address: the host.
        connection: Fabric's connection, open.
        deadline: when the whole task should be over, by the monotonic clock; no step goes on beyond it.
    """

    address: Address
    connection: fabric.Connection
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
        payload: bytes | Iterable[bytes] = b"",
        unit: str | None = None,
        timeout: float = 60.0,
        note: Note | None = None,
    ) -> Answer:
        """Run a step's script as root, in one round trip.

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
        channel = self.open(script.command(arguments), unit=unit)
        started = time.monotonic()
        pipe = _Pipe(self.name, step, channel, min(started + timeout, self.deadline), note)
        try:
            pipe.send(self.preamble() + script.text, payload)
            status = pipe.receive()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(step, error) from None
        finally:
            channel.close()
        answer = scripts.parse(self.name, step, bytes(pipe.output), time.monotonic() - started)
        if status != 0:
            raise self.explain(step, answer, status, bytes(pipe.errors))
        return answer

    def open(self, words: Sequence[str], *, unit: str | None = None) -> paramiko.Channel:
        """Start a command as root on a channel of its own; the caller talks to it and closes it.

        Raises:
            Unreachable: the session is gone.
        """
        try:
            transport = self.connection.transport
            channel: paramiko.Channel = transport.open_session(timeout=self.address.connect_timeout)
            channel.exec_command(scripts.quote(self._become(_in_unit(words, unit))).encode())
        except (paramiko.SSHException, EOFError, OSError, AttributeError) as error:
            raise self._lost("open a channel", error) from None
        return channel

    def close(self) -> None:
        """End the session. Steps that run in a unit of their own go on."""
        with contextlib.suppress(Exception):
            self.connection.close()

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
            return StepFailed(said[1], host=self.name, step=step, code=said[0])
        tail = " / ".join(errors.decode("utf-8", "replace").strip().splitlines()[-3:])[-600:]
        if not answer.records and "sudo:" in tail:
            return BecomeRefused(
                f"sudo refused: {tail}",
                host=self.name,
                hint="let the login user sudo without a password, or set ansible_become_password (better: in a vault)",
            )
        how = "was killed by a signal" if status in (-1, 255) or status > 128 else f"ended with status {status}"
        return StepFailed(f"'{step}' {how}" + (f": {tail}" if tail else ""), host=self.name, step=step)


def _in_unit(words: Sequence[str], unit: str | None) -> Sequence[str]:
    """Words that run in a transient unit of their own (systemd-run(1)): it outlives the SSH session."""
    if unit is None:
        return words
    options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", "--property=TasksMax=infinity"]
    return ["systemd-run", *options, "--", *words]


class _Pipe:
    """Moves bytes over one channel within a deadline; it keeps no more of an answer than an honest host sends."""

    def __init__(self, host: str, step: str, channel: paramiko.Channel, deadline: float, note: Note | None) -> None:
        self._host, self._step, self._channel, self._deadline, self._note = host, step, channel, deadline, note
        self.output = bytearray()
        self.errors = bytearray()
        self._line = bytearray()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def send(self, first: bytes, payload: bytes | Iterable[bytes]) -> None:
        """Send the script and its payload. A script that ends early, having said why, is not an error here."""
        chunks = [payload] if isinstance(payload, bytes) else payload
        try:
            self._channel.settimeout(self._left())
            self._channel.sendall(first)
            for chunk in chunks:
                self._channel.settimeout(self._left())
                self._channel.sendall(chunk)
        except TimeoutError:
            raise
        except OSError:
            if self._lost():
                raise
        with contextlib.suppress(OSError):
            self._channel.shutdown_write()

    def receive(self) -> int:
        """Read until the script has ended; returns its exit status, -1 when a signal killed it."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not self._drain():
            if not poll.poll(self._left() * 1000):
                raise TimeoutError
        if not self._channel.status_event.wait(self._left()):
            raise TimeoutError
        if not self._channel.exit_status_ready() or self._lost():
            raise EOFError("the host closed the session")
        self._flush()
        return self._channel.recv_exit_status()

    def _drain(self) -> bool:
        """Take what has arrived; says whether the far end has closed its side."""
        while self._channel.recv_ready():
            self.output += self._channel.recv(65536)
            if len(self.output) > MOST_OUTPUT:
                raise BadAnswer(f"'{self._step}' answers without end; stopped reading", host=self._host)
        while self._channel.recv_stderr_ready():
            self._take_errors(self._channel.recv_stderr(65536))
        ended = bool(self._channel.eof_received) or self._channel.closed
        return ended and not self._channel.recv_ready() and not self._channel.recv_stderr_ready()

    def _lost(self) -> bool:
        # An answer that never came has exit status -1, like a signal's; only the transport tells them apart.
        return self._channel.exit_status == -1 and not self._channel.get_transport().is_active()

    def _take_errors(self, chunk: bytes) -> None:
        self.errors = (self.errors + chunk)[-MOST_PROGRESS:]
        if self._note is None:
            return
        *lines, rest = (bytes(self._line) + chunk).split(b"\n")
        self._line = bytearray(rest[-4096:])
        for line in lines:
            self._note(line.decode("utf-8", "replace").strip())

    def _flush(self) -> None:
        if self._note is not None and self._line:
            self._note(self._line.decode("utf-8", "replace").strip())
            self._line.clear()
