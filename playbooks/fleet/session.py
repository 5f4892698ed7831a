"""An SSH session that is had anew when it breaks, so that a loss of seconds is ridden out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import fabric

from playbooks.errors import HostKeyRefused, SlipwayError, Unreachable
from playbooks.fleet.address import Address

RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Claim:
    """The right to act on a host, checked there before every step that changes something.

    Args:
        state: the folder on the host that the lock is in.
        token: the lock's number there; every taking of the lock, and every undo, makes it higher.
    """

    state: str
    token: int

    @property
    def run(self) -> str:
        """The folder on the host for what need not outlive a reboot."""
        return f"/run/slipway/{self.state.removeprefix('/var/lib/slipway/').strip('/')}"


class Hold(Protocol):
    """What must be had again on a new connection before anybody acts on it: the lock."""

    def retake(self, connection: fabric.Connection) -> None:
        """Take it again.

        Raises:
            SlipwayError: it cannot be had; nothing may be done on this host any more.
        """


class Session:
    """The connection to one host, shared by all who work on it.

    Args:
        address: the host.
        connect: logs in; raises Unreachable or HostKeyRefused.
    """

    def __init__(self, address: Address, connect: Callable[[], fabric.Connection]) -> None:
        self.address = address
        self.claim: Claim | None = None
        self._connect = connect
        self._connection = connect()
        self._mutex = threading.RLock()
        self._hold: Hold | None = None
        self._window = 0.0
        self._ended: SlipwayError | None = None

    @property
    def connection(self) -> fabric.Connection:
        """The present connection, alive or not."""
        return self._connection

    def held_by(self, hold: Hold | None, claim: Claim | None, *, window: float = 0.0) -> None:
        """From now on ride out losses, and take the lock again after each.

        Args:
            hold: takes the lock again; None ends it.
            claim: goes with every step that acts.
            window: for how many seconds of loss a new connection is tried.
        """
        with self._mutex:
            self._hold, self.claim, self._window = hold, claim, window

    def renew(self, broken: fabric.Connection) -> fabric.Connection:
        """A connection in place of one that broke; whoever comes second gets what the first has made.

        Args:
            broken: the connection that was found dead.

        Raises:
            SlipwayError: there is none within the window, or the lock could not be had again.
        """
        with self._mutex:
            if self._ended is not None:
                raise self._ended
            if self._connection is not broken:
                return self._connection
            with contextlib.suppress(Exception):
                broken.close()
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
        """Why nothing may be done here any more."""
        return self._ended

    @property
    def renewable(self) -> bool:
        """Whether a loss is ridden out here."""
        return self._window > 0 and self._ended is None

    def close(self) -> None:
        """End it for good. Steps that run in a unit of their own go on."""
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
