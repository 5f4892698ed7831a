"""Servers that speak SSH and send without end: each connection ends with a sentence, and the memory stays free."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, byte_chr

from playbooks.fleet.transport import MAX_PACKET, Transport
from tests.private_parts import proves

SECONDS = 20
Act = Callable[[paramiko.Transport, paramiko.Channel], None]


class Lets(paramiko.ServerInterface):
    """Lets anybody do anything."""

    def check_auth_none(self, _: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, _: str) -> str:
        return "none"

    def check_channel_request(self, _: str, __: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED


@contextlib.contextmanager
def session(
    act: Act,
    *,
    compress: bool = False,
    lets: Lets | None = None,
    keys: Sequence[paramiko.PKey] = (),
    tune: Callable[[Transport], None] = lambda _: None,
) -> Iterator[tuple[Transport, paramiko.Channel]]:
    """A channel whose other end does this.

    Args:
        act: what its thread does.
        compress: whether both ends do.
        lets: what the server allows.
        keys: the server's host keys.
        tune: sets up our end before it speaks.
    """
    ours, theirs = socket.socketpair()
    server = paramiko.Transport(theirs)
    for key in keys or (paramiko.RSAKey.generate(2048),):
        server.add_server_key(key)
    client = Transport(ours)
    tune(client)
    for one in (server, client):
        one.use_compression(compress)
    channels: list[paramiko.Channel] = []
    opened = threading.Event()

    def serve() -> None:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            server.start_server(server=lets or Lets())
            channel = server.accept(SECONDS)
            assert channel is not None
            channels.append(channel)  # a channel that nobody keeps is closed
            opened.wait(SECONDS)
            act(server, channel)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.start_client(timeout=SECONDS)
        client.auth_none("deploy")
        channel = client.open_session(timeout=SECONDS)
        opened.set()
        yield client, channel
    finally:
        client.close()
        server.close()
        thread.join(SECONDS)


def data(channel: paramiko.Channel, kind: int, size: int) -> paramiko.Message:
    message = paramiko.Message()
    message.add_byte(byte_chr(kind))
    message.add_int(channel.remote_chanid)
    if kind == MSG_CHANNEL_EXTENDED_DATA:
        message.add_int(1)
    message.add_string(bytes(size))
    return message


def sends(kind: int, size: int, times: int) -> Act:
    def act(server: paramiko.Transport, channel: paramiko.Channel) -> None:
        for _ in range(times):
            server.packetizer.send_message(data(channel, kind, size))

    return act


def why_ended(client: Transport) -> str:
    until = time.monotonic() + SECONDS
    while client.is_active():
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.02)
    return str(client.saved_exception)


@pytest.mark.parametrize("kind", [MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA])
@proves("paramiko", "_channel_handler_table", "in_window_size")
def test_no_more_is_kept_than_was_asked_for(kind: int) -> None:
    """What was sent to a channel that nobody read just then stayed in memory: half a gigabyte in eight seconds."""
    with session(sends(kind, 32768, 400)) as (client, channel):
        assert "more than it was asked for" in why_ended(client)
        assert len(channel.in_buffer) + len(channel.in_stderr_buffer) <= channel.in_window_size + 32768


def test_a_window_that_is_read_is_filled_anew() -> None:
    """However much it is, and however it is cut: an honest host is never taken for one that floods."""
    size = 20 * 1024 * 1024

    def act(_: paramiko.Transport, channel: paramiko.Channel) -> None:
        channel.sendall(bytes(size))
        channel.shutdown_write()

    with session(act) as (client, channel):
        came = 0
        while piece := channel.recv(1 << 20):
            came += len(piece)
        assert (came, client.is_active()) == (size, True)


def test_a_packet_has_a_length_that_ends() -> None:
    """It was waited for, whatever its length was: 800 MB, and more."""
    with session(sends(MSG_CHANNEL_DATA, MAX_PACKET, 1)) as (client, _):
        assert "a packet of" in why_ended(client)


@proves("paramiko", "packetizer", "read_all")
def test_before_a_key_is_shown_a_packet_has_a_length_too() -> None:
    """Whoever sits on the way to a host could fill the controller before its key was looked at."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"SSH-2.0-evil\r\n" + (0x7FFFFFFC).to_bytes(4) + bytes(1 << 16))
        client = Transport(ours)
        with pytest.raises(paramiko.SSHException, match="a packet of"):
            client.start_client(timeout=SECONDS)
        client.close()


@proves("paramiko", "_compression_info")
def test_a_packet_unpacks_to_a_size_that_ends() -> None:
    """With `Compression yes` a packet of 256 kB was 256 MB."""
    with session(sends(MSG_CHANNEL_DATA, 64 << 20, 1), compress=True) as (client, channel):
        assert "unpacks without end" in why_ended(client)
        assert len(channel.in_buffer) == 0
