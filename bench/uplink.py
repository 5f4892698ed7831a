"""The relay as its user sees it: started, told how slow to be, and measured."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
MEASURED = "measured"  # the way to the echo beside the hosts


@dataclass(frozen=True)
class Figures:
    """What was asked of the relay, and what was measured.

    Args:
        round_trip, asked_round_trip: seconds from a byte to its echo.
        connect: seconds from connecting to the first byte's echo; two round trips.
        rate, asked_rate: megabits a second to the hosts; 0 for no limit.
    """

    asked_round_trip: float
    asked_rate: float
    round_trip: float
    connect: float
    rate: float

    def as_dict(self) -> dict[str, float]:
        """For the results."""
        return asdict(self)


class Uplink:
    """A running relay."""

    def __init__(self, process: subprocess.Popen[str], names: Sequence[str]) -> None:
        self._process = process
        listening = self._answer()["listening"]
        self.doors: dict[str, tuple[str, int]] = {
            name: (door[0], door[1]) for name, door in zip(names, listening, strict=True)
        }
        self._asked = (0.0, 0.0)

    def set(self, *, round_trip: float = 0.0, rate: float = 0.0) -> None:
        """Be so slow from now on: seconds, and megabits a second."""
        self._say(f"set {round_trip} {rate * 1e6}")
        self._asked = (round_trip, rate)

    def count(self) -> dict[str, float]:
        """Bytes to and from the hosts, and the relay's own processor time."""
        return self._say("count")

    def measure(self, *, megabytes: int = 10) -> Figures:
        """Try how slow it really is."""
        door = self.doors[MEASURED]
        connects: list[float] = []
        trips: list[float] = []
        for _ in range(5):
            begun = time.monotonic()
            with socket.create_connection(door) as way:
                way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for times in (connects, trips):
                    begun = begun if times is connects else time.monotonic()
                    way.sendall(b".")
                    way.recv(1)
                    times.append(time.monotonic() - begun)
        begun = time.monotonic()
        with socket.create_connection(door) as way:
            threading.Thread(target=_pour, args=(way, megabytes), daemon=True).start()
            while way.recv(1 << 20):
                pass
        seconds = time.monotonic() - begun - statistics.median(trips)
        rate = megabytes * 8 * 1.048576 / max(seconds, 1e-6)
        return Figures(*self._asked, statistics.median(trips), statistics.median(connects), rate)

    def _say(self, line: str) -> dict[str, float]:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the relay ended: another program may have its addresses; see above")
        return dict(json.loads(line))


def _pour(way: socket.socket, megabytes: int) -> None:
    for _ in range(megabytes):
        way.sendall(bytes(1 << 20))
    way.shutdown(socket.SHUT_WR)


@contextmanager
def uplink(hosts: Mapping[str, tuple[str, str]], *, port: int = 22) -> Iterator[Uplink]:
    """A relay before hosts, and before an echo on which it is measured.

    Args:
        hosts: by name: the relay's own address for it, and the host's.
        port: of both.
    """
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_echo, args=(door,), daemon=True).start()
        pairs = [f"{own}:{port}={host}:{port}" for own, host in hosts.values()]
        pairs.append(f"127.0.0.1:0=127.0.0.1:{door.getsockname()[1]}")
        with subprocess.Popen(
            [sys.executable, "-m", "bench.relay", *pairs],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Uplink(process, [*hosts, MEASURED])
            finally:
                process.kill()


def _echo(door: socket.socket) -> None:
    while True:
        try:
            way, _ = door.accept()
        except OSError:  # the run is over
            return
        threading.Thread(target=_echo_one, args=(way,), daemon=True).start()


def _echo_one(way: socket.socket) -> None:
    """Single bytes are sent back, floods swallowed: what comes back would cost the relay as much again."""
    with way:
        while data := way.recv(1 << 20):
            if len(data) == 1:
                way.sendall(data)
