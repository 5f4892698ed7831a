"""Run a steady load on one server, with and without keep-alive, pages and orders, and count every request."""

from __future__ import annotations

import http.client
import json
import select
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

PATIENCE = 30.0  # seconds that a client waits for an answer


@dataclass
class Load:
    """The results so far.

    Args:
        answered: the number of good answers, by version.
        failed: the failures of all other requests.
        longest: the longest wait for an answer in seconds.
    """

    answered: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def count(self, version: str, seconds: float, failure: str = "") -> None:
        """Count one request."""
        with self._changing:
            self.longest = max(self.longest, seconds)
            if failure:
                self.failed.append(failure)
            else:
                self.answered[version] += 1


@contextmanager
def steady_load(address: str, port: int, *, clients: int = 2, pause: float = 0.01) -> Iterator[Load]:
    """Send requests until the block ends.

    Args:
        address, port: the shop's address and port.
        clients: how many of each kind: with and without keep-alive, pages and orders.
        pause: seconds between two requests of a client.
    """
    load, stop = Load(), threading.Event()
    threads = [
        threading.Thread(target=partial(_ask, address, port, load, stop, pause, keep=keep, order=order), daemon=True)
        for keep in (True, False)
        for order in (True, False)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def _ask(address: str, port: int, load: Load, stop: threading.Event, pause: float, *, keep: bool, order: bool) -> None:
    line = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    while not stop.wait(pause):
        # Like every pool, do not reuse a connection that the server has closed.
        if line.sock is not None and select.select([line.sock], [], [], 0)[0]:
            line.close()
        began = time.monotonic()
        version, failure = "", ""
        try:
            version, failure = _one(line, keep=keep, order=order)
        except (OSError, http.client.HTTPException) as error:
            failure = f"{'order' if order else 'page'}, keep-alive {keep}: {error!r}"
            line.close()
        load.count(version, time.monotonic() - began, failure)
    line.close()


def _one(line: http.client.HTTPConnection, *, keep: bool, order: bool) -> tuple[str, str]:
    headers = {"Content-Type": "application/json", **({} if keep else {"Connection": "close"})}
    body = json.dumps({"product": 1, "quantity": 1}) if order else None
    line.request("POST" if order else "GET", "/api/orders" if order else "/api/products", body, headers)
    answer = line.getresponse()
    text = answer.read()
    wanted = 201 if order else 200
    failure = "" if answer.status == wanted else f"HTTP {answer.status}: {text[:80]!r}"
    return answer.headers.get("X-Shop-Version", "?"), failure
