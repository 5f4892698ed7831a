"""Several balancers at once, and connections that last (B4): none is forgotten, none is waited for for ever."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.load import loading
from lab.load_plan import Plan
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, invoke
from tests.hosts.site import IN_PLACE, RATE, Site, users

On = Callable[[str], Host]
# The key and its answer of RFC 6455, 1.3.
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
# Speaks just enough HTTP: a health check, and an upgrade to lines that are sent back until either side has enough.
SERVER = b"""#!/usr/bin/python3
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = []
        while (line := self.rfile.readline().strip()):
            head.append(line.lower())
        if b"upgrade: websocket" in head:
            self.wfile.write(b"HTTP/1.1 101 Switching\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n")
            self.wfile.write(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
            for line in self.rfile:
                self.wfile.write(line)
        elif head:
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nup\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("0.0.0.0", 8100), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def site(lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(lab, tmp_path_factory.mktemp("edges"), specs["edge1"].address)
    made.clear(on)
    return made


def test_all_balancers_move_together(site: Site, specs: dict[str, HostSpec]) -> None:
    """A balancer that is forgotten sends people to hosts that restart. Here the database's host balances as well."""
    site.write(**IN_PLACE, balancer={"hosts": "edge:db", "port": 8000})
    site.build()
    site.provision()
    assert site.deploy("1.0.0").status == 0
    with users(site) as load, loading(Plan(f"http://{specs['db1'].address}", rate=RATE / 2)) as other:
        done = site.deploy("1.1.0")
        assert done.status == 0, done.err
    for each in (load.report(), other.report()):
        assert each.failed == 0, each.text()
        assert len(each.samples) > 100
    seen = invoke("traffic", site.env, "--json").json["servers"]
    assert {(one["edge"], one["server"]) for one in seen if one["share"]} == {
        (edge, app) for edge in ("edge1", "db1") for app in APPS
    }


@contextmanager
def websocket(address: str) -> Iterator[socket.socket]:
    """A connection that has been upgraded, through the balancer."""
    with socket.create_connection((address, 8090), timeout=10) as client:
        head = [b"GET /live HTTP/1.1", b"Host: live", b"Upgrade: websocket", b"Connection: Upgrade", KEY]
        client.sendall(b"\r\n".join([*head, b"", b""]))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1)
        assert b" 101 " in answer.split(b"\r\n")[0], answer
        yield client


def echoes(client: socket.socket) -> bool:
    try:
        client.sendall(b"hello\n")
        return client.recv(6) == b"hello\n"
    except OSError:
        return False


def pack(folder: Path, version: str) -> None:
    with tarfile.open(folder / f"live-{version}.tar.gz", "w:gz") as tar:
        for name, content, mode in (("bin/run", SERVER, 0o755), ("VERSION", version.encode(), 0o644)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))


def test_a_websocket_is_waited_for_and_then_told(site: Site) -> None:
    """Long-lived connections end when their host changes: not at once, not never, and whoever deploys is told."""
    for version in ("1.0", "1.1", "1.2"):
        pack(site.folder, version)
    site.write(
        app="live",
        user="www-data",
        artifact=f"{site.folder}/live-{{version}}.tar.gz",
        services=[{"name": "live", "unit": {"Service": {"ExecStart": "/opt/live/current/bin/run"}}}],
        config=[],
        databases=[],
        health={"interval": "300ms", "checks": [{"type": "http", "name": "up", "url": "http://127.0.0.1:8100/"}]},
        balancer={
            "hosts": "edge",
            "port": 8100,
            "listen": [8090],
            "health_path": "/",
            "drain": "4s",
            "backend": "live",
        },
    )
    site.provision()
    assert site.deploy("1.0").status == 0
    with websocket(site.edge) as client:
        assert echoes(client)
        client.close()
        done = site.deploy("1.1")
        assert done.status == 0, done.err
        assert "in flight" not in done.err
    with websocket(site.edge) as client:
        done = site.deploy("1.2")
        assert done.status == 0, done.err
        assert done.err.count("1 request in flight on app") == 1
        assert not echoes(client)
    with websocket(site.edge) as client:
        assert echoes(client)
