"""Blue-green with two groups of hosts (B2): no request is lost, and the group that serves is never touched."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab import machine, network
from lab.load_report import OK, Report
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, INVOKE, PROJECT, invoke, wait_until
from tests.hosts.site import IN_PLACE, QUICK, Site, ladder, users

pytestmark = pytest.mark.load_sensitive("guards' clocks run beside requests")

On = Callable[[str], Host]
BLUE, GREEN = ("app1",), ("app2", "app3")
TIMER = "slipway-idle-shop-all-units.timer"


def write(site: Site, *steps: tuple[str, str], on_failure: str = "rollback", **settings: object) -> None:
    """Two uneven groups, since somebody will have such."""
    climb = ladder(*(steps or (("25%", "4s"), ("100%", "4s"))))
    rollout = {"blue_green": climb, "judgement": QUICK, "on_failure": on_failure}
    site.write(**IN_PLACE, groups={"blue": "app1", "green": "app2:app3"}, rollout=rollout, **settings)


@pytest.fixture(scope="module")
def site(lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(lab, tmp_path_factory.mktemp("groups"), specs["edge1"].address)
    made.clear(on)
    write(made)
    made.build()
    made.provision()
    first = made.deploy("1.0.0")
    assert first.status == 0, first.err
    return made


def failures(report: Report) -> list[str]:
    return [f"{sample.outcome} {sample.kind} {sample.version}" for sample in report.samples if sample.outcome != OK]


def processes(on: On, hosts: tuple[str, ...]) -> dict[str, str]:
    """The service's process on each host: another one means that it was started anew."""
    return {host: on(host).check_output("systemctl show -P MainPID shop-web") for host in hosts}


def releases(on: On) -> dict[str, str]:
    return {host: on(host).check_output("readlink /opt/shop/current") for host in APPS}


def runs(on: On) -> dict[str, str]:
    """Versions; the same version can be deployed twice."""
    return {host: release.partition("-")[2] for host, release in releases(on).items()}


def test_a_release_goes_to_the_idle_group_and_the_way_back_is_a_switch(site: Site, on: On) -> None:
    """The first deploy is everybody's; then one group changes while the other serves, and stays as it was."""
    assert set(site.traffic()) == set(BLUE)
    assert set(runs(on).values()) == {"1.0.0"}
    assert invoke("deploy", site.env, "--version=1.1.0", "--strategy=rolling").status == 2
    blue = processes(on, BLUE)
    with users(site) as load:
        done = site.deploy("1.1.0")
        assert done.status == 0, done.err
        assert set(site.traffic()) == set(GREEN)
        assert runs(on) == {"app1": "1.0.0", "app2": "1.1.0", "app3": "1.1.0"}
        assert site.deploy("1.1.0").json["status"] == "unchanged"
        assert on("app1").service(TIMER).is_running
        green = processes(on, GREEN)

        told = invoke("status", site.env, "--json").json
        assert (told["mixed"], told["live"]) == (False, "green")
        assert "green (live) 1.1.0, blue 1.0.0" in invoke("status", site.env).out

        plan = invoke("rollback", site.env, "--check").out
        assert "all of the traffic goes to blue" in plan and "1.1.0, without traffic, and stop its units after" in plan
        back = invoke("rollback", site.env, "--reason=test", "--json")
        assert back.status == 0, back.err
        assert back.json["status"] == "done"
        assert set(site.traffic()) == set(BLUE)
    assert failures(load.report()) == []
    assert {sample.version for sample in load.report().samples} == {"1.0.0", "1.1.0"}
    assert (processes(on, BLUE), processes(on, GREEN)) == (blue, green), "a switch of traffic starts nothing"
    assert not on("app1").file(f"/etc/systemd/system/{TIMER}").exists, "it would stop what serves now"
    for host in APPS:
        assert back.json["id"] in on(host).check_output("tail -n 1 /var/lib/slipway/shop/ledger")
    again = invoke("rollback", site.env)
    assert again.status == 2, "forward to the release that was just left is no way back"


def test_what_was_kept_long_enough_is_stopped_and_comes_back(site: Site, on: On) -> None:
    """Stopped under the users it would be an outage; never stopped it is a second fleet to feed."""
    write(site, ("100%", "2s"), keep_idle="5s")
    with users(site) as load:
        done = site.deploy("1.1.0", "--force")
        assert done.status == 0, done.err
        wait_until(lambda: not on("app1").service("shop-web").is_running, seconds=30)
        assert not on("app1").service("shop-web").is_enabled
        wait_until(lambda: not on("app1").file(f"/etc/systemd/system/{TIMER}").exists)
        told = {host["host"]: host["health"] for host in invoke("status", site.env, "--json").json["hosts"]}
        assert told == {"app1": "stopped", "app2": "healthy", "app3": "healthy"}
        assert invoke("health", site.env).status == 0
        write(site, ("100%", "2s"))
        back = invoke("rollback", site.env)
        assert back.status == 0, back.err
        assert set(site.traffic()) == set(BLUE)
    assert failures(load.report()) == []
    assert on("app1").service("shop-web").is_enabled
    assert invoke("status", site.env, "--json").json["hosts"][0]["health"] == "healthy"


def test_a_controller_that_dies_leaves_the_traffic_where_it_was(site: Site, on: On) -> None:
    """Idea 3: the balancers send everybody back at once, then the idle group goes back to what it ran."""
    write(site, ("50%", "300s"), ("100%", "5s"))
    was, blue = releases(on), processes(on, BLUE)
    with users(site) as load:
        command = [str(INVOKE), "deploy", site.env, "--version=1.0.0", "--force"]
        with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as deploy:
            assert deploy.stderr
            assert any("watch" in line for line in deploy.stderr), "it never came to the first step"
            assert set(site.traffic()) == set(APPS)
            os.kill(deploy.pid, signal.SIGKILL)
        wait_until(lambda: set(site.traffic()) == set(BLUE), seconds=30)
        wait_until(lambda: releases(on) == was, seconds=60)
        back = invoke("rollback", site.env, "--json")
        assert back.status == 0, back.out + back.err
        assert back.json["status"] == "unchanged", back.out + back.err
        assert set(site.traffic()) == set(BLUE), "it was back already"
    assert failures(load.report()) == []
    assert (releases(on), processes(on, BLUE)) == (was, blue)


def test_a_dead_group_is_left_by_a_rollback(site: Site, specs: dict[str, HostSpec]) -> None:
    """A release that takes its hosts down with it is just what one wants to get away from."""
    write(site, ("100%", "2s"))
    done = site.deploy("1.1.0", "--force")
    assert done.status == 0, done.err
    for host in GREEN:
        machine.power_off(site.lab, specs[host])
    try:
        back = invoke("rollback", site.env, "--json")
        assert (back.status, back.json["status"]) == (3, "partial"), back.err
        assert set(site.traffic()) == set(BLUE)
        assert "blue (live) 1.0.0, green unreachable" in invoke("status", site.env).out
    finally:
        for host in GREEN:
            machine.start(site.lab, specs[host])
            network.wait_for_ssh(specs[host], seconds=30)
    status = invoke("status", site.env, "--json").json
    assert (status["mixed"], status["live"]) == (False, "blue")
    assert set(site.traffic()) == set(BLUE), "hosts that come back are still idle"


def test_a_bad_release_never_touches_the_group_that_serves(site: Site, on: On) -> None:
    """A5: healthy by its own word, every fifth page fails; found by its numbers, and all traffic is back."""
    site.build("--fault=errors:20")
    write(site, ("30%", "60s"), ("100%", "5s"))
    was, blue = runs(on), processes(on, BLUE)
    with users(site) as load:
        done = site.deploy("1.1.1-errors20")
        assert done.status == 1, done.err
        time.sleep(1)
        assert set(site.traffic()) == set(BLUE)
    assert all(failure.startswith("5xx") and failure.endswith("errors20") for failure in failures(load.report()))
    assert (runs(on), processes(on, BLUE)) == (was, blue)


def test_a_halted_deploy_keeps_its_share_until_a_rollback_takes_it(site: Site, on: On) -> None:
    """The rollback went to the idle group with what it had run before, away from the release that was good."""
    site.build("--fault=errors:20")
    write(site, ("30%", "60s"), ("100%", "5s"), on_failure="halt")
    blue = processes(on, BLUE)
    with users(site):
        done = site.deploy("1.1.1-errors20", "--force")
        assert (done.status, done.json["status"]) == (3, "halted"), done.err
        assert site.traffic()["app1"] == pytest.approx(0.7, abs=0.03)
        back = invoke("rollback", site.env, "--json")
        assert back.status == 0, back.err
    assert site.traffic() == {"app1": 1.0}
    assert processes(on, BLUE) == blue
    assert not on("app1").file(f"/etc/systemd/system/{TIMER}").exists, "it would stop what serves"
