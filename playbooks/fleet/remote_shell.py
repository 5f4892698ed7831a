"""Keep a shell on a host that runs one request after another, so that a step costs one round trip."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import paramiko

from playbooks.core.errors import BadAnswer
from playbooks.fleet import script as scripts
from playbooks.fleet.channels import exit_status

# The limit for a step's answer. The longest real one is the manifest of a large release.
MAX_OUTPUT = 16 * 1024 * 1024
MAX_PROGRESS = 1024 * 1024
# Limits for a step's messages: how many are shown, and how many bytes are read before they count as a flood.
MAX_NOTES = 1000
LONGEST_NOTE = 2000
MAX_MESSAGES = 64 * 1024 * 1024
LONGEST_WAIT = 3600.0  # seconds; threading refuses an infinite timeout
BEGUN = b"begun\n"
_ENDING = re.compile(rb" (\d{1,3}) (\d{1,12}\.\d\d) (\d{1,12}\.\d\d)")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Stream:
    """A payload that is generated while it is sent, and again if the step is repeated.

    Args:
        size: its exact size in bytes.
        chunks: generates it.
    """

    size: int
    chunks: Callable[[], Iterator[bytes]]

    def __len__(self) -> int:
        return self.size


Payload = bytes | Stream


@dataclass(frozen=True)
class ShellRequest:
    """A request to a shell.

    Args:
        step: the step's name, for messages.
        text: the script.
        arguments: its arguments.
        payload: its standard input.
        leaves: the controller waits only for its first record, ``begun``.
        keeps: the request keeps the shell; from then on the sender uses the channel itself.
        mark: a secret word that marks the end of the answer.
    """

    step: str
    text: bytes
    arguments: Sequence[str] = ()
    payload: Payload = b""
    leaves: bool = False
    keeps: bool = False
    mark: bytes = field(default_factory=lambda: secrets.token_hex(16).encode())

    def head(self) -> bytes:
        """Return the bytes before the payload."""
        script = b"set -- " + scripts.quote(self.arguments).encode() + b"\n" + self.text
        payload = b"-" if self.keeps else b"%d" % len(self.payload)
        return b"%d %s %s\n" % (len(script), payload, self.mark) + script


@dataclass(frozen=True)
class Reply:
    """The result of a request.

    Args:
        status: the script's exit status; if the shell has ended, the shell's.
        output, errors: the script's standard output and standard error.
        work: seconds that it took by the host's clock, to 10 ms; None if the shell has ended.
    """

    status: int
    output: bytes
    errors: bytes
    work: float | None


class _Bell(threading.Event):
    """An event that both streams of a channel set when data arrives. A stream cannot clear it for the other one."""

    def clear(self) -> None: ...

    def lower(self) -> None:
        """Clear the event before reading, so that data arriving later sets it again."""
        super().clear()


class RemoteShell:
    """A shell at the other end of a channel. It limits how much of an answer it keeps.

    Args:
        host: the host's name, for messages.
        channel: the open channel, where the shell starts.
        unit: the systemd unit in which it runs, if any.
        first: the shell's first input. The shell needs a round trip before it reads a request.
    """

    def __init__(self, host: str, channel: paramiko.Channel, unit: str | None = None, first: bytes = b"") -> None:
        self.unit = unit
        self.channel = channel
        self._host, self._first = host, first
        # Not the channel's own fileno(): both streams share its pipe, and a signal is lost if both send one at once.
        self._bell = _Bell()
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)
        self._output = bytearray()
        self._errors = bytearray()
        self._scanned = 0  # how much of the output was searched for the mark
        self._seen = 0  # how much of the errors was searched for the mark
        self._told = 0  # how much of the errors was passed on
        self._notes = 0  # how many lines of them were passed on or dropped
        self._messages = 0  # how many bytes of errors have arrived

    @property
    def is_open(self) -> bool:
        """Return whether the shell is alive, as far as the controller knows; sshd may close an idle channel."""
        return not (self.channel.closed or self.channel.eof_received)

    def begin(self, deadline: float) -> None:
        """Make the shell ready for requests.

        Args:
            deadline: by the monotonic clock, in seconds.

        Raises:
            TimeoutError: the deadline is over.
            OSError: the session is lost.
        """
        self.channel.settimeout(_left(deadline))
        self.channel.sendall(self._first)
        self._first = b""

    def send(self, request: ShellRequest, deadline: float) -> None:
        """Send a request. A script that ends early with a reason causes no error here.

        Args:
            request: the request.
            deadline: by the monotonic clock, in seconds.

        Raises:
            TimeoutError: the deadline is over.
            OSError: the session is lost.
        """
        payload = request.payload
        chunks: Iterable[bytes] = payload.chunks() if isinstance(payload, Stream) else [payload]
        try:
            self.begin(deadline)
            self.channel.sendall(request.head())
            for chunk in chunks:
                self.channel.settimeout(_left(deadline))
                self.channel.sendall(chunk)
        except TimeoutError:
            raise
        except OSError:
            if self._is_lost():
                raise

    def receive(self, request: ShellRequest, deadline: float, note: Note | None) -> Reply:
        """Read until a request has ended.

        Args:
            request: a request that was sent; requests must be read in the order of sending.
            deadline: by the monotonic clock, in seconds.
            note: called with each line of standard error, `MAX_NOTES` at most.

        Raises:
            TimeoutError: the deadline is over.
            EOFError: the session is lost.
            BadAnswer: the answer is too long.
        """
        self._scanned = self._seen = self._told = self._notes = self._messages = 0
        try:
            return self._receive(request, deadline, note)
        finally:
            if note is not None and self._notes > MAX_NOTES:
                note(f"… and {self._notes - MAX_NOTES} more lines")

    def _receive(self, request: ShellRequest, deadline: float, note: Note | None) -> Reply:
        while True:
            self._bell.lower()
            ended = self._drain(request, deadline)
            errors_end = self._find_end(request)
            if note is not None:
                self._tell(note, errors_end)
            reply = self._reply(request, errors_end)
            if reply is not None:
                return reply
            if ended:
                status = exit_status(self.channel, _left(deadline))
                if not self.channel.exit_status_ready():
                    raise TimeoutError
                if self._is_lost():
                    raise EOFError("the host closed the session")
                return Reply(status, bytes(self._output), bytes(self._errors), None)
            self._bell.wait(min(_left(deadline), LONGEST_WAIT))

    def close(self) -> None:
        """Close the shell. A request that runs in a unit continues."""
        with contextlib.suppress(Exception):
            self.channel.close()

    def _reply(self, request: ShellRequest, errors_end: int) -> Reply | None:
        if request.leaves and self._output.startswith(BEGUN):
            return Reply(0, BEGUN, b"", 0.0)
        mark = b"\n" + request.mark
        at = self._output.find(mark, max(0, self._scanned - len(mark)))
        self._scanned = len(self._output) if at < 0 else at
        end = self._output.find(b"\n", at + len(mark)) if at >= 0 else -1
        if end < 0 or errors_end < 0:
            return None
        ending = _ENDING.fullmatch(self._output, at + len(mark), end)
        if ending is None:
            raise BadAnswer(f"'{request.step}' did not end as Slipway's scripts end", host=self._host)
        reply = Reply(
            int(ending[1]),
            bytes(self._output[:at]),
            bytes(self._errors[:errors_end]),
            max(0.0, float(ending[3]) - float(ending[2])),
        )
        del self._output[: end + 1]
        del self._errors[: errors_end + len(mark) + 1]
        return reply

    def _drain(self, request: ShellRequest, deadline: float) -> bool:
        """Read what has arrived; return whether the other end has closed the channel."""
        while self.channel.recv_ready():
            _left(deadline)  # raises when the time is over
            self._output += self.channel.recv(65536)
            if len(self._output) > MAX_OUTPUT:
                raise BadAnswer(f"'{request.step}' answers without end; stopped reading", host=self._host)
        while self.channel.recv_stderr_ready():
            _left(deadline)  # raises when the time is over
            came = self.channel.recv_stderr(65536)
            self._errors += came
            self._messages += len(came)
            if self._messages > MAX_MESSAGES:
                raise BadAnswer(f"'{request.step}' writes messages without end; stopped reading", host=self._host)
            # Trim in large steps, because each time moves the rest.
            if len(self._errors) > 2 * MAX_PROGRESS:
                surplus = len(self._errors) - MAX_PROGRESS
                del self._errors[:surplus]
                self._told = max(0, self._told - surplus)
                self._seen = max(0, self._seen - surplus)
        ended = bool(self.channel.eof_received) or self.channel.closed
        return ended and not self.channel.recv_ready() and not self.channel.recv_stderr_ready()

    def _find_end(self, request: ShellRequest) -> int:
        mark = b"\n" + request.mark + b"\n"
        end = self._errors.find(mark, max(0, self._seen - len(mark)))
        self._seen = len(self._errors) if end < 0 else end
        return end

    def _tell(self, note: Note, end: int) -> None:
        """Pass on the new complete lines."""
        until = end if end >= 0 else self._errors.rfind(b"\n")
        while self._told < until and self._notes < MAX_NOTES:
            ends = self._errors.find(b"\n", self._told, until)
            ends = until if ends < 0 else ends
            line = bytes(self._errors[self._told : min(ends, self._told + 4 * LONGEST_NOTE)])
            text = line.decode("utf-8", "replace").strip()
            if text:
                note(text if len(text) <= LONGEST_NOTE else f"{text[:LONGEST_NOTE]}…")
                self._notes += 1
            self._told = ends + 1
        if self._told < until:
            self._notes += self._errors.count(b"\n", self._told, until)
            self._told = until

    def _is_lost(self) -> bool:
        # paramiko gives -1 for a missing exit status and for a signal; only the transport tells which it was.
        return exit_status(self.channel, 0.0) == -1 and not self.channel.get_transport().is_active()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
