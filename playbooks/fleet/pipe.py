"""Moving bytes over one channel within a deadline."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterable, Iterator

import paramiko

from playbooks.errors import BadAnswer

# What a step may answer at the most. The longest honest answer is a manifest of a large release.
MOST_OUTPUT = 16 * 1024 * 1024
MOST_PROGRESS = 1024 * 1024
LONGEST_POLL = 3600.0  # seconds; poll(2) counts milliseconds in 32 bits

Note = Callable[[str], None]
# A payload that is made as it is sent is made anew when a step has to be repeated.
Payload = bytes | Callable[[], Iterator[bytes]]


class Pipe:
    """Sends a step and reads its answer; it keeps no more of an answer than an honest host sends.

    Args:
        host, step: for messages.
        channel: open, with the command running at its other end.
        deadline: by the monotonic clock, in seconds.
        note: called with each line of standard error.
    """

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

    def send(self, first: bytes, payload: Payload) -> None:
        """Send the script and its payload. A script that ends early, having said why, is not an error here.

        Raises:
            TimeoutError: the deadline is over.
            OSError: the session is gone.
        """
        chunks: Iterable[bytes] = [payload] if isinstance(payload, bytes) else payload()
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
        """Read until the script has ended; returns its exit status, -1 when a signal killed it.

        Raises:
            TimeoutError: the deadline is over.
            EOFError: the session is gone.
        """
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not self._drain():
            poll.poll(min(self._left(), LONGEST_POLL) * 1000)
        if not self._channel.status_event.wait(self._left()):
            raise TimeoutError
        if not self._channel.exit_status_ready() or self._lost():
            raise EOFError("the host closed the session")
        self._flush()
        return self._channel.recv_exit_status()

    def _drain(self) -> bool:
        """Take what has arrived; says whether the far end has closed its side."""
        while self._channel.recv_ready():
            self._left()  # raises when the time is over
            self.output += self._channel.recv(65536)
            if len(self.output) > MOST_OUTPUT:
                raise BadAnswer(f"'{self._step}' answers without end; stopped reading", host=self._host)
        while self._channel.recv_stderr_ready():
            self._left()  # raises when the time is over
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
