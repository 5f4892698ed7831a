"""Send the heartbeat. While it arrives, hosts keep the lock and their guards wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue

import fabric

from playbooks.core.errors import SlipwayError
from playbooks.fleet.lock import Lock
from playbooks.fleet.progress import Progress

ANSWER_SECONDS = 1.0  # after which a host's answer to a beat is read
# A host that reads nothing, or does not finish a key exchange, blocks its thread for half a minute, in which other
# hosts would lose their locks. This many threads allow for as many such hosts.
BEATING = 8


class Heartbeat:
    """Sends beats to all hosts with a few threads; a host that reconnects slowly has its own thread meanwhile.

    Args:
        locks: the held locks, by host; more may be added later.
        every: seconds between beats.
        progress: receives a warning about a lost host.
        end: ends the task once, with the name of the person who asked a host for it.
    """

    def __init__(
        self, locks: Mapping[str, Lock], *, every: float, progress: Progress, end: Callable[[str], None]
    ) -> None:
        self._locks = locks
        self._lost: set[str] = set()
        self._every = every
        self._progress = progress
        self._end: Callable[[str], None] | None = end
        self._stop = threading.Event()
        self._busy: dict[str, threading.Thread] = {}
        self._beating: set[str] = set()  # hosts that a thread beats now, or is about to
        self._due: SimpleQueue[tuple[str, Lock] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        for number in range(BEATING):
            threading.Thread(target=self._beat, name=f"beat-{number}", daemon=True).start()
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeat."""
        self._stop.set()
        self._thread.join()
        for _ in range(BEATING):
            self._due.put(None)

    def _run(self) -> None:
        answer = min(ANSWER_SECONDS, self._every / 2)
        while not self._stop.wait(self._every - answer):
            for name, lock in self._heard():
                self._beating.add(name)
                self._due.put((name, lock))
            if not self._stop.wait(answer):
                self._heed()

    def _beat(self) -> None:
        while (due := self._due.get()) is not None:
            name, lock = due
            dead = lock.beat()
            if dead is not None:
                self._busy[name] = threading.Thread(
                    target=self._recover, args=(lock, dead), name="reconnect", daemon=True
                )
                self._busy[name].start()
            self._beating.discard(name)

    def _heard(self) -> Iterator[tuple[str, Lock]]:
        """Return the locks whose answers can be read at once: not those of hosts that are lost, reconnecting or
        in the middle of a beat."""
        away = self._lost | self._beating
        for name, lock in list(self._locks.items()):
            if name not in away and not (name in self._busy and self._busy[name].is_alive()):
                yield name, lock

    def _heed(self) -> None:
        """End the task if somebody has asked for it. Do so once, so that taking the fleet back is not interrupted."""
        asked = [who for _, lock in self._heard() if (who := lock.aborted_by())]
        if asked and self._end is not None:
            self._progress.warn(f"{asked[0]} ends it: invoke abort")
            end, self._end = self._end, None
            end(asked[0])

    def _recover(self, lock: Lock, dead: fabric.Connection) -> None:
        try:
            lock.remote.session.renew(dead)
        except SlipwayError as error:
            self._lost.add(lock.remote.name)
            if not self._stop.is_set():
                self._progress.warn(f"{lock.remote.name} is lost: {error.message}")
