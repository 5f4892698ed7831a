"""Run the example shop behind a balancer on a lab's hosts, in the test's own environment."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from testinfra.host import Host

from lab.load import Load, loading
from lab.load_plan import Plan
from lab.spec import Lab
from tests.hosts.conftest import APPS, PROJECT, Ran, clear_edge, invoke

RATE = 60.0  # requests a second, because tests of other labs share the two processors
# Stages that take half an hour in production take seconds here, with fewer requests and more frequent looks.
QUICK = {"interval": "1s", "inconclusive": "promote"}
# Two processors for five hosts make good releases slow at random.
CRITERIA = {"errors": "2%", "p99": "10s", "worse_latency": None}


def _health(port: str) -> dict[str, Any]:
    check = {"type": "http", "name": "ready", "url": f"http://127.0.0.1:{port}/health/ready"}
    return {"interval": "500ms", "attempts": 40, "checks": [check]}


SLOTS: dict[str, Any] = {
    "health": _health("{port}"),
    "services": [{"name": "shop-web@", "template": "shop/shop-web.service.j2"}],
    "slots": {"blue": 8001, "green": 8002},
}
IN_PLACE: dict[str, Any] = {
    "health": _health("8000"),
    "services": [{"name": "shop-web", "template": "shop/shop-web.service.j2"}],
    "slots": {},
}


def ladder(*steps: tuple[str, str], **criteria: Any) -> list[dict[str, Any]]:
    """Return a canary's steps of share and duration, all with the same rules."""
    return [{"share": share, "for": seconds, "criteria": {**CRITERIA, **criteria}} for share, seconds in steps]


# Tests of another file may have used the same shop on these hosts.
_CLEAR = """
systemctl stop 'shop-web*' 'slipway-*-shop-*' 2>/dev/null
rm -rf /opt/shop /var/lib/slipway/shop /run/slipway/shop
find /etc/systemd/system '(' -name 'shop-web*' -o -name 'slipway-*-shop-*' ')' -prune -exec rm -rf {} +
systemctl daemon-reload
systemctl reset-failed
"""


@dataclass(frozen=True)
class Site:
    """The environment of the shop.

    Args:
        lab: the lab.
        folder: the folder of its inventory and artifacts.
        edge: the balancer's address.
    """

    lab: Lab
    folder: Path
    edge: str

    @property
    def env(self) -> str:
        return f"--env={self.folder}/inventory"

    def write(self, **settings: Any) -> None:
        """Write the lab's own settings with this test's changes."""
        place = self.folder / "inventory" / "group_vars" / "all"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.lab.folder / "inventory" / "hosts.yml", self.folder / "inventory" / "hosts.yml")
        shutil.copy(PROJECT / "inventory" / "lab" / "group_vars" / "all.yml", place / "00-lab.yml")
        own = {
            "artifact": f"{self.folder}/shop-{{version}}.tar.gz",
            "backup": {"enabled": False},
            "guard": {"timeout": "10s", "settle": "5s"},
            **settings,
        }
        # Without backups there is nothing to rehearse migrations on.
        text = yaml.safe_dump({"shop_rehearsal": False, **{f"slipway_{key}": value for key, value in own.items()}})
        (place / "10-test.yml").write_text(text)

    def build(self, *flags: str) -> None:
        """Make artifacts: the example's, or one with a fault."""
        subprocess.run(
            [PROJECT / "examples" / "build", f"--dist={self.folder}", "--format=gz", *flags],
            check=True,
            capture_output=True,
        )

    def clear(self, on: Callable[[str], Host]) -> None:
        """Remove an earlier shop."""
        for host in ("edge1", "db1"):
            clear_edge(on(host))
        for host in ("edge1", "db1", *APPS):
            assert on(host).run(_CLEAR).rc == 0
        on("db1").run("cd /; runuser -u postgres -- dropdb --if-exists --force shop")

    def provision(self) -> None:
        done = invoke("provision", self.env)
        assert done.status == 0, done.err

    def deploy(self, version: str, *flags: str) -> Ran:
        return invoke("deploy", self.env, f"--version={version}", "--json", *flags)

    def traffic(self) -> dict[str, float]:
        """Return the share of each server that has one."""
        done = invoke("traffic", self.env, "--json")
        return {one["server"]: one["share"] for one in done.json["servers"] if one["share"]}


@contextmanager
def users(site: Site) -> Iterator[Load]:
    """Run users of the shop until the block ends: pages and orders, on kept and new connections."""
    with loading(Plan(f"http://{site.edge}", rate=RATE)) as load:
        time.sleep(2)
        yield load
        time.sleep(2)
        load.report()
