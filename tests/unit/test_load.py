"""The load generator: one that misses a failure proves nothing. A server that counts what it does judges it."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.load import loading, plan_of, run_load
from lab.load_plan import Kind, Plan
from playbooks.core.errors import SlipwayError, UsageError

PROJECT = Path(__file__).resolve().parents[2]
OUTCOMES = {
    "/ok": "ok",
    "/chunked": "ok",
    "/until-close": "ok",
    "/500": "5xx",
    "/404": "4xx",
    "/wrong": "wrong",
    "/short": "short",
    "/short-chunks": "short",
    "/nothing": "short",
    "/reset": "reset",
    "/garbled": "garbled",
    "/hang": "timeout",
}
GOOD = b"HTTP/1.1 200 OK\r\nX-Shop-Version: %s\r\nContent-Length: 4\r\n\r\ngood"
ANSWERS = {
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ngoo\r\n1\r\nd\r\n0\r\n\r\n",
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\ngood",
    "/500": b"HTTP/1.1 500 Oh\r\nX-Shop-Version: 2\r\nContent-Length: 4\r\n\r\ngood",
    "/404": b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "/wrong": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nerror",
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\ngood",
    "/short-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n",
    "/garbled": b"SSH-2.0-OpenSSH\r\n\r\n",
}


class Misbehaving(socketserver.ThreadingTCPServer):
    """A server that does what the path says, and counts it."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.seen: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.connections = 0
        self.mutex = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(socketserver.StreamRequestHandler):
    server: Misbehaving

    def handle(self) -> None:
        with self.server.mutex:
            self.server.connections += 1
        number = 0
        while path := self._request():
            number += 1
            with self.server.mutex:
                self.server.seen[path] += 1
            if path == "/hang":
                time.sleep(4)
            elif path == "/reset" or (path == "/drop-kept" and number % 2 == 0):
                if path == "/reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    os.close(self.connection.detach())
                return
            elif path == "/leave":  # a good answer, and then the connection is closed without a word
                self.wfile.write(GOOD % b"1")
                return
            elif path != "/nothing":
                self.wfile.write(ANSWERS.get(path, GOOD % b"1"))
            if path not in ("/ok", "/chunked", "/500", "/404", "/wrong", "/drop-kept", "/slow"):
                return

    def _request(self) -> str:
        first = self.rfile.readline().split()
        length, cookie = 0, b""
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
            cookie = value.strip() if name.lower() == b"cookie" else cookie
        with self.server.mutex:
            self.server.bodies[self.rfile.read(length) + cookie] += 1
        return first[1].decode() if first else ""


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with Misbehaving() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("keep", [True, False])
def test_every_failure_is_counted_as_what_it_is(server: Misbehaving, keep: bool) -> None:
    """Each request the server spoilt must be among the failed, and not one more."""
    mix = [Kind(path, path=path, keep=keep, expect=b"good" if path == "/wrong" else b"") for path in OUTCOMES]
    with loading(Plan(server.url, clients=4, mix=mix, timeout=0.3)) as load:
        time.sleep(1.5)
    report = load.report()
    by_path = Counter((sample.kind, sample.outcome) for sample in report.samples)
    for path, outcome in OUTCOMES.items():
        # Where not a byte came back, it matters whether the connection was a kept one.
        found = by_path[path, outcome] + (by_path[path, "dropped"] if path in ("/nothing", "/reset") and keep else 0)
        assert found == server.seen[path] > 0, by_path
    assert len(report.samples) == server.seen.total()
    assert report.failed == sum(server.seen[path] for path, outcome in OUTCOMES.items() if outcome != "ok")
    assert set(report.versions) == {"1", "2", "-"}


def test_a_kept_connection_that_breaks_is_a_failure_and_one_that_was_closed_before_is_none(server: Misbehaving) -> None:
    """A request into a closing connection is lost to its sender; one sent on a new connection instead is not."""
    spoilt = run_load(Plan(server.url, clients=1, seconds=0.5, mix=[Kind("drop", path="/drop-kept")]))
    assert spoilt.outcomes["dropped"] == server.seen["/drop-kept"] // 2 > 0
    assert spoilt.outcomes["ok"] + spoilt.outcomes["dropped"] == server.seen["/drop-kept"]
    closed = run_load(Plan(server.url, rate=20, seconds=0.5, mix=[Kind("leave", path="/leave")]))
    assert closed.outcomes == {"ok": server.seen["/leave"]}


def test_nobody_there() -> None:
    """A host whose application is not up yet is what a careless deploy shows its users."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    report = run_load(Plan(f"http://127.0.0.1:{port}", rate=50, seconds=0.2))
    assert report.outcomes == {"refused": len(report.samples)}
    assert len(report.samples) == 10


def test_users_do_not_wait_for_each_other(server: Misbehaving) -> None:
    """A pause of the server must show as many slow requests, not as few: they are due whatever happens."""
    mix = [Kind("ok", path="/ok", keep=False), Kind("hang", 0.01, path="/hang", keep=False)]
    report = run_load(Plan(server.url, rate=100, seconds=1.0, mix=mix, timeout=2.0))
    # All that were due in its second, but for what a busy machine did not get to at the very end.
    assert 80 <= len(report.samples) <= 100
    assert report.outcomes == {"ok": len(report.samples) - 1, "timeout": 1}
    (slow,) = report.failures()
    assert slow.micros >= 2_000_000
    assert report.between(report.began, report.began + 0.5).of(kind="ok").failed == 0


def test_pools_posts_and_cookies(server: Misbehaving) -> None:
    """Kept connections must be kept and others not, or one way of losing requests is never tried."""
    kept = run_load(Plan(server.url, clients=3, seconds=0.3, mix=[Kind("ok", path="/ok")]))
    assert (kept.failed, server.connections) == (0, 3)
    order = Kind("order", 1, "POST", "/ok", b"{}", {"Cookie": "tester=1"}, keep=False)
    new = run_load(Plan(server.url, clients=3, seconds=0.3, mix=[order]))
    assert new.failed == 0
    assert server.connections == 3 + len(new.samples)
    assert server.bodies[b"{}tester=1"] == len(new.samples)


def test_the_report_adds_up(server: Misbehaving) -> None:
    """Tables are read in the place of requests: they must hold every one, once."""
    command = [sys.executable, "-m", "lab.load", server.url, "--seconds=1.2", "--rate=50", "--path=/500", "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["requests"] == told["failed"] == server.seen["/500"] == told["versions"]["2"]["failed"] == 60
    assert sum(second["failed"] for second in told["timeline"]) == 60
    assert {second["version"] for second in told["timeline"]} == {"2"}


def test_mistakes_are_told() -> None:
    """A load of nothing would find that nothing failed."""
    for wrong in ({}, {"rate": 1.0, "clients": 1}, {"clients": 1, "mix": []}):
        with pytest.raises(UsageError):
            Plan("http://127.0.0.1", **wrong)
    with pytest.raises(UsageError):
        Plan("127.0.0.1", clients=1)
    with pytest.raises(SlipwayError, match="needs an end"):
        run_load(Plan("http://127.0.0.1", clients=1))
    with pytest.raises(UsageError, match="is no header"):
        plan_of("http://127.0.0.1", seconds=1, rate=1, clients=0, header="tester=1")


def test_a_lab_that_is_down_gets_no_load(tmp_path: Path) -> None:
    """The network that it would get is another lab's, or somebody else's."""
    told = subprocess.run(
        [sys.executable, "-m", "invoke", "lab.load", "--name=nobody", "--seconds=1", "--json"],
        cwd=PROJECT,
        env={**os.environ, "SLIPWAY_LAB_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (told.returncode, json.loads(told.stdout)["error"]["message"]) == (2, "lab nobody is down"), told.stderr
