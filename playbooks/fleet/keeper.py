"""The heartbeat: while it goes, hosts keep the lock and their guards wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import fabric

from playbooks.errors import SlipwayError
from playbooks.fleet.lock import Lock
from playbooks.fleet.progress import Progress


class Keeper:
    """One thread that beats for all hosts; a host that is slow to come back has one of its own until it is.

    Args:
        locks: those that are held, by host; more may come while it beats.
        every: seconds between beats.
        progress: told of a host that is lost.
    """

    def __init__(self, locks: Mapping[str, Lock], *, every: float, progress: Progress) -> None:
        self._locks = locks
        self._lost: set[str] = set()
        self._every = every
        self._progress = progress
        self._stop = threading.Event()
        self._busy: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            for name, lock in list(self._locks.items()):
                if name in self._lost or (name in self._busy and self._busy[name].is_alive()):
                    continue
                dead = lock.beat()
                if dead is None:
                    continue
                self._busy[name] = threading.Thread(
                    target=self._recover, args=(lock, dead), name="reconnect", daemon=True
                )
                self._busy[name].start()

    def _recover(self, lock: Lock, dead: fabric.Connection) -> None:
        try:
            lock.remote.session.renew(dead)
        except SlipwayError as error:
            self._lost.add(lock.remote.name)
            if not self._stop.is_set():
                self._progress.warn(f"{lock.remote.name} is lost: {error.message}")
