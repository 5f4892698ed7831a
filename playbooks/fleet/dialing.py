"""Connect as ssh does where paramiko does not: BindAddress, AddressFamily, ProxyCommand, IdentityAgent."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from playbooks.fleet.endpoint import Endpoint

AGENT_SECONDS = 10.0


def dial(endpoint: Endpoint, timeout: float | None) -> socket.socket:
    """Connect to an endpoint that sets the own address (BindAddress) or the protocol (AddressFamily).

    Args:
        endpoint: the endpoint.
        timeout: seconds.

    Raises:
        OSError: nothing listens there, or the own address does not exist on this machine.
    """
    found = socket.getaddrinfo(endpoint.hostname, endpoint.port, endpoint.family, socket.SOCK_STREAM)
    errors: dict[tuple[str, int] | tuple[str, int, int, int], Exception] = {}
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            if endpoint.bind is not None:
                sock.bind((endpoint.bind, 0))
            sock.connect(place)
        except OSError as error:
            sock.close()
            errors[str(place[0]), int(place[1])] = error
        else:
            return sock
    raise NoValidConnectionsError(errors)


def speak_through(command: str) -> socket.socket:
    """Start a ProxyCommand and return a socket to it.

    The user's shell runs it, as with ssh. It has its own session, so that Ctrl-C does not end the connection that
    taking the fleet back needs. It ends when we close the socket.

    Args:
        command: the command, with all tokens filled in.

    Raises:
        OSError: the shell does not exist.
    """
    ours, theirs = socket.socketpair()
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        process = subprocess.Popen(
            [shell, "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    threading.Thread(target=process.wait, name="ProxyCommand", daemon=True).start()
    return ours


class Agent(paramiko.Agent):
    """The agent at a socket. It is asked when keys are needed; one that does not answer has no keys.

    Args:
        place: the socket's path.
        only: key files; the agent's other keys are not tried. None tries all keys.
    """

    _conn: Any
    _keys: tuple[Any, ...]

    def __init__(self, place: str, only: Sequence[str] | None) -> None:
        paramiko.agent.AgentSSH.__init__(self)
        self._place, self._only = place, only

    def get_keys(self) -> tuple[Any, ...]:
        """Return the keys to try."""
        if self._conn is None:
            self._ask()
        return self._keys

    def _ask(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        ask: Any = getattr(self, "_connect")  # noqa: B009 - paramiko has no types for it
        try:
            sock.settimeout(AGENT_SECONDS)
            sock.connect(self._place)
            ask(sock)
        # Any program may listen at the socket and answer anything.
        except Exception:  # noqa: BLE001
            sock.close()
            self._conn, self._keys = None, ()
        if self._only is not None:
            blobs = {blob for file in self._only for blob in _public(file)}
            self._keys = tuple(key for key in self._keys if key.blob in blobs)


def _public(file: str) -> list[bytes]:
    """Return the public keys of a key file, or of the .pub file beside it."""
    found = []
    for place in (file, f"{file}.pub", f"{file}-cert.pub"):
        with contextlib.suppress(OSError, ValueError, IndexError, binascii.Error):
            found.append(base64.b64decode(Path(place).read_bytes().split()[1], validate=True))
    return found


def readable(file: str) -> bool:
    """Return whether the file exists and is readable."""
    return Path(file).is_file() and os.access(file, os.R_OK)
