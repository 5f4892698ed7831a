"""Channels of one connection, each with a program at its other end that runs as root."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import fabric
import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from playbooks.fleet.address import Address
from playbooks.fleet.script import quote

MAX_SESSIONS_SECONDS = 2.0
STATUS_POLL_SECONDS = 0.02

# sudo asks for a password or doesn't; it must not read the script as one. The password comes first on standard input,
# is read by the shell itself, and so is in no command line. It is tried before the script is handed on: a sudo that
# refuses would leave cat waiting. -k: were a login remembered, the password would become the first line of the script.
_ASKED = (
    'IFS= read -r word; if sudo -n true 2>/dev/null; then sudo -n -- "$@"; else '
    'printf "%s\\n" "$word" | sudo -k -S -p "" -- true >&2 || exit 1; '
    '{ printf "%s\\n" "$word"; cat; } | sudo -k -S -p "" -- "$@"; fi'
)


def open_channel(
    connection: fabric.Connection, address: Address, make_room: Callable[[], bool] = lambda: False
) -> paramiko.Channel:
    """A channel with nothing at its other end yet.

    sshd counts one that was just closed for a moment, against its MaxSessions.

    Args:
        connection: open.
        address: of the host.
        make_room: closes a channel that can be done without, if there is one, and says so.

    Raises:
        paramiko.SSHException, EOFError, OSError: there is none to be had.
    """
    transport = connection.transport
    if transport is None:
        raise EOFError("the connection is closed")
    until = time.monotonic() + MAX_SESSIONS_SECONDS
    while True:
        try:
            channel: paramiko.Channel = transport.open_session(timeout=address.connect_timeout)
        except paramiko.ChannelException:
            if not make_room() and time.monotonic() > until:
                raise
        else:
            return channel
        time.sleep(0.1)


def start(channel: paramiko.Channel, address: Address, words: Sequence[str]) -> None:
    """Start a program as root at a channel's other end, and do not wait to hear that it has started.

    paramiko's own `exec_command` waits, which is a round trip for nothing: a program that cannot be started closes the
    channel. What the program is to read takes one all the same: until it has started, sshd takes nothing. Comes first:
    `preamble`.

    Args:
        channel: open.
        address: says whether and how to become root.
        words: program and arguments.

    Raises:
        paramiko.SSHException, EOFError, OSError: the connection is gone.
    """
    message = new_request(channel, "exec")
    message.add_string(quote(_become(address, words)).encode())
    send_request(channel, message)


def new_request(channel: paramiko.Channel, kind: str) -> paramiko.Message:
    """The beginning of a channel request (RFC 4254, 5.4) that wants no answer; add what its kind needs.

    Args:
        channel: open.
        kind: such as "exec".
    """
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(False)
    return message


def send_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Send a channel request. It does not wait, except while new session keys are agreed on.

    Raises:
        paramiko.SSHException, EOFError, OSError: the connection is gone.
    """
    channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]


def exit_status(channel: paramiko.Channel, seconds: float) -> int:
    """The exit status of the program at a channel's other end; -1 if a signal ended it, or none has come.

    paramiko's own `recv_exit_status` waits without a time limit.

    Args:
        channel: at its end.
        seconds: how long to wait for it.
    """
    until = time.monotonic() + seconds
    while not channel.exit_status_ready():
        if time.monotonic() >= until:
            return -1
        time.sleep(STATUS_POLL_SECONDS)
    return channel.recv_exit_status()


def in_unit(words: Sequence[str], unit: str | None) -> Sequence[str]:
    """Words that run in a transient unit of their own (systemd-run(1)): it outlives the SSH session."""
    if unit is None:
        return words
    options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", "--property=TasksMax=infinity"]
    # systemd.service(5): a dollar in an argument would be read as a variable.
    return ["systemd-run", *options, "--", *(word.replace("$", "$$") for word in words)]


def is_alive(connection: fabric.Connection) -> bool:
    """Whether a connection still is one, as far as can be told from here."""
    transport = connection.client.get_transport()
    return transport is not None and transport.is_active()


def preamble(address: Address) -> bytes:
    """What goes on standard input first: the password that sudo may ask for."""
    if address.become and address.become_password is not None:
        return address.become_password.encode() + b"\n"
    return b""


def _become(address: Address, words: Sequence[str]) -> list[str]:
    if not address.become:
        return list(words)
    if address.become_password is not None:
        return ["/bin/sh", "-c", _ASKED, "sudo", *words]
    return ["sudo", "-n", "--", *words]
