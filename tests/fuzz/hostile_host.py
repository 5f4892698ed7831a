"""Hosts that speak SSH and mean harm: real servers on loopback, each with one way to misbehave."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO

import paramiko

Behaviour = Callable[[paramiko.Channel, bytes], None]

# How a line's answer ends: its mark, a status and two times.
_END = re.compile(rb"[0-9a-f]{32} \d+ ")
_LOCK = b'"who"'  # the owner, which only the script that locks is given
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil"


def honest(
    channel: paramiko.Channel, command: bytes, *, more: bytes = b"", at_lock: Callable[[], None] | None = None
) -> None:
    """Does what it is told, on this machine. Only scripts that change nothing are sent here.

    Args:
        more: what it adds to each answer.
        at_lock: what it does instead when the lock is asked for.
    """

    def heard(size: int) -> bytes:
        data = channel.recv(size)
        if at_lock is not None and _LOCK in data:
            at_lock()
            return b""
        return data

    words = ["/bin/sh", "-c", os.fsdecode(command)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shell:
        assert shell.stdin and shell.stdout and shell.stderr
        threading.Thread(target=_hand_on, args=(heard, shell.stdin), daemon=True).start()
        errors = threading.Thread(target=_tell, args=(shell.stderr, channel), daemon=True)
        errors.start()
        for line in shell.stdout:
            channel.sendall(more + line if _END.match(line) else line)
        errors.join()
    channel.send_exit_status(shell.returncode)


def _hand_on(receive: Callable[[int], bytes], to: IO[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := receive(65536):
            to.write(data)
            to.flush()
    with contextlib.suppress(OSError):
        to.close()


def _tell(lines: IO[bytes], channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError):
        for line in lines:
            channel.sendall_stderr(line)


def garbage(channel: paramiko.Channel, _: bytes) -> None:
    """Noise, and all is well."""
    channel.sendall(bytes(range(256)) * 300)
    channel.send_exit_status(0)


def endless(channel: paramiko.Channel, _: bytes) -> None:
    """One line without end."""
    while True:
        channel.sendall(b"x" * 65536)


def endless_records(channel: paramiko.Channel, _: bytes) -> None:
    """Short lines without end: each costs its reader many times its size."""
    while True:
        channel.sendall(b"ab\n" * 20000)


def crowded(channel: paramiko.Channel, _: bytes) -> None:
    """As many records as fit in what is read of an answer at the most."""
    channel.sendall(b"ab\n" * (16 * 1024 * 1024 // 3 - 1))
    channel.send_exit_status(0)


def endless_progress(channel: paramiko.Channel, _: bytes) -> None:
    """Progress without end."""
    while True:
        channel.sendall_stderr(b"still at it\n" * 5000)


def endless_message(channel: paramiko.Channel, _: bytes) -> None:
    """Progress whose first line has no end."""
    while True:
        channel.sendall_stderr(b"still at it " * 5000)


def never(channel: paramiko.Channel, _: bytes) -> None:
    """Says nothing, and stays."""
    channel.event.wait(300)


def drips(channel: paramiko.Channel, _: bytes) -> None:
    """A byte now and then: nobody who waits for the next one ever gives up."""
    for _number in itertools.count():
        channel.sendall(b"x")
        threading.Event().wait(0.5)


def drips_at_lock(channel: paramiko.Channel, command: bytes) -> None:
    """Honest until the lock is asked for."""
    honest(channel, command, at_lock=lambda: drips(channel, command))


def mute_at_lock(channel: paramiko.Channel, command: bytes) -> None:
    """Honest until the lock is asked for; then half an answer, and its end, but never a status."""

    def mute() -> None:
        channel.sendall(b"x\n")
        channel.shutdown_write()
        never(channel, command)

    honest(channel, command, at_lock=mute)


def closes(channel: paramiko.Channel, _: bytes) -> None:
    """Half an answer, then the line is cut."""
    channel.sendall(b"system\tDebian")
    channel.get_transport().close()


def no_status(channel: paramiko.Channel, _: bytes) -> None:
    """An answer, and never a status."""
    channel.sendall(b"system\tDebian\t252\t1\n")


def steers(channel: paramiko.Channel, _: bytes) -> None:
    """Escape sequences in the sentence of a failure, and in what it says meanwhile."""
    text = ESCAPES.encode()
    channel.sendall_stderr(text + b"\n")
    channel.sendall(b"error\t" + text + b"\t" + text + b"\n")
    channel.send_exit_status(1)


def lies(channel: paramiko.Channel, command: bytes) -> None:
    """The honest answer, with a release, times and owners that cannot be, and escape sequences all over."""
    evil = ESCAPES.encode()
    more = (
        b"current\t" + evil + b"\t253402300799\n"
        + b"release\t" + evil + b"\tproven\t" + evil + b'\t{"version":"\\ud800' + evil + b'","by":{"a":[1e999]}}\n'
        + b"release\t../../etc\tproven\t../..\t" + b"[" * 5000 + b"\n"
        + b'lock\t{"who":"\\u001b[2J\\ud800","since":[[[]]]}\nlock\t[]\n'
        + b'backup\t{"id":"\\u001b[2J","created":NaN}\nverified\t{"status":' + b"9" * 4000 + b"}\n"
        + b"verdict\tyes\t1\ncheck\t" + evil + b"\thttp\tyes\tno\t1\t1\t" + evil + b"\t\n"
    )  # fmt: skip
    honest(channel, command, more=more)


def forges(channel: paramiko.Channel, command: bytes) -> None:
    """The honest answer, with lies that look as if they could be so, made for other hosts to go by."""
    about = b'{"version":"1.5.0,app=other,id=x","sha256":"x"}'
    owner = (
        b'{"who":"eve@x","what":"deploy 1","since":"2026-01-01T00:00:00Z","task":"deploy","version":"1",'
        b'"id":"../../../etc"}'
    )
    more = (
        b"release\t99991231T235958Z-9.9.9\tproven\t-\t" + about + b"\n"
        + b"release\t20260101T000000Z-1.0.0\tproven\t../../etc\t" + about + b"\n"
        + b"release\ta,b\tproven\t-\t{}\n"
        + b"interrupted\t" + owner + b"\n"
        + b"moved\t1\t../../etc\t-\n"
        + b'backup\t{"id":"../../../../../etc/docker/daemon","snapshot":"x"}\n'
        + b'verified\t{"status":"PASSED","at":"9999"}\n'
    )  # fmt: skip
    honest(channel, command, more=more)


class _Accepts(paramiko.ServerInterface):
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:  # noqa: ARG002
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._act, args=(channel, command), daemon=True).start()
        return True

    def _act(self, channel: paramiko.Channel, command: bytes) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # the controller has gone
            self._behaviour(channel, command)
            channel.shutdown(2)


def _ssh(sock: socket.socket, key: paramiko.PKey, behaviour: Behaviour) -> None:
    transport = paramiko.Transport(sock)
    transport.add_server_key(key)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        transport.start_server(server=_Accepts(behaviour))


def endless_banner(sock: socket.socket) -> None:
    """Not even SSH: a first line without end."""
    with sock, contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x" * 65536)


def silent_port(sock: socket.socket) -> None:
    """Takes the call and says nothing."""
    with sock, contextlib.suppress(OSError):
        sock.recv(1 << 20)
        sock.recv(1 << 20)


@contextlib.contextmanager
def listening(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on loopback whose every caller is handed to a function, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    sock, _ = server.accept()
                    threading.Thread(target=act, args=(sock,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def ssh_host(behaviour: Behaviour, key: paramiko.PKey) -> Iterator[int]:
    """An SSH server that takes every password.

    Args:
        behaviour: what it does with a command.
        key: its host key.

    Yields:
        Its port.
    """
    with listening(lambda sock: _ssh(sock, key, behaviour)) as port:
        yield port
