"""What status tells a person who has just been woken up."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from playbooks.core.errors import ExitStatus, Unreachable
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.script import load
from playbooks.report.tables import show_status
from playbooks.status import HostStatus, Status, unreachable, way_on
from playbooks.steps.facts import Facts, Unit
from playbooks.traffic.balancer_status import BalancerStatus

FLAG = "--env=production"
SHOW_UNITS = re.compile(r"^show_units\(\) \{.*?^\}", re.MULTILINE | re.DOTALL)


def left(task: str, version: str) -> LockOwner:
    return LockOwner("eve@laptop", f"{task} {version}", "2026-11-21T04:31:00Z", "x", task, version)


@pytest.mark.parametrize(
    ("task", "version", "told"),
    [
        (
            "deploy",
            "2.0.0",
            f"invoke deploy {FLAG} --resume finishes it, invoke rollback {FLAG} undoes it",
        ),
        ("rollback", "1.0.0", f"invoke rollback {FLAG} --to=1.0.0 finishes it"),
        ("rollback", "", f"invoke rollback {FLAG} finishes it"),
        ("backup", "", f"invoke backup {FLAG} does it again"),
    ],
)
def test_what_was_interrupted_says_how_to_go_on(task: str, version: str, told: str) -> None:
    """Only a deploy can be resumed: a rollback is given again, to where it went."""
    assert way_on(left(task, version), FLAG) == told


def test_hosts_that_cannot_be_reached_say_what_to_do_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Three lines of why without a way on leave a person where they were; the same hint thrice is noise."""
    error = Unreachable("no answer", hint="see: invoke host-keys --env=…")
    hosts = (*(unreachable(name, error, FLAG) for name in ("app1", "app2")), HostStatus("app3", health="healthy"))
    show_status(Status("production", "shop", hosts, FLAG))
    assert capsys.readouterr().out.count(f"Next: see: invoke host-keys {FLAG}\n") == 1


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ({}, "a deploy brings all hosts to one version"),
        ({"lock": "eve@laptop, deploy 2.0", "guard": "armed"}, "while a task is at work: eve@laptop, deploy 2.0"),
        ({"interrupted": "eve@laptop, deploy 2.0"}, "it runs 1.0, 2.0\n"),
    ],
)
def test_a_mixed_fleet_is_to_be_deployed_anew_only_where_nobody_is_at_it(
    left: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second deploy in the middle of a canary is not what makes the fleet whole."""
    hosts = (HostStatus("app1", "1.0", health="healthy"), HostStatus("app2", "2.0", health="healthy", **left))
    show_status(Status("production", "shop", hosts, FLAG))
    assert told in capsys.readouterr().out


def test_what_guards_have_done_is_told_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    """INTERRUPTED, and hosts on the old version: had they gone back, or never been switched?"""
    left: dict[str, Any] = {"health": "healthy", "interrupted": "eve@laptop, deploy 2.0", "next": "finish it"}
    back = HostStatus("app1", "1.0", went_back="2026-11-30T10:47:54Z", **left)
    show_status(Status("production", "shop", (back,), FLAG))
    out = capsys.readouterr().out
    assert "Went back by itself, because the controller was silent: app1 to 1.0 at 2026-11-30T10:47:54Z" in out
    assert "Next: finish it (nothing of it runs any more: a rollback changes no host, and finishes with it)" in out
    show_status(Status("production", "shop", (back, HostStatus("app2", "1.0", **left)), FLAG))
    assert "Next: finish it\n" in capsys.readouterr().out


def test_a_balancer_that_lacks_servers_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    """To read of 0 servers is no news to whoever has not provisioned it."""
    edge = BalancerStatus("edge1", "HAProxy", lacks=("the balancer has no server app1",))
    gone = BalancerStatus("edge2", problem="no route to host", hint="is the host up?")
    status = Status("production", "shop", (HostStatus("app1", health="nothing deployed"),), FLAG, (edge, gone))
    show_status(status)
    out = capsys.readouterr().out
    assert "edge2: no route to host" in out
    assert "Next: is the host up?\n" in out
    assert "edge1: HAProxy, 0 of 0 servers in use; the balancer has no server app1" in out
    assert f"Next: invoke provision {FLAG}\n" in out
    assert status.exit_status == ExitStatus.PERSON_NEEDED


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        ({}, ExitStatus.DONE),
        ({"health": "unhealthy"}, ExitStatus.FAILED),
        ({"version": "2.0"}, ExitStatus.FAILED),
        ({"version": "2.0", "lock": "eve@laptop, deploy 2.0"}, ExitStatus.DONE),
        ({"health": "unhealthy", "interrupted": "eve@laptop, deploy 2.0"}, ExitStatus.PERSON_NEEDED),
        ({"health": "unreachable", "version": None}, ExitStatus.PERSON_NEEDED),
    ],
)
def test_monitoring_can_go_by_the_exit_status(hosts: dict[str, Any], wanted: ExitStatus) -> None:
    """It was 0 for a fleet of which no host was healthy."""
    second = HostStatus("app2", **{"version": "1.0", "health": "healthy", **hosts})
    assert Status("production", "shop", (HostStatus("app1", "1.0", health="healthy"), second)).exit_status == wanted


def test_since_is_the_same_whenever_it_is_asked() -> None:
    """Now less the uptime is another second from one look to the next, and whoever compares sees a restart."""
    shows = "printf 'Id=shop.service\\nActiveState=active\\nActiveEnterTimestampMonotonic=5250000\\n'"
    (show_units,) = SHOW_UNITS.findall(load("facts").body)
    script = f"{load('facts').prelude}\nclock=$1\nsystemctl() {{ {shows}; }}\n{show_units}"
    (booted,) = re.findall(r"^btime (\d+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    for clock in ("2000000000", "2000000001"):
        words = ["/bin/sh", "-c", f"{script}\nshow_units unit shop.service", "facts", clock]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == f"unit\tshop.service\tactive\t\t0\t{int(booted) + 5}\n"


def test_since_is_when_the_services_were_started_that_run() -> None:
    """After a reboot, or a restart by hand, the time of the switch is not since when anything runs."""
    units = [
        Unit("web.service", "active", "running", 0, 200),
        Unit("work.service", "active", "running", 2, 300),
        Unit("web.socket", "active", "running", 0, 900),
        Unit("once.service", "active", "exited", 0, 900),
        Unit("job.service", "inactive", "dead", 0, 900),
    ]
    bare = Facts("h1", "", 252, "running", 0, 0, 0, (), {}, "r", 100, {}, (), (), None, None)
    assert replace(bare, units=tuple(units)).runs_since == 300
    assert replace(bare, units=(Unit("web.service", "failed", "failed", 0, 200),)).runs_since is None
    assert bare.runs_since == 100


def test_a_fleet_that_serves_nobody_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Three healthy hosts, a balancer that has none of them, clients with 503: status said nothing but 0 of 3."""
    why = "nobody is served: its check of app1, GET / with Host: shop, gets status 400: Bad Request"
    edge = BalancerStatus("edge1", "HAProxy", servers=3, unserved=why, hint="set slipway_balancer.health_host")
    status = Status("production", "shop", (HostStatus("app1", "1.0", health="healthy"),), FLAG, (edge,))
    show_status(status)
    out = capsys.readouterr().out
    assert f"edge1: HAProxy, 0 of 3 servers in use; {why}" in out
    assert "Next: set slipway_balancer.health_host" in out
    assert status.exit_status == ExitStatus.FAILED
