"""Open channels on a connection, and start a program as root at the other end of each."""

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

# sudo may ask for a password, and must not read the script as one. The password comes first on standard input, and
# the shell reads it, so no command line shows it. The shell tries the password before it passes on the script: a sudo
# that refuses would leave cat waiting. -k forgets an earlier login: after one, the script would get the password.
_ASKED = (
    'IFS= read -r word; if sudo -n true 2>/dev/null; then sudo -n -- "$@"; else '
    'printf "%s\\n" "$word" | sudo -k -S -p "" -- true >&2 || exit 1; '
    '{ printf "%s\\n" "$word"; cat; } | sudo -k -S -p "" -- "$@"; fi'
)


def open_channel(
    connection: fabric.Connection, address: Address, make_room: Callable[[], bool] = lambda: False
) -> paramiko.Channel:
    """Open a channel without a program at its other end.

    sshd still counts a channel for a moment after it was closed, against MaxSessions.

    Args:
        connection: the open connection.
        address: the host's address.
        make_room: closes an idle channel; returns whether there was one.

    Raises:
        paramiko.SSHException, EOFError, OSError: no channel can be opened.
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
    """Start a program as root at a channel's other end, without waiting until it has started.

    paramiko's own `exec_command` waits, which costs a round trip without need: a program that cannot start closes the
    channel. Its input waits for one anyway, because sshd takes none before the program has started. Send first:
    `preamble`.

    Args:
        channel: the open channel.
        address: tells whether and how to become root.
        words: the program and its arguments.

    Raises:
        paramiko.SSHException, EOFError, OSError: the connection is lost.
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
    """Return words that run a command in a transient systemd unit (systemd-run(1)), which outlives the SSH session."""
    if unit is None:
        return words
    options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", "--property=TasksMax=infinity"]
    # systemd reads a dollar in an argument as a variable (systemd.service(5)).
    return ["systemd-run", *options, "--", *(word.replace("$", "$$") for word in words)]


def is_alive(connection: fabric.Connection) -> bool:
    """Return whether a connection is alive, as far as the controller knows."""
    transport = connection.client.get_transport()
    return transport is not None and transport.is_active()


def preamble(address: Address) -> bytes:
    """Return the first bytes of standard input: the password that sudo may ask for."""
    if address.become and address.become_password is not None:
        return address.become_password.encode() + b"\n"
    return b""


def _become(address: Address, words: Sequence[str]) -> list[str]:
    if not address.become:
        return list(words)
    if address.become_password is not None:
        return ["/bin/sh", "-c", _ASKED, "sudo", *words]
    return ["sudo", "-n", "--", *words]
