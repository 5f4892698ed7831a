"""What hosts say of themselves is not what users meet: the balancer's word counts, and what it cannot move stays."""

from __future__ import annotations

import io
import json
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from lab.load import loading
from lab.load_plan import Kind, Plan
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, App, Ran, clear_edge, invoke, wait_until
from tests.hosts.site import Site

pytestmark = pytest.mark.load_sensitive("requests run while releases change")

On = Callable[[str], Host]
PUBLIC = 8091
GONE = "127.99.0.1"  # nobody is there
PROGRAM = (
    "#!/bin/sh\n{first}\ncd /opt/near/releases/*-{version} && exec python3 -m http.server --bind {address} $PORT\n"
)


# One request after the other, three a second: what is more than that waits, and so do the balancer's checks.
SLOW = """#!/usr/bin/python3
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        time.sleep(0.3 if self.path == "/" else 0)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"VERSION\\n")
HTTPServer.request_queue_size = 128
HTTPServer(("0.0.0.0", 8110), Handler).serve_forever()
"""


def pack_slow(folder: Path, version: str) -> None:
    pack(folder, version, program=SLOW.replace("VERSION", version))


def pack(folder: Path, version: str, *, address: str = "0.0.0.0", first: str = ":", program: str | None = None) -> None:
    run = program or PROGRAM.format(version=version, address=address, first=first)
    files = {"bin/run": run, "VERSION": f"{version}\n"}
    with tarfile.open(folder / f"near-{version}.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(member, io.BytesIO(content.encode()))


class Near:
    """A small application behind the edge."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def write(self, *, slots: bool, asked: str = "/VERSION", **rollout: Any) -> None:
        port = "{port}" if slots else "8110"
        run = {"ExecStart": "/opt/near/current/bin/run", **({} if slots else {"Environment": "PORT=8110"})}
        self.site.write(
            app="near",
            user="www-data",
            artifact=f"{self.site.folder}/near-{{version}}.tar.gz",
            services=[{"name": "near@" if slots else "near", "unit": {"Service": run}}],
            config=[],
            databases=[],
            rollout=rollout,
            slots={"blue": 8111, "green": 8112} if slots else {},
            health={"interval": "300ms", "checks": [{"type": "http", "url": f"http://127.0.0.1:{port}/VERSION"}]},
            balancer={"hosts": "edge", "port": 8110, "listen": [PUBLIC], "health_path": asked, "backend": "near"},
        )
        self.site.provision()

    def deploy(self, version: str) -> Ran:
        return self.site.deploy(version)

    def answer(self) -> str:
        with urllib.request.urlopen(f"http://{self.site.edge}:{PUBLIC}/VERSION", timeout=10) as answer:
            return str(answer.read().decode().strip())


@pytest.fixture(scope="module")
def near(lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory) -> Near:
    made = Site(lab, tmp_path_factory.mktemp("near"), specs["edge1"].address)
    made.clear(on)
    return Near(made)


def test_a_deploy_is_not_done_while_nobody_is_served(near: Near, on: On) -> None:
    """Every host was healthy by its own word, the balancer had none of them up, clients got 503: deployed, exit 0."""
    near.write(slots=False, asked="/none")
    pack(near.site.folder, "1.0")
    done = near.deploy("1.0")
    assert (done.status, done.json["status"]) == (1, "rolled back"), done.err
    for said in (
        "nobody is served: HAProxy on edge1 has 0 of 3 servers up",
        "GET /none with Host: near, gets status 404",
    ):
        assert said in done.json["message"]
    assert "slipway_balancer.health_path" in done.json["next"]
    assert not on("app1").file("/opt/near/current").exists
    near.write(slots=False)
    assert near.deploy("1.0").status == 0
    near.write(slots=False, asked="/none")
    wait_until(lambda: "nobody is served" in invoke("status", near.site.env).out)
    looked = invoke("status", near.site.env)
    assert looked.status == 1
    told = looked.out
    assert "nobody is served: its check of app1, GET /none with Host: near, gets status 404" in told
    assert "Next: set slipway_balancer.health_path" in told


def test_a_release_that_no_user_could_reach_ends_at_its_first_host(near: Near) -> None:
    """B1: it listens on loopback alone, so its host's own checks pass; it went on until one host was left."""
    near.write(slots=False)
    for version, address in (("1.0", "0.0.0.0"), ("1.1", "127.0.0.1")):
        pack(near.site.folder, version, address=address)
    assert near.deploy("1.0").status == 0
    done = near.deploy("1.1")
    assert (done.status, done.json["status"]) == (1, "rolled back"), done.err
    assert "not for the balancer on edge1" in done.json["message"]
    assert {host["host"]: host["result"] for host in done.json["hosts"]} == {
        "app1": "rolled back",
        "app2": "untouched",
        "app3": "untouched",
    }
    assert set(near.site.traffic()) == set(APPS)
    assert near.answer() == "1.0"


def test_the_only_server_may_be_slow_to_restart(app: App, on: On) -> None:
    """It stays on, so a check of the balancer fails meanwhile; the deploy was taken back before the next one."""
    clear_edge(on("edge1"))
    # HAProxy asks a server that is down this seldom.
    seldom = {"backend": ["default-server downinter 3s"]}
    app.write(
        hosts="app1",
        balancer={"hosts": "edge", "port": app.port, "listen": [8093], "health_path": "/VERSION", "extra": seldom},
    )
    for version, wait in (("1.0.0", 0), ("1.1.0", 3)):
        app.build(version, line=f"sleep {wait}; exec python3 -m http.server {app.port}")
    assert invoke("provision", app.env).status == 0
    assert app.deploy("1.0.0").status == 0
    wait_until(lambda: invoke("traffic", app.env).status == 0)
    deployed = app.deploy("1.1.0")
    assert deployed.status == 0, deployed.out + deployed.err
    assert "does not answer the balancer's health check" not in deployed.err
    clear_edge(on("edge1"))


def test_a_host_that_a_halted_deploy_left_out_gets_its_traffic_with_the_next_one(near: Near) -> None:
    """It was taken for one that somebody had put out by hand, and stayed out for ever."""
    near.write(slots=False, on_failure="halt")
    pack(near.site.folder, "1.2", first="[ $(cat /etc/hostname) != app2 ] || exit 1")
    pack_slow(near.site.folder, "1.3")
    assert near.deploy("1.2").status == 3
    assert set(near.site.traffic()) == {"app1", "app3"}
    done = near.deploy("1.3")
    assert done.status == 0, done.err
    assert "by hand" not in done.err
    assert set(near.site.traffic()) == set(APPS)


def test_a_fleet_that_drowns_loses_no_host_to_a_deploy(near: Near) -> None:
    """Most requests waited for seconds or failed, and it went on batch by batch, and was interrupted."""
    pack_slow(near.site.folder, "1.3")
    pack(near.site.folder, "1.4")
    near.write(slots=False, headroom={"wait": "3s"})
    assert near.deploy("1.3").status == 0
    with loading(Plan(f"http://{near.site.edge}:{PUBLIC}", clients=40, mix=[Kind("page")], timeout=20)):
        time.sleep(3)
        done = near.deploy("1.4")
    assert (done.status, done.json["status"]) == (1, "rolled back"), done.err
    assert {host["result"] for host in done.json["hosts"]} == {"untouched"}
    assert "app1 was not taken out: after 3 s the others still have no headroom" in done.json["message"]
    assert "--force" in done.json["next"]
    assert done.json["requests"]["during"]["requests"] > 0
    last = invoke("history", near.site.env, "--json").json["records"][0]
    assert last["requests"] == done.json["requests"]
    # What clients left behind is answered first: 3 s are few for that.
    near.write(slots=False)
    quiet = near.deploy("1.4")
    assert quiet.status == 0, quiet.err


def test_a_balancer_that_is_gone_keeps_nobody_from_the_others(near: Near) -> None:
    """G2, G3: a person who has lost one needs the page on the other; it was refused, and numbers were a traceback."""
    near.write(slots=False)
    pack(near.site.folder, "1.4")
    assert near.deploy("1.4").status == 0
    place = near.site.folder / "inventory" / "hosts.yml"
    place.write_text(place.read_text() + f"gone:\n  hosts:\n    gone1: {{ansible_host: {GONE}, ansible_port: 1}}\n")
    settings = near.site.folder / "inventory" / "group_vars" / "all" / "10-test.yml"
    settings.write_text(settings.read_text().replace("hosts: edge", 'hosts: "edge:gone"'))
    env = near.site.env
    on = invoke("maintenance", env, "--on")
    assert on.status == 3, on.err
    assert "gone1" in on.err
    assert "maintenance on is done on edge1" in on.err
    with pytest.raises(urllib.error.HTTPError, match="503"):
        near.answer()
    assert invoke("maintenance", env, "--off").status == 3
    assert near.answer()
    counted = invoke("error-rate", env, "--over=1s", "--json")
    assert counted.status == 0, counted.err
    assert "without gone1" in counted.err
    assert {one["name"] for one in counted.json["servers"]} == set(APPS)


def test_a_rollback_whose_traffic_cannot_be_moved_leaves_what_has_it(near: Near, on: On) -> None:
    """A6: the balancer does not reach the old slot. The slot with all of the traffic was stopped all the same."""
    near.write(slots=True)
    for version in ("2.0", "2.1"):
        pack(near.site.folder, version)
        done = near.deploy(version)
        assert done.status == 0, done.err
    slot = "blue" if "app1-green" in near.site.traffic() else "green"
    port = {"blue": 8111, "green": 8112}[slot]
    wall = f"""add table ip wall; add chain ip wall in {{ type filter hook input priority 0; }};
        add rule ip wall in ip saddr {near.site.edge} tcp dport {port} drop"""
    for app in APPS:
        on(app).check_output(f"nft '{wall}'")
    try:
        back = invoke("rollback", near.site.env, "--reason=test", "--json")
        assert back.status == 3, back.err
        assert near.answer() == "2.1"
        units = [f"near@{'green' if slot == 'blue' else 'blue'}.service"]
        assert json.loads(back.out)["status"] == "stuck"
        for app in APPS:
            assert on(app).service(units[0]).is_running
    finally:
        for app in APPS:
            on(app).check_output("nft delete table ip wall")
    assert "--to=2.0" in back.json["next"]
    again = invoke("rollback", near.site.env, "--to=2.0", "--reason=test", "--json")
    assert again.status == 0, again.err
    assert near.answer() == "2.0"


def test_what_was_halted_at_a_share_goes_back_from_there(near: Near, on: On) -> None:
    """B2: at 20 % its process ends. The old slot has 80 % until somebody decides, and all of it from then on."""
    step = {"for": "60s", "criteria": {"errors": "2%"}}
    ladder = [{"share": share, **step} for share in ("20%", "100%")]
    near.write(slots=True)
    pack(near.site.folder, "2.0")
    assert near.deploy("2.0").status == 0
    near.write(slots=True, on_failure="halt", strategy="blue-green", blue_green=ladder, judgement={"interval": "1s"})
    pack(near.site.folder, "2.2", first="(sleep 8; kill -9 $$) &")
    before = near.site.traffic()
    done = near.deploy("2.2")
    assert (done.status, done.json["status"]) == (3, "halted"), done.err
    halted = near.site.traffic()
    assert sum(halted[server] for server in before) > 0.7, halted
    unit = "near@blue" if "app1-blue" in before else "near@green"
    pids = {app: on(app).check_output(f"systemctl show -P MainPID {unit}") for app in APPS}
    back = invoke("rollback", near.site.env, "--reason=test", "--json")
    assert back.status == 0, back.err
    assert set(near.site.traffic()) == set(before)
    assert pids == {app: on(app).check_output(f"systemctl show -P MainPID {unit}") for app in APPS}
    assert near.answer() == "2.0"
