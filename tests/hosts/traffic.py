"""Run traffic through a real balancer: servers, a steady load, and an object that moves it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import Lab
from playbooks.core.errors import StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import HeldLocks, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Silent
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.judgement.counts import Counts
from playbooks.settings.rollout import Headroom
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import BalancerGuard, ServerWeight, TrafficMove, read_traffic_move, traffic_call
from playbooks.steps.traffic_counts import Counted, Meter, counts_call
from playbooks.steps.traffic_probe import probe_call, read_probes
from playbooks.steps.traffic_state import BalancerState, maintenance_call, read_state, state_call
from playbooks.traffic.headroom import wait_for_headroom
from playbooks.traffic.readings import BalancerReadings
from playbooks.traffic.servers import default_weights
from tests.hosts.conftest import APPS, PROJECT, App, clear_edge, invoke
from tests.hosts.named_connection import NamedConnection

EDGE = "edge1"
PORT, PUBLIC = 9500, 8088
TESTERS = {"header": {"name": "X-Release", "value": "next"}, "cookie": {"name": "release", "value": "next"}}
AS_TESTER = ({"X-Release": "next"}, {"Cookie": "a=b; release=next"})
UNIT = "traffic-app"
RELEASED = "/run/traffic-app.released"  # an answer of /held waits until this file exists
# The release: a program that answers with its host's name, and fails on request.
PROGRAM = f"""
import os, socket, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def do_GET(self):
        word, _, rest = self.path.strip("/").partition("/")
        if word == "slow": time.sleep(float(rest))
        if word == "drop": self.close_connection = True; return
        if word == "held": return self.hold()
        body = socket.gethostname().encode()
        self.send_response(int(rest) if word == "status" else 200)
        self.send_header("Content-Length", str(len(body)))
        self._headers_buffer += [b"\\r\\n", body]; self.flush_headers()
    def hold(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while not os.path.exists("{RELEASED}"): self.wfile.write(b"."); time.sleep(0.2)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"])); self.do_GET()
class Server(ThreadingHTTPServer):
    request_queue_size = 128
Server(("", {PORT}), Handler).serve_forever()
"""


def start_server(host: Host) -> None:
    """Run the program on a host."""
    code = base64.b64encode(PROGRAM.encode()).decode()
    host.check_output(f"sh -c 'systemctl reset-failed {UNIT} 2>/dev/null; echo {code} | base64 -d >/run/{UNIT}.py'")
    host.check_output(f"systemd-run --quiet --unit={UNIT} python3 /run/{UNIT}.py")


def stop_server(host: Host) -> None:
    """Stop the program like a restart; requests in flight are lost."""
    host.check_output(f"systemctl kill --signal=KILL {UNIT}")
    host.run(f"systemctl stop {UNIT}")


@dataclass
class Load:
    """Clients that run until they are stopped. Each keeps its connection, except fresh ones.

    Args:
        address: the balancer's address.
        port: the balancer's port.
        trusted: for TLS, the trusted certificate in PEM format, and its name.
        served: the answers by server.
        log: the time of each answer, by time.monotonic, and its server.
        failed: the failures, in words.
        again: the number of GETs sent again because the idle connection was closed (RFC 9112, 9.3.1).
    """

    address: str
    port: int = PUBLIC
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted: tuple[str, str] | None = None
    served: Counter[str] = field(default_factory=Counter)
    log: list[tuple[float, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    again: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, kinds: Sequence[str] = ("GET", "GET", "POST", "fresh GET", "fresh POST")) -> Iterator[Load]:
        """Run clients of these kinds, each in a thread."""
        threads = [threading.Thread(target=self._client, args=(kind,)) for kind in kinds]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def since(self, seconds: float) -> Counter[str]:
        """Return the servers that answer within the next seconds."""
        before = self.served.copy()
        time.sleep(seconds)
        return self.served - before

    def after_return(self, name: str, since: float, seconds: float) -> Counter[str]:
        """Return who answered within seconds after a server's first answer since a time."""
        answers = [(at, who) for at, who in self.log if at >= since]
        first = next(at for at, who in answers if who == name)
        return Counter(who for at, who in answers if at < first + seconds)

    def _client(self, kind: str) -> None:
        fresh, method = kind.startswith("fresh"), kind.split()[-1]
        connection = self._connect()
        used = False
        while not self._stop.is_set():
            try:
                self._ask(connection, method)
                used = not fresh
            except (OSError, http.client.HTTPException) as error:
                if used and method == "GET" and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                    self.again += 1
                else:
                    self.failed.append(f"{kind}: {error!r}")
                used = False
            if not used:
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self.trusted:
            return NamedConnection(self.address, self.port, self.trusted)
        return http.client.HTTPConnection(self.address, self.port, timeout=20)

    def _ask(self, connection: http.client.HTTPConnection, method: str) -> None:
        connection.request(method, "/", body=b"x" * 200 if method == "POST" else None, headers=dict(self.headers))
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status == 200:
            self.served[body] += 1
            self.log.append((time.monotonic(), body))
        else:
            self.failed.append(f"{method}: {answer.status}")


@dataclass(frozen=True)
class Fetched:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str


def fetch(address: str, path: str = "/", headers: Mapping[str, str] | None = None, port: int = PUBLIC) -> Fetched:
    """Send one request through the balancer."""
    connection = http.client.HTTPConnection(address, port, timeout=30)
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return Fetched(answer.status, dict(answer.getheaders()), text)


@dataclass
class Hand:
    """Moves traffic on the balancer, under its lock.

    Args:
        env: the inventory.
        remote: the balancer's host.
        held: its lock.
        seconds: the guard's timeout.
    """

    env: Environment
    remote: Remote
    held: HeldLocks
    seconds: int
    settle: float = 1.0

    @property
    def balancer(self) -> Balancer:
        assert self.env.settings.balancer
        return self.env.settings.balancer

    @property
    def normal(self) -> dict[str, ServerWeight]:
        """Return all servers' normal weights."""
        return {share.server.name: share for share in default_weights(self.env)}

    def shares(self, **changes: ServerWeight | int | None) -> list[ServerWeight]:
        """Return the weights of servers; None is off."""
        normal = self.normal
        for name, change in changes.items():
            if isinstance(change, ServerWeight):
                normal[name] = change
            else:
                normal[name] = replace(normal[name], weight=change or 0, on=change is not None)
        return list(normal.values())

    def move(
        self,
        shares: Sequence[ServerWeight],
        *,
        failover: Sequence[ServerWeight] = (),
        drain: float = 10,
        up: float = 10,
        slow: float = 0,
    ) -> TrafficMove:
        """Move traffic as a rollout does."""
        final = list(self.normal.values())
        record = {"task": "guard", "id": "t-1", "environment": "test", "version": "1", "hosts": {EDGE: "by its guard"}}
        guard = BalancerGuard("t-1", self.seconds, self.settle, failover or final, final, record)
        settings = self.env.target(EDGE).settings
        ask = traffic_call(self.balancer, settings, shares, guard=guard, drain=drain, up=up, slow=slow)
        return read_traffic_move(self.ask(ask))

    def ask(self, ask: StepCall) -> StepResult:
        (answer,) = self.remote.chain([ask])
        return answer

    def state(self) -> BalancerState:
        return read_state(self.ask(state_call(self.balancer, self.env.target(EDGE).settings)))

    def count(self, meter: Meter) -> Mapping[str, Counts]:
        return meter.feed(self.ask(counts_call(self.balancer, self.env.target(EDGE).settings, meter.cursor)))

    def read(self, meter: Meter) -> Counted:
        return meter.read(self.ask(counts_call(self.balancer, self.env.target(EDGE).settings, meter.cursor)))

    def maintenance(self, *, on: bool) -> tuple[str, ...]:
        answer = self.ask(maintenance_call(self.balancer, self.env.target(EDGE).settings, on=on))
        return answer.one("maintenance", 2)

    def confirm(self) -> None:
        """Confirm the move."""
        assert self.held.confirm([EDGE]) == {}
        self.held.succeeded = True


@contextlib.contextmanager
def hand(inventory: str, *, undo: bool = False) -> Iterator[Hand]:
    """Lock the balancer of an inventory, as a deploy does."""
    env = load_environment(inventory, PROJECT)
    owner = LockOwner("tester@here", "deploy 1", "2026-11-21T00:00:00Z", "t-1", "deploy", "1")
    address = env.target(EDGE).address
    with (
        open_fleet([address], progress=Silent(), forks=4, acts=True) as fleet,
        fleet.lock(lock_requests(env, [EDGE], owner, wait=20, undo=undo)) as held,
    ):
        fleet.require_all()
        yield Hand(env, fleet.remotes[EDGE], held, round(env.settings.guard.timeout))


@contextlib.contextmanager
def doomed(inventory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a controller that takes app1 and app2 off, reports it, and waits to be killed; its guard restores app2."""
    code = (
        "import sys, time\nfrom tests.hosts.traffic import hand\n"
        f"with hand({str(inventory)!r}) as edge:\n"
        "    edge.settle = 3.0\n"
        "    edge.move(edge.shares(app1=None, app2=None), failover=edge.shares(app1=None, app3=None))\n"
        "    print('moved', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "moved\n"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def reload_fails(host: Host, unit: str) -> Iterator[None]:
    """Make a systemd unit fail to reload for a while."""
    drop_in = f"/run/systemd/system/{unit}.service.d"
    broken = r"printf '[Service]\nExecReload=\nExecReload=false\n'"
    host.check_output(f"mkdir -p {drop_in} && {broken} >{drop_in}/broken.conf && systemctl daemon-reload")
    try:
        yield
    finally:
        host.check_output(f"rm -r {drop_in} && systemctl daemon-reload")


def nobody_waits_for_what_is_idle(inventory: str, app1: Host) -> None:
    """Check that a server without a release is reported as slow at once, and not as drift."""
    with hand(inventory) as it:
        it.move(it.shares(app1=None))
        stop_server(app1)
        try:
            shares = [replace(share, idle=share.server.name == "app1") for share in it.shares()]
            assert it.move(shares, up=600).slow == ("app1",)
            assert it.state().drift == []
        finally:
            start_server(app1)


def what_clients_met(edge: Hand, meter: Meter, address: str, name: str, on: Callable[[str], Host]) -> None:
    """Check that each client request is counted once, also without an answer."""
    edge.read(meter)
    stop_server(on(name))
    try:
        statuses = [fetch(address).status for _ in range(4)]
        seen = edge.read(meter)
    finally:
        start_server(on(name))
    assert all(status >= 500 for status in statuses)
    assert (seen.whole.requests, seen.whole.errors) == (4, 4)


def what_the_check_gets(edge: Hand) -> None:
    """Check that the probe equals the balancer's health check, and how its answer is reported."""
    settings, servers = edge.env.target(EDGE).settings, [share.server for share in edge.normal.values()]
    servers[2] = replace(servers[2], port=1)
    bad = edge.balancer.model_copy(update={"health_path": "/status/400"})
    for balancer, status in ((edge.balancer, 200), (bad, 400)):
        found = read_probes(edge.ask(probe_call(balancer, settings, servers)))
        assert [(probe.server, probe.status) for probe in found] == [("app1", status), ("app2", status), ("app3", 0)]
        assert [probe.text for probe in found[:2]] == ["app1", "app2"]
        assert "connect" in found[2].text


def a_fleet_that_drowns(inventory: str, address: str) -> None:
    """Check that no server is taken off while most requests take seconds, and that this ends with them."""
    env = load_environment(inventory, PROJECT)
    limits = Headroom.model_validate({"p50": "1s", "wait": "4s"})
    with open_fleet([env.target(EDGE).address], progress=Silent(), forks=4) as fleet:
        readings = BalancerReadings(fleet, env, [EDGE])
        readings.read_states()

        def leave(wait: float, *, ignore_headroom: bool = False) -> float:
            began = time.monotonic()
            some = limits.model_copy(update={"wait": wait})
            wait_for_headroom(readings, some, ["app1"], ["app1"], Silent(), ignore_headroom=ignore_headroom)
            return time.monotonic() - began

        assert leave(4.0) < 2, "nobody waits where there is nothing to wait for"
        load = [threading.Thread(target=lambda: [fetch(address, "/slow/1.9") for _ in range(6)]) for _ in range(30)]
        for client in load:
            client.start()
        time.sleep(1)
        with pytest.raises(
            StepFailed, match=r"half of the requests of the last \d+ s took longer than 1,000 ms"
        ) as caught:
            leave(4.0)
        assert caught.value.code == StepCode.HEADROOM
        assert leave(4.0, ignore_headroom=True) < 2
        for client in load:
            client.join()
        leave(30.0)


def make_edge(lab: Lab, folder: Path, on: Callable[[str], Host], kind: str, **balancer: object) -> App:
    """Make an inventory with a provisioned balancer of this kind, and a server on each host behind it."""
    app = App(f"edge-{kind}", PORT, folder, lab)
    given = {"hosts": "edge", "kind": kind, "port": PORT, "listen": [PUBLIC], "testers": TESTERS, **balancer}
    app.write(
        app=app.name, hosts="app", user="www-data", backup={"enabled": False}, guard={"timeout": 6}, balancer=given
    )
    clear_edge(on(EDGE))
    for unit in {"haproxy", "nginx"} - {kind}:
        on(EDGE).run(f"systemctl disable --now {unit}")
    for name in APPS:
        on(name).run(f"systemctl stop {UNIT}")
        start_server(on(name))
    ran = invoke("provision", app.env)
    assert ran.status == 0, ran.err
    return app
