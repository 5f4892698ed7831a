"""Keep an SSH session that connects again when it breaks, so that a short interruption does no harm."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import fabric
import paramiko

from playbooks.core.errors import HostKeyRefused, SlipwayError, Unreachable
from playbooks.fleet import channels, script
from playbooks.fleet.address import Address
from playbooks.fleet.lock_owner import FencingToken
from playbooks.fleet.remote_shell import RemoteShell

RETRY_SECONDS = 0.5


class Relockable(Protocol):
    """The lock, which a new connection must take again before any step acts on it."""

    def retake(self, connection: fabric.Connection) -> None:
        """Take it again.

        Raises:
            SlipwayError: the lock is lost; no step may act on this host any more.
        """


class Session:
    """The connection to one host, shared by all threads that work on it.

    Args:
        address: the host.
        connect: logs in; raises Unreachable or HostKeyRefused.

    Attributes:
        heard: the time of its last answer, by the monotonic clock.
        machine: the host key's fingerprint, which changes when the host is reinstalled; empty if it was lost at once.
    """

    def __init__(self, address: Address, connect: Callable[[], fabric.Connection]) -> None:
        self.address = address
        self.fencing_token: FencingToken | None = None
        self._connect = connect
        self._connection = connect()
        self.machine = _machine(self._connection)
        self._mutex = threading.RLock()
        self._hold: Relockable | None = None
        self._window = 0.0
        self._ended: SlipwayError | None = None
        self._idle: list[RemoteShell] = []
        self._ahead: list[tuple[fabric.Connection, paramiko.Channel]] = []
        self.heard = time.monotonic()

    def open_ahead(self, number: int) -> None:
        """Open channels in advance, so that all of them cost one round trip together."""

        def one(connection: fabric.Connection) -> None:
            # A step that finds no channel opens one, and reports any error.
            with contextlib.suppress(Exception):
                transport = connection.transport
                if transport is not None:
                    self._ahead.append((connection, transport.open_session(timeout=self.address.connect_timeout)))

        for _ in range(number):
            threading.Thread(target=one, args=(self._connection,), name="open", daemon=True).start()

    def open_shell(self, connection: fabric.Connection, unit: str | None = None) -> tuple[RemoteShell, int]:
        """Open a new shell, without waiting until it has started.

        Args:
            connection: the present connection, or the next one.
            unit: the systemd unit in which it runs.

        Returns:
            The shell, and how many round trips its first request waits for, if it is sent now.

        Raises:
            paramiko.SSHException, EOFError, OSError: the connection is lost or refuses another session.
        """
        channel, trips = self.channel(connection)
        return self._start_shell(channel, unit), trips + 1

    def _start_shell(self, channel: paramiko.Channel, unit: str | None) -> RemoteShell:
        text = script.shell_loop()
        channels.start(channel, self.address, channels.in_unit(script.command(text), unit))
        return RemoteShell(self.address.name, channel, unit, channels.preamble(self.address) + text)

    def start_ahead(self, units: Sequence[str | None]) -> None:
        """Start shells on channels that were opened in advance, without waiting.

        Args:
            units: the systemd unit for each shell.
        """
        connection = self._connection
        # A step that finds no shell starts one, and reports any error.
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            for unit in units:
                channel = self._take_ahead(connection)
                if channel is not None:
                    self.give(self._start_shell(channel, unit), connection)

    def channel(self, connection: fabric.Connection) -> tuple[paramiko.Channel, int]:
        """Return a channel, and how many round trips it waited for.

        Raises:
            paramiko.SSHException, EOFError, OSError: no channel can be opened.
        """
        channel = self._take_ahead(connection)
        if channel is not None:
            return channel, 0
        return channels.open_channel(connection, self.address, self._make_room), 1

    def _take_ahead(self, connection: fabric.Connection) -> paramiko.Channel | None:
        with self._mutex:
            while self._ahead:
                on, channel = self._ahead.pop()
                if on is connection and not channel.closed:
                    return channel
        return None

    def _make_room(self) -> bool:
        """Close an idle shell, because sshd allows few sessions; a later step opens it again."""
        with self._mutex:
            if not self._idle:
                return False
            self._idle.pop(0).close()
            return True

    def take(self, *, acts: bool) -> RemoteShell | None:
        """Take an idle shell, if there is one.

        Args:
            acts: take a shell that runs in a unit and continues if the connection breaks.
        """
        with self._mutex:
            self._idle = [shell for shell in self._idle if shell.is_open]
            found = next((shell for shell in self._idle if (shell.unit is not None) == acts), None)
            if found is not None:
                self._idle.remove(found)
            return found

    def give(self, shell: RemoteShell, connection: fabric.Connection) -> None:
        """Keep an idle shell for later requests.

        Args:
            shell: the idle shell.
            connection: its connection.
        """
        with self._mutex:
            if connection is self._connection:
                self._idle.append(shell)
            else:
                shell.close()

    @property
    def connection(self) -> fabric.Connection:
        """Return the present connection, alive or not."""
        return self._connection

    def held_by(self, hold: Relockable | None, fencing_token: FencingToken | None, *, window: float = 0.0) -> None:
        """From now on connect again after each loss, and take the lock again.

        Args:
            hold: takes the lock again; None stops this.
            fencing_token: the fencing token for every step that acts.
            window: for how many seconds to try a new connection.
        """
        with self._mutex:
            self._hold, self.fencing_token, self._window = hold, fencing_token, window

    def renew(self, broken: fabric.Connection) -> fabric.Connection:
        """Replace a broken connection. A second thread gets the connection that the first one made.

        Args:
            broken: the broken connection.

        Raises:
            SlipwayError: no connection within the window, or the lock is lost.
        """
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._connection is not broken:
                return self._connection
            with contextlib.suppress(Exception):
                broken.close()
            self._idle.clear()
            try:
                fresh = self._persist(time.monotonic() + self._window)
                if self._hold is not None:
                    self._hold.retake(fresh)
            except SlipwayError as error:
                self._ended = error
                raise
            self._connection = fresh
            return fresh

    @property
    def ended(self) -> SlipwayError | None:
        """Return why no step may act here any more."""
        return self._ended

    @property
    def renewable(self) -> bool:
        """Return whether the session connects again after a loss."""
        return self._window > 0 and self._ended is None

    def close(self) -> None:
        """Close the session for good. Steps in a unit continue."""
        self._ended = self._ended or Unreachable("the session was ended", host=self.address.name)
        with contextlib.suppress(Exception):
            self._connection.close()

    def _persist(self, until: float) -> fabric.Connection:
        while True:
            try:
                return self._connect()
            except HostKeyRefused:
                raise
            except Unreachable:
                if time.monotonic() > until or self._ended is not None:
                    raise
            time.sleep(RETRY_SECONDS)


def _machine(connection: fabric.Connection) -> str:
    with contextlib.suppress(paramiko.SSHException, AttributeError):
        return str(connection.transport.get_remote_server_key().fingerprint)
    return ""
