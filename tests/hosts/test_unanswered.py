"""What hosts say of themselves is not what users meet: the balancer's word counts, and what it cannot move stays."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, Ran, invoke
from tests.hosts.site import Site

On = Callable[[str], Host]
PUBLIC = 8091
PROGRAM = (
    "#!/bin/sh\n{first}\ncd /opt/near/releases/*-{version} && exec python3 -m http.server --bind {address} $PORT\n"
)


def pack(folder: Path, version: str, *, address: str = "0.0.0.0", first: str = ":") -> None:
    files = {"bin/run": PROGRAM.format(version=version, address=address, first=first), "VERSION": f"{version}\n"}
    with tarfile.open(folder / f"near-{version}.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(member, io.BytesIO(content.encode()))


class Near:
    """A small application behind the edge."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def write(self, *, slots: bool, **rollout: str) -> None:
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
            balancer={"hosts": "edge", "port": 8110, "listen": [PUBLIC], "health_path": "/VERSION", "backend": "near"},
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


def test_a_host_that_a_halted_deploy_left_out_gets_its_traffic_with_the_next_one(near: Near) -> None:
    """It was taken for one that somebody had put out by hand, and stayed out for ever."""
    near.write(slots=False, on_failure="halt")
    pack(near.site.folder, "1.2", first="[ $(cat /etc/hostname) != app2 ] || exit 1")
    pack(near.site.folder, "1.3")
    assert near.deploy("1.2").status == 3
    assert set(near.site.traffic()) == {"app1", "app3"}
    done = near.deploy("1.3")
    assert done.status == 0, done.err
    assert "by hand" not in done.err
    assert set(near.site.traffic()) == set(APPS)


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
