"""A program on a host with this process's terminal: keys go there, its output comes here, sizes follow."""

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
from collections.abc import Callable, Iterator, Sequence

import paramiko

from playbooks.fleet import channels
from playbooks.fleet import script as scripts
from playbooks.fleet.failures import explain, lost
from playbooks.fleet.remote import Remote

# RFC 4254, 8: the host's end passes on every key as it is, since the program's own terminal is behind it; and the
# script must not come back as an echo.
_OFF = {"ISIG": 50, "ICANON": 51, "ECHO": 53, "IEXTEN": 59, "ICRNL": 36, "IXON": 38, "OPOST": 70}
MODES = b"".join(struct.pack(">BI", number, 0) for number in _OFF.values()) + b"\0"
MAX_LINE = 4096
POLL_SECONDS = 0.25
BEGIN_SECONDS = 30.0


def attach(
    remote: Remote, step: str, arguments: Sequence[str], write: Callable[[bytes], None], *, end: bytes
) -> bytes | None:
    """Run a step's script with this terminal, from its first record ``begun`` until it ends.

    Args:
        remote: the host.
        step: the script's name.
        arguments: its arguments; nothing secret.
        write: writes to the terminal.
        end: what the last line begins with, when all is over; it is not shown.

    Returns:
        The rest of that line; None where the session ended without one.

    Raises:
        StepFailed: it said why it does not begin.
        Unreachable: the session is gone.
    """
    try:
        channel, _ = remote.session.channel(remote.session.connection)
        with contextlib.closing(channel):
            rest = _begin(remote, channel, step, arguments)
            remote.progress.operation(remote.name, step, "answered")
            with _raw(), _resized() as sizes:
                until = Until(end, write)
                _relay(channel, until, rest, sizes)
                return until.rest
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise lost(remote.name, step, error) from None


def _begin(remote: Remote, channel: paramiko.Channel, step: str, arguments: Sequence[str]) -> bytes:
    """Start the script; what came after its first record.

    Raises:
        StepFailed: it said why it does not begin.
    """
    _ask_terminal(channel)
    text = b"set -- " + scripts.quote(arguments).encode() + b"\n" + scripts.load(step).reading()
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
    """As paramiko's `get_pty`, which knows no modes."""
    columns, rows = shutil.get_terminal_size()
    message = channels.new_request(channel, "pty-req")
    message.add_string(os.environ.get("TERM", "dumb"))
    for number in (columns, rows, 0, 0):
        message.add_int(number)
    message.add_string(MODES)
    channels.send_request(channel, message)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key counts as it is: Ctrl-C is the program's."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized() -> Iterator[list[bool]]:
    """A list that has something in it once the window's size has changed."""
    changed: list[bool] = []
    before = signal.signal(signal.SIGWINCH, lambda *_: changed.append(True))
    try:
        yield changed
    finally:
        signal.signal(signal.SIGWINCH, before)


class Until:
    """Writes what comes until a mark.

    Args:
        mark: is not written, nor what follows it.
        write: where to.

    Attributes:
        rest: what follows it on its line; None until that has come.
    """

    def __init__(self, mark: bytes, write: Callable[[bytes], None]) -> None:
        self._mark, self._write, self._held = mark, write, b""
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> bool:
        """Write it, but for an end that may be the mark's beginning; says whether the mark's line has come."""
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
