"""A dead, sleeping or cut-off controller: hosts go back by themselves, and what is left can be finished or undone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testinfra.host import Host

from lab import machine, network
from lab.spec import HostSpec
from tests.chaos import driver
from tests.hosts.conftest import APPS, App, invoke, wait_until

pytestmark = pytest.mark.load_sensitive("guards' clocks run")

On = Callable[[str], Host]
GUARD = 6


@pytest.fixture
def guarded(app: App) -> App:
    """Version 1.0.0 runs on all hosts; 2.0.0 is there to be deployed; guards wait for six seconds."""
    app.write(guard={"timeout": GUARD})
    app.build("1.0.0")
    app.build("2.0.0")
    assert app.deploy("1.0.0").status == 0
    return app


@contextmanager
def driven(app: App, fault: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A task that will be broken at a point (tests/chaos/driver.py)."""
    process = driver.start(fault, *words, app.env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def versions(app: App, on: On) -> dict[str, str]:
    return {host: on(host).file(f"{app.home}/current/VERSION").content_string.strip() for host in APPS}


def guards(app: App, on: On) -> list[str]:
    return [host for host in APPS if on(host).file(f"{app.state}/guard").exists]


def test_a_dead_controller_leaves_the_fleet_on_the_old_release(guarded: App, on: On) -> None:
    """Hosts that stay half-way until somebody wakes up are what this tool exists to prevent."""
    guarded.write(guard={"timeout": 25})
    with driven(guarded, "kill:app2/health/answered/1", "deploy", "--version=2.0.0", "--batch=1") as process:
        process.wait()
    assert guards(guarded, on) == ["app1", "app2"], "switched hosts stay guarded until the whole deploy is confirmed"
    unit = on("app1").run("systemctl list-timers --all --no-legend 'slipway-guard-*'").stdout
    assert guarded.name in unit and "-2.0.0" in unit, "its name carries the deploy's id"
    service = unit.split()[-1]
    gone = f"cd {guarded.state}; mv guard gone; systemctl start {service}; said=$?; mv gone guard; exit $said"
    assert on("app1").run(gone).rc == 0, "a guard that is taken away while it looks is no failed unit"
    told = invoke("status", guarded.env)
    assert told.status == 3 and "INTERRUPTED" in told.out and "by itself" in told.out
    assert invoke("deploy", guarded.env, "--version=2.0.0").status == 4, "a deploy does not run into waiting guards"

    wait_until(lambda: not guards(guarded, on), seconds=45)
    assert set(versions(guarded, on).values()) == {"1.0.0"}
    told = invoke("status", guarded.env, "--json")
    assert told.status == 3 and "deploy 2.0.0" in told.json["interrupted"]
    went_back = {host["host"]: host["went_back"] for host in told.json["hosts"]}
    assert went_back["app1"] and went_back["app2"] and went_back["app3"] is None, "it was never switched"
    assert f"app1 to 1.0.0 at {went_back['app1']}" in invoke("status", guarded.env).out
    guarded.write(hooks={"install": [{"run": "false"}]})
    assert invoke("deploy", guarded.env, "--version=2.0.0").status == 1
    assert "deploy 2.0.0" in invoke("status", guarded.env, "--json").json["interrupted"], "nothing was mended by that"
    closed = invoke("rollback", guarded.env, "--json").json
    assert closed["status"] == "unchanged"
    assert "1.0.0 runs on 3 hosts, and none of them had to be changed" in closed["message"]
    assert "the interrupted task 'deploy 2.0.0' is finished with" in closed["message"]


def test_resume_needs_no_artifact_where_hosts_hold_it(guarded: App, on: On, tmp_path: Path) -> None:
    """The machine that died may have been the only one with the build."""
    with driven(guarded, "kill:app1/switch/answered/1", "deploy", "--version=2.0.0", "--batch=1") as process:
        process.wait()
    elsewhere = App(guarded.name, guarded.port, tmp_path / "elsewhere", guarded.lab, dict(guarded.settings))
    elsewhere.write(artifact=f"{tmp_path}/elsewhere/{{version}}.tar.gz")
    ran = invoke("deploy", elsewhere.env, "--resume", "--batch=100%")
    assert ran.status == 0, ran.err
    assert set(versions(guarded, on).values()) == {"2.0.0"} and not guards(guarded, on)
    assert invoke("status", guarded.env).status == 0
    records = invoke("history", guarded.env, "--json").json["records"]
    assert [record["status"] for record in records if record["id"] == records[0]["id"]].count("interrupted") == 1
    again = invoke("deploy", elsewhere.env, "--resume")
    assert again.status == 2 and "interrupted" in again.err

    guarded.build("3.0.0")
    with driven(guarded, "kill:app1/stage/sent/1", "deploy", "--version=3.0.0") as process:
        process.wait()
    on("app2").run(f"rm -f {guarded.home}/releases/*-3.0.0/.slipway/complete")
    missing = invoke("deploy", elsewhere.env, "--resume")
    assert missing.status == 2 and "app2" in missing.err and "rollback" in missing.err
    assert invoke("rollback", elsewhere.env).status == 0
    assert set(versions(guarded, on).values()) == {"2.0.0"}


def test_resume_goes_on_as_it_was_begun(guarded: App, on: On) -> None:
    """A deploy of two hosts that is finished on all, or a canary that is finished at once, is another deploy."""
    migrated = f"/run/{guarded.name}-migrated"
    guarded.write(hooks={"before_switch": [{"run": f"echo x >>{migrated}", "user": "root", "once": True}]})
    flags = ("--version=2.0.0", "--batch=1", "--limit=app1:app3", "--watch=1s")
    with driven(guarded, "kill:app1/switch/answered/1", "deploy", *flags) as process:
        process.wait()
    refused = invoke("deploy", guarded.env, "--resume", "--limit=nosuch")
    assert refused.status == 2 and "nosuch" in refused.err
    ran = invoke("deploy", guarded.env, "--resume", "--json")
    assert ran.status == 0, ran.err
    assert versions(guarded, on) == {"app1": "2.0.0", "app2": "1.0.0", "app3": "2.0.0"}
    assert "batch 2 of 2" in ran.err, "its --batch=1 is forgotten"
    assert on("app1").file(migrated).content_string == "x\n", "what had ended well ran twice"
    assert not on("app3").file(migrated).exists


def test_a_first_deploy_that_was_interrupted_can_be_undone(app: App, on: On) -> None:
    """Status names rollback as a way out; there was "nothing to go back from", and status went on to name it."""
    app.write(guard={"timeout": GUARD})
    app.build("1.0.0")
    with driven(app, "kill:app1/health/answered/1", "deploy", "--version=1.0.0", "--batch=1") as process:
        process.wait()
    assert "invoke rollback" in invoke("status", app.env).out
    ran = invoke("rollback", app.env, "--json")
    assert ran.status == 0 and "no release runs" in ran.json["message"], ran.err
    assert not guards(app, on)
    assert invoke("status", app.env, "--json").json["interrupted"] is None
    for host in APPS:
        assert on(host).run(f"ls {app.home}/releases").stdout == "", "what was staged is rubbish"
    assert app.deploy("1.0.0").status == 0


def test_rollback_of_an_interrupted_deploy_undoes_just_that(guarded: App, on: On) -> None:
    """Hosts that went back by themselves must not go back once more, to the version before."""
    guarded.build("3.0.0")
    assert guarded.deploy("2.0.0").status == 0
    with driven(guarded, "kill:app1/switch/answered/1", "deploy", "--version=3.0.0", "--batch=1") as process:
        process.wait()
    ran = invoke("rollback", guarded.env, "--json")
    assert ran.status == 0, ran.err
    assert set(versions(guarded, on).values()) == {"2.0.0"}
    assert not guards(guarded, on) and invoke("status", guarded.env).status == 0
    for host in APPS:
        assert "3.0.0" not in on(host).run(f"ls {guarded.home}/releases").stdout, "what it staged is gone"


def test_a_controller_that_slept_can_do_nothing_when_it_wakes(guarded: App, on: On) -> None:
    """A laptop's lid is closed in mid-deploy and opened an hour later: by then the fleet is somebody else's."""
    with driven(guarded, "hold:app1/health/answered/1", "deploy", "--version=2.0.0", "--batch=1") as process:
        assert driver.is_held(process), "the point was never there"
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: not guards(guarded, on), seconds=GUARD + 15)
        guarded.build("3.0.0")
        ran = guarded.deploy("3.0.0", "--wait=30s")
        assert ran.status == 0, ran.err
        moved = {host: on(host).file(f"{guarded.state}/moved").content_string for host in APPS}
        os.kill(process.pid, signal.SIGCONT)
        _, told = process.communicate("go\n", timeout=120)
    assert process.returncode in (1, 3), told
    assert set(versions(guarded, on).values()) == {"3.0.0"}
    assert moved == {host: on(host).file(f"{guarded.state}/moved").content_string for host in APPS}
    assert invoke("status", guarded.env).status == 0


def test_a_cut_of_seconds_is_ridden_out(guarded: App, on: On, specs: dict[str, HostSpec]) -> None:
    """A switch port that blinks must not cost a deploy; nor may the step that it hit be done twice."""
    guarded.write(
        guard={"timeout": 30}, hooks={"after_switch": [{"run": "sleep 5; echo x >> /run/hooked", "user": "root"}]}
    )
    on("app1").run("rm -f /run/hooked")
    with driven(guarded, "hold:app1/switch/sent/1", "deploy", "--version=2.0.0", "--batch=100%") as process:
        assert driver.is_held(process), "the point was never there"
        # Not only the cable: the session is reset, as by a firewall that forgot it.
        on("app1").run("sh -c 'pkill -o -f \"sshd: deploy@notty\"' || true")
        network.cut(guarded.lab, specs["app1"])
        time.sleep(2)
        network.restore(guarded.lab, specs["app1"])
        _, told = process.communicate("go\n", timeout=120)
    assert process.returncode == 0, told
    assert set(versions(guarded, on).values()) == {"2.0.0"}
    assert on("app1").file("/run/hooked").content_string == "x\n"


def test_a_host_that_reboots_with_its_controller_dead_goes_back(
    guarded: App, on: On, specs: dict[str, HostSpec]
) -> None:
    """A guard that only lives in memory is lost with the power, together with the way back."""
    with driven(guarded, "kill:app1/switch/answered/1", "deploy", "--version=2.0.0", "--batch=1") as process:
        process.wait()
    machine.power_off(guarded.lab, specs["app1"])
    machine.start(guarded.lab, specs["app1"])
    network.wait_for_ssh(specs["app1"], seconds=30)
    wait_until(lambda: not guards(guarded, on), seconds=GUARD + 25)
    assert set(versions(guarded, on).values()) == {"1.0.0"}
    assert on("app1").service(guarded.name).is_running
    assert on("app1").run("ls /etc/systemd/system | grep slipway-guard").stdout == ""
    assert invoke("rollback", guarded.env).status == 0


def test_a_rollback_whose_controller_dies_ends_by_itself(guarded: App, on: On) -> None:
    """Left alone, a fleet that a person was taking back must not return to what he called bad."""
    assert guarded.deploy("2.0.0").status == 0
    with driven(guarded, "kill:app1/switch/answered/1", "rollback", "--batch=1") as process:
        process.wait()
    wait_until(lambda: not guards(guarded, on), seconds=GUARD + 15)
    assert versions(guarded, on)["app1"] == "1.0.0"
    ran = invoke("rollback", guarded.env)
    assert ran.status == 0, ran.err
    assert set(versions(guarded, on).values()) == {"1.0.0"}
    ran = invoke("rollback", guarded.env)
    assert ran.status in (0, 2), "there is nothing more to take back"
    assert set(versions(guarded, on).values()) == {"1.0.0"} or ran.status == 0


def test_a_second_ctrl_c_leaves_the_way_back_to_the_guards(guarded: App, on: On) -> None:
    """Whoever insists on leaving must not leave a fleet half-way."""
    guarded.build("2.0.0", line="sleep 600")
    process = guarded.start("deploy", "--version=2.0.0", "--batch=100%")
    wait_until(lambda: bool(guards(guarded, on)))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (1, 3), told
    wait_until(lambda: not guards(guarded, on), seconds=GUARD + 15)
    assert set(versions(guarded, on).values()) == {"1.0.0"}


def test_a_guard_that_cannot_do_its_work_says_so(guarded: App, on: On) -> None:
    """A release that somebody removed by hand cannot be gone back to: a person has to know."""
    with driven(guarded, "kill:app1/switch/answered/1", "deploy", "--version=2.0.0", "--batch=1") as process:
        process.wait()
    target = on("app1").file(f"{guarded.state}/guard/target").content_string.strip()
    on("app1").run(f"mv {guarded.home}/releases/{target} {guarded.home}/aside")
    wait_until(lambda: on("app1").file(f"{guarded.state}/guard/stuck").exists, seconds=GUARD + 15)
    told = invoke("status", guarded.env)
    assert told.status == 3 and "is incomplete now" in told.out
    on("app1").run(f"mv {guarded.home}/aside {guarded.home}/releases/{target}")
    assert invoke("rollback", guarded.env).status == 0
    assert set(versions(guarded, on).values()) == {"1.0.0"}
