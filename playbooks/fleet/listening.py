"""Run a step and read its output line by line while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import paramiko

from playbooks.fleet import channels
from playbooks.fleet import script as scripts
from playbooks.fleet.failures import explain, lost
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import RemoteShell, ShellRequest

LONGEST_LINE = 65536  # bytes; the rest of a line is dropped
MAX_ERRORS = 4096
POLL_SECONDS = 0.3
EXIT_SECONDS = 5.0
END = b"end"


def listen(
    remote: Remote,
    step: str,
    values: Mapping[str, str],
    words: Sequence[str] = (),
    *,
    stop: threading.Event | None = None,
) -> Generator[bytes, None, None]:
    """Run a step's script and yield each line as it comes. Closing the iterator ends the script on the host.

    The script's standard input ends when the reader stops. Its last line is ``end``.

    Args:
        remote: the host.
        step: the script's name.
        values, words: what it needs, without secrets; see `playbooks.fleet.remote.StepCall`.
        stop: ends the reading when set.

    Raises:
        StepFailed: the script reported an error.
        Unreachable: the session is lost.
    """
    shell: RemoteShell | None = None
    began = time.monotonic()
    try:
        shell, _ = remote.session.open_shell(remote.session.connection)
        text = scripts.load(step).given(values).reading()
        shell.send(ShellRequest(step, text, words, keeps=True), began + 30)
        remote.progress.operation(remote.name, step, "sent")
        yield from _lines(remote, step, shell.channel, stop or threading.Event())
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise lost(remote.name, step, error) from None
    finally:
        if shell is not None:
            with contextlib.suppress(Exception):
                shell.channel.shutdown_write()
            shell.close()


def _lines(remote: Remote, step: str, channel: paramiko.Channel, stop: threading.Event) -> Generator[bytes, None, None]:
    """Yield the lines up to the last one.

    Raises:
        StepFailed: the script reported an error, or ended without its last line.
        EOFError: the session is lost.
    """
    errors = bytearray()
    for found in _cut_lines(_pieces(channel, errors, stop)):
        if found == END:
            return
        if found.startswith(b"error\t"):
            raise explain(remote.name, step, scripts.parse(remote.name, step, found, 0.0), 1, bytes(errors))
        yield found
    if stop.is_set():
        return
    status = channels.exit_status(channel, EXIT_SECONDS)
    if status == -1:
        raise EOFError("the host closed the session")
    nothing = scripts.parse(remote.name, step, b"", 0.0)
    raise explain(remote.name, step, nothing, status, bytes(errors))


def _pieces(channel: paramiko.Channel, errors: bytearray, stop: threading.Event) -> Iterator[bytes]:
    """Yield the output as it comes, and keep the end of standard error separately."""
    channel.settimeout(POLL_SECONDS)
    while not stop.is_set():
        while channel.recv_stderr_ready():
            errors += channel.recv_stderr(MAX_ERRORS)
            del errors[:-MAX_ERRORS]
        try:
            came = channel.recv(65536)
        except TimeoutError:
            continue
        if not came:
            return
        yield came


def _cut_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split pieces into lines, and cut lines that are too long."""
    rest, told = b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for found in whole:
            if not told:
                yield found[:LONGEST_LINE]
            told = False
        if len(rest) > LONGEST_LINE:
            if not told:
                yield rest[:LONGEST_LINE]
            rest, told = b"", True
