"""Connect this terminal to a program on a host: keys, output and window size."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import struct
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping

import paramiko

from playbooks.fleet import channels
from playbooks.fleet import script as scripts
from playbooks.fleet.failures import explain, lost
from playbooks.fleet.remote import Remote

# RFC 4254, 8: the host's terminal passes on every key unchanged, because the program has its own terminal behind it,
# and does not echo the script.
_OFF = {"ISIG": 50, "ICANON": 51, "ECHO": 53, "IEXTEN": 59, "ICRNL": 36, "IXON": 38, "OPOST": 70}
MODES = b"".join(struct.pack(">BI", number, 0) for number in _OFF.values()) + b"\0"
MAX_LINE = 4096
POLL_SECONDS = 0.25
BEGIN_SECONDS = 30.0


def attach(
    remote: Remote, step: str, values: Mapping[str, str], write: Callable[[bytes], None], *, end: bytes
) -> bytes | None:
    """Connect this terminal to a step's script, from its first record ``begun`` until it ends.

    Args:
        remote: the host.
        step: the script's name.
        values: the values that it needs, by name, without secrets.
        write: writes to the terminal.
        end: the beginning of the last line, which is not shown.

    Returns:
        The rest of the last line; None if the session ended without it.

    Raises:
        StepFailed: the script could not begin.
        Unreachable: the session is lost.
    """
    try:
        channel, _ = remote.session.channel(remote.session.connection)
        with contextlib.closing(channel):
            rest = _begin(remote, channel, step, values)
            remote.progress.operation(remote.name, step, "answered")
            with _raw(), _resized() as sizes:
                until = Until(end, write)
                _relay(channel, until, rest, sizes)
                return until.rest
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise lost(remote.name, step, error) from None


def _begin(remote: Remote, channel: paramiko.Channel, step: str, values: Mapping[str, str]) -> bytes:
    """Start the script, and return the output after its first record.

    Raises:
        StepFailed: the script could not begin.
    """
    _ask_terminal(channel)
    text = scripts.load(step).given(values).reading()
    channels.start(channel, remote.address, scripts.command(text))
    channel.settimeout(BEGIN_SECONDS)
    channel.sendall(channels.preamble(remote.address) + text)
    until, said = time.monotonic() + BEGIN_SECONDS, b""
    while len(said) < MAX_LINE and time.monotonic() < until:
        came = channel.recv(MAX_LINE)
        said += came
        line, newline, rest = said.partition(b"\n")
        if newline and line.startswith(b"begun\t"):
            return rest
        if not came or line.startswith(b"error\t"):
            break
    answer = scripts.parse(remote.name, step, said.replace(b"\r", b""), 0.0)
    raise explain(remote.name, step, answer, 1, said)


def _ask_terminal(channel: paramiko.Channel) -> None:
    """Ask for a terminal. paramiko's `get_pty` cannot set modes."""
    columns, rows = shutil.get_terminal_size()
    message = channels.new_request(channel, "pty-req")
    message.add_string(os.environ.get("TERM", "dumb"))
    for number in (columns, rows, 0, 0):
        message.add_int(number)
    message.add_string(MODES)
    channels.send_request(channel, message)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Switch the terminal to raw mode, so that the program gets every key, also Ctrl-C."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized() -> Iterator[list[bool]]:
    """Yield a list that is filled when the window's size changes."""
    changed: list[bool] = []
    before = signal.signal(signal.SIGWINCH, lambda *_: changed.append(True))
    try:
        yield changed
    finally:
        signal.signal(signal.SIGWINCH, before)


class Until:
    """Writes the output up to a mark.

    Args:
        mark: the mark; neither it nor the rest is written.
        write: writes the output.

    Attributes:
        rest: the rest of the mark's line; None until it has arrived.
    """

    def __init__(self, mark: bytes, write: Callable[[bytes], None]) -> None:
        self._mark, self._write, self._held = mark, write, b""
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> bool:
        """Write the output, except a possible beginning of the mark. Return whether the mark's line has arrived."""
        data = self._held + data
        before, found, after = data.partition(self._mark)
        if found:
            self._write(before)
            self._held = found + after[:MAX_LINE]
            if b"\n" not in after and len(after) < MAX_LINE:
                return False
            self.rest = after.partition(b"\n")[0].strip()
            return True
        held = next(size for size in range(len(self._mark) - 1, -1, -1) if data.endswith(self._mark[:size]))
        self._held = data[len(data) - held :]
        self._write(data[: len(data) - held])
        return False


def _relay(channel: paramiko.Channel, until: Until, came: bytes, resized: list[bool]) -> None:
    keys = sys.stdin.fileno()
    waits = [channel, keys]
    channel.settimeout(BEGIN_SECONDS)
    while not until.feed(came):
        came = b""
        ready, _, _ = select.select(waits, [], [], POLL_SECONDS)
        if resized:
            resized.clear()
            columns, rows = shutil.get_terminal_size()
            channel.resize_pty(columns, rows)
        if channel in ready:
            came = channel.recv(65536)
            if not came:
                return
        if keys in ready:
            typed = os.read(keys, 4096)
            if typed:
                channel.sendall(typed)
            else:
                channel.shutdown_write()
                waits.remove(keys)
