"""One host without a balancer: its socket stays open through every restart, and no request fails (issue: B4)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.conftest import PROJECT, Ran, invoke
from tests.hosts.steady import steady_load

pytestmark = pytest.mark.load_sensitive("requests run while releases change")

On = Callable[[str], Host]
PORT = 8000
SERVICE = {"name": "shop-web", "template": "shop/shop-web.service.j2"}
SOCKET = {**SERVICE, "socket": f"0.0.0.0:{PORT}"}
CHANGED = {**SERVICE, "socket": [f"0.0.0.0:{PORT}", "/run/shop.sock"]}


class Shop:
    """The example application on one host, with its database on another."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.env = f"--env={folder}/inventory"
        place = folder / "inventory" / "group_vars" / "all"
        place.mkdir(parents=True)
        shutil.copy(lab.folder / "inventory" / "hosts.yml", folder / "inventory" / "hosts.yml")
        shutil.copy(PROJECT / "inventory" / "lab" / "group_vars" / "all.yml", place / "00-lab.yml")
        subprocess.run(
            [PROJECT / "examples" / "build", f"--dist={folder}", "--format=gz"], check=True, capture_output=True
        )

    def write(self, *services: object) -> None:
        changes = {
            "hosts": "app1",
            "artifact": f"{self.folder}/shop-{{version}}.tar.gz",
            "services": list(services),
            "balancer": None,
            "port": PORT,
            "backup": {"enabled": False},
        }
        own = {f"slipway_{key}": value for key, value in changes.items()}
        text = yaml.safe_dump({"shop_rehearsal": False, **own})
        (self.folder / "inventory" / "group_vars" / "all" / "10-test.yml").write_text(text)

    def build_dying(self, version: str) -> None:
        """A version that ends as soon as it is started."""
        with (
            tarfile.open(self.folder / "shop-1.1.0.tar.gz") as old,
            tarfile.open(self.folder / f"shop-{version}.tar.gz", "w:gz") as new,
        ):
            for member in old:
                content = old.extractfile(member)
                data = content.read() if content else b""
                if member.name == "bin/shop":
                    data = b"#!/bin/sh\nexit 3\n"
                    member.size = len(data)
                new.addfile(member, io.BytesIO(data))

    def deploy(self, version: str, *flags: str) -> Ran:
        return invoke("deploy", self.env, f"--version={version}", *flags)


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(lab, tmp_path_factory.mktemp("shop"))
    made.write(SERVICE)
    done = invoke("provision", made.env)
    assert done.status == 0, done.err
    return made


def pid(on: On, unit: str) -> str:
    return str(on("app1").check_output(f"systemctl show --property=MainPID --value {unit}"))


def test_no_request_fails_while_releases_come_and_go(shop: Shop, on: On, specs: dict[str, HostSpec]) -> None:
    """A restart that closes the socket refuses clients; one that hurries cuts them off (B4)."""
    host = on("app1")
    assert shop.deploy("1.0.0").status == 0
    shop.write(SOCKET)
    check = shop.deploy("1.0.0", "--check")
    assert "shop-web.service stopped before" in check.out
    moved = shop.deploy("1.0.0")
    assert moved.status == 0, f"the service listened by itself until now: {moved.err}"
    assert host.socket(f"tcp://0.0.0.0:{PORT}").is_listening
    assert host.service("shop-web.socket").is_enabled
    assert "leave shop-web.socket open" in shop.deploy("1.1.0", "--check").out
    shop.build_dying("1.3.0")
    opened = host.check_output("systemctl show --property=ActiveEnterTimestampMonotonic shop-web.socket")

    with steady_load(specs["app1"].address, PORT) as load:
        assert shop.deploy("1.1.0").status == 0
        assert invoke("rollback", shop.env).status == 0
        broken = shop.deploy("1.2.0")
        assert broken.status == 1, "it is never ready"
        dying = shop.deploy("1.3.0", "--json")
        assert (dying.status, dying.json["status"]) == (1, "rolled back"), "it ends at once"
        assert shop.deploy("1.1.0").status == 0
    print(f"answered: {dict(load.answered)}, failed: {len(load.failed)}, longest wait: {load.longest:.1f} s")
    assert not load.failed, load.failed[:10]
    assert {"1.0.0", "1.1.0", "1.2.0"} == set(load.answered), "it saw no deploy"
    assert load.answered.total() > 2000
    assert opened == host.check_output("systemctl show --property=ActiveEnterTimestampMonotonic shop-web.socket")


def test_a_socket_that_changes_and_one_that_goes(shop: Shop, on: On) -> None:
    """systemd opens no socket whose service runs: a changed one would silently stay what it was."""
    host = on("app1")
    shop.write(SERVICE)
    assert shop.deploy("1.0.0", "--force").status == 0
    assert not host.file("/etc/systemd/system/shop-web.socket").exists
    assert not host.file("/etc/systemd/system/sockets.target.wants/shop-web.socket").is_symlink
    shop.write(SOCKET)
    assert shop.deploy("1.0.0").status == 0
    shop.write(CHANGED)
    assert "open shop-web.socket again" in shop.deploy("1.0.0", "--check").out
    before = pid(on, "shop-web")
    changed = shop.deploy("1.0.0")
    assert changed.status == 1, "the shop takes one socket only; so the way back is proven, too"
    assert not host.file("/run/shop.sock").exists
    assert host.socket(f"tcp://0.0.0.0:{PORT}").is_listening
    assert pid(on, "shop-web") not in ("0", before)
    assert invoke("health", shop.env).status == 0
    for _ in range(2):
        assert invoke("rollback", shop.env).status == 0, "to the release without a socket, and back to it"
        assert invoke("health", shop.env).status == 0
