"""The heartbeat of many hosts, of which one holds whoever speaks to it."""

from __future__ import annotations

import threading
from typing import cast

import fabric

from playbooks.fleet.heartbeat import BEATING, Heartbeat
from playbooks.fleet.lock import Lock
from playbooks.fleet.progress import Silent


class Counts:
    """What a lock is to the heartbeat. A hostile one never comes back from a beat."""

    def __init__(self, held: threading.Event | None = None) -> None:
        self.beats = 0
        self.often = threading.Event()
        self._held = held

    def beat(self) -> fabric.Connection | None:
        self.beats += 1
        if self._held is not None:
            self._held.wait(60)
        if self.beats == 3:
            self.often.set()
        return None

    def aborted_by(self) -> str:
        assert self._held is None, "who asks it has to wait as well"
        return ""


def test_a_host_that_holds_who_speaks_to_it_holds_up_no_other_heartbeat() -> None:
    """It began to exchange keys and left it at that: for half a minute nobody was spoken to, and lost his lock."""
    let_go = threading.Event()
    hostile = [Counts(let_go) for _ in range(BEATING - 1)]
    honest = [Counts() for _ in range(20)]
    locks = {f"app{number}": cast(Lock, one) for number, one in enumerate([*hostile, *honest])}
    keeper = Heartbeat(locks, every=0.1, progress=Silent(), end=lambda _: None)
    keeper.start()
    try:
        assert all(one.often.wait(10) for one in honest)
    finally:
        let_go.set()
        keeper.stop()
    assert {one.beats for one in hostile} == {1}
