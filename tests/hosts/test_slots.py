"""Two releases beside each other on a host, each in a slot of its own (B2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab import machine, network
from lab.spec import HostSpec
from tests.chaos import driver
from tests.hosts.conftest import App, Ran, invoke, wait_until

pytestmark = pytest.mark.load_sensitive("guards' clocks run beside requests")

On = Callable[[str], Host]
PROGRAM = b'#!/bin/sh\ncd "${0%/bin/run}" || exit 1\n'
GUARD = 6


class Slotted:
    """An application on one host, in slots."""

    def __init__(self, app: App, host: Host) -> None:
        self.app, self.host = app, host
        self.ports = {"blue": app.port + 300, "green": app.port + 600}
        self.inside = {"name": f"{app.name}@", "unit": {"Service": {"ExecStart": f"{app.home}/current/bin/run"}}}
        app.write(
            hosts="app1",
            slots=self.ports,
            services=[self.inside],
            guard={"timeout": GUARD},
            health={
                "attempts": 8,
                "interval": "500ms",
                "checks": [
                    {"type": "http", "url": "http://127.0.0.1:{port}/VERSION"},
                    {"type": "tcp", "port": "{port}"},
                ],
            },
        )

    def build(self, version: str, line: str = "exec python3 -m http.server $PORT") -> None:
        self.app.build(version, {"bin/run": PROGRAM + f"{line}\n".encode()})

    def deploy(self, version: str, *flags: str) -> Ran:
        return self.app.deploy(version, *flags)

    def unit(self, slot: str) -> str:
        return f"{self.app.name}@{slot}.service"

    def answers(self, slot: str) -> str:
        command = f"curl -s --max-time 2 http://127.0.0.1:{self.ports[slot]}/VERSION"
        return str(self.host.run(command).stdout.strip())

    def pid(self, slot: str) -> str:
        return str(self.host.check_output(f"systemctl show --property=MainPID --value {self.unit(slot)}"))

    @property
    def current(self) -> str:
        return str(self.host.file(f"{self.app.home}/current/VERSION").content_string.strip())

    def is_left(self, slot: str) -> bool:
        """Whether nothing of a slot runs, would run after the next boot, or leaves its host degraded."""
        found = self.host.run(f"find /etc/systemd/system -name '{self.app.name}@{slot}*'").stdout
        failed = self.host.check_output(f"systemctl list-units --failed --plain --no-legend '{self.app.name}@{slot}*'")
        return self.answers(slot) == "" and self.pid(slot) == "0" and found == failed == ""


@pytest.fixture
def slotted(app: App, on: On) -> Slotted:
    """Versions 1.0.0, 2.0.0 and 3.0.0 are there to be deployed."""
    made = Slotted(app, on("app1"))
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        made.build(version)
    return made


def test_releases_run_by_turns_and_the_old_one_is_the_way_back(slotted: Slotted) -> None:
    """A way back that has to start something is not at once; one that restarts what serves is no way back (B2)."""
    first = slotted.deploy("1.0.0")
    assert first.status == 0, first.err
    assert (slotted.answers("blue"), slotted.answers("green")) == ("1.0.0", "")
    assert slotted.deploy("1.0.0", "--json").json["status"] == "unchanged"
    check = slotted.deploy("2.0.0", "--check")
    assert f"start {slotted.unit('green')} on port {slotted.ports['green']}" in check.out
    assert "---" not in check.out, f"the units differ in nothing but slot and place: {check.out}"
    blue = slotted.pid("blue")

    second = slotted.deploy("2.0.0")
    assert second.status == 0, second.err
    assert slotted.current == "2.0.0"
    assert (slotted.answers("blue"), slotted.answers("green")) == ("1.0.0", "2.0.0")
    assert slotted.pid("blue") == blue
    told = invoke("status", slotted.app.env, "--json").json["hosts"][0]
    assert (told["version"], told["slot"]) == ("2.0.0", "green")
    assert told["idle"].startswith("1.0.0 in blue, kept until ")
    logs = invoke("logs", slotted.app.env, "--json").json["lines"]
    assert {line["unit"] for line in logs} == {slotted.unit("blue"), slotted.unit("green")}
    ran = invoke("exec", slotted.app.env, "--json", "--", "sh", "-c", "echo $SLOT $PORT").json["hosts"][0]
    assert ran["output"] == [f"green {slotted.ports['green']}"]
    assert invoke("drift", slotted.app.env).status == 0
    slotted.host.check_output(f"kill -9 {blue}")
    wait_until(lambda: slotted.answers("blue") == "1.0.0")
    blue = slotted.pid("blue")

    told = invoke("rollback", slotted.app.env, "--check").out
    kept, port = "in slot blue, where it is kept", slotted.ports["blue"]
    assert f"{kept}, on port {port}, beside what runs in slot green, which goes on serving" in told
    assert f"once it has moved: stop what runs in slot green ({slotted.unit('green')})" in told
    assert invoke("rollback", slotted.app.env).status == 0
    assert slotted.current == "1.0.0"
    assert slotted.pid("blue") == blue, "it was restarted on the way back"
    assert slotted.is_left("green")
    assert invoke("health", slotted.app.env).status == 0

    assert slotted.deploy("2.0.0").status == 0
    third = slotted.deploy("3.0.0")
    assert third.status == 0, third.err
    assert (slotted.answers("blue"), slotted.answers("green")) == ("3.0.0", "2.0.0")
    assert slotted.app.name not in slotted.host.run("systemctl --failed --no-legend").stdout


def test_a_release_that_fails_leaves_the_other_slot_alone(slotted: Slotted) -> None:
    """Going back must not touch what serves, and must leave nothing of the bad release running (A5)."""
    slotted.build("4.0.0", line="exit 3")
    first = slotted.deploy("4.0.0")
    assert first.status == 1
    assert slotted.is_left("blue"), "a first deploy that fails leaves nothing"
    assert slotted.deploy("1.0.0").status == 0
    blue = slotted.pid("blue")
    failed = slotted.deploy("4.0.0")
    assert failed.status == 1
    assert slotted.current == "1.0.0"
    assert slotted.pid("blue") == blue
    assert slotted.is_left("green")
    # Its folder is gone, and it serves: its slot is still taken.
    slotted.host.check_output(f"rm -rf $(readlink -f {slotted.app.home}/current)")
    told = invoke("status", slotted.app.env, "--json").json["hosts"][0]
    assert told["slot"] == "blue"
    deployed = slotted.deploy("2.0.0")
    assert deployed.status == 0 and "in place" not in deployed.out + deployed.err, deployed.out + deployed.err
    assert (slotted.pid("blue"), slotted.answers("green")) == (blue, "2.0.0")
    slotted.app.write(keep_idle="2s")
    assert slotted.deploy("1.0.0").status == 0
    assert slotted.pid("blue") != blue


def test_a_guard_stops_the_new_slot_and_leaves_the_old_one(slotted: Slotted) -> None:
    """A controller that dies half-way must not leave the new release half alive beside the old one."""
    assert slotted.deploy("1.0.0").status == 0
    blue = slotted.pid("blue")
    process = driver.start("kill:app1/switch/answered/1", "deploy", slotted.app.env, "--version=2.0.0")
    process.communicate()
    assert slotted.pid("green") != "0", "it died too early to prove anything"
    wait_until(lambda: not slotted.host.file(f"{slotted.app.state}/guard").exists, seconds=GUARD + 15)
    assert slotted.current == "1.0.0"
    assert slotted.pid("blue") == blue
    assert slotted.is_left("green")
    assert invoke("rollback", slotted.app.env).status == 0
    assert slotted.pid("blue") == blue
    assert slotted.deploy("2.0.0").status == 0


def test_the_old_slot_is_kept_for_its_time_and_through_a_reboot(slotted: Slotted, specs: dict[str, HostSpec]) -> None:
    """Kept for ever it is a second application to feed; stopped too early it is no way back (B2)."""
    assert slotted.deploy("1.0.0").status == 0
    assert slotted.deploy("2.0.0").status == 0
    timer = f"slipway-idle-{slotted.app.name}-blue.timer"
    assert slotted.host.service(timer).is_running
    machine.power_off(slotted.app.lab, specs["app1"])
    machine.start(slotted.app.lab, specs["app1"])
    network.wait_for_ssh(specs["app1"], seconds=30)
    wait_until(lambda: (slotted.answers("blue"), slotted.answers("green")) == ("1.0.0", "2.0.0"))
    assert slotted.host.service(timer).is_running
    assert invoke("rollback", slotted.app.env).status == 0
    assert not slotted.host.file(f"/etc/systemd/system/{timer}").exists, "it would stop what serves now"

    slotted.app.write(keep_idle="5s")
    green = slotted.deploy("2.0.0")
    assert green.status == 0, green.err
    assert slotted.answers("blue") == "1.0.0"
    wait_until(lambda: slotted.is_left("blue"), seconds=30)
    assert slotted.answers("green") == "2.0.0"
    left = f"find /etc/systemd/system -name 'slipway-idle-{slotted.app.name}-*'; ls {slotted.app.state}/idle"
    wait_until(lambda: slotted.host.run(left).stdout == "")
    assert invoke("rollback", slotted.app.env).status == 0, "it takes longer, and works"
    assert (slotted.answers("blue"), slotted.is_left("green")) == ("1.0.0", True)


def test_from_in_place_to_slots_and_back(slotted: Slotted) -> None:
    """An application that is there already must be able to turn to slots, and back if that was a mistake."""
    app = slotted.app
    port = slotted.ports["blue"]
    unit = {"Service": {"ExecStart": f"{app.home}/current/bin/run", "Environment": f"PORT={port}"}}
    checks = {"health": {**app.settings["health"], "checks": []}, "slots": {}}
    inside = {"health": app.settings["health"], "slots": slotted.ports, "services": [slotted.inside]}
    app.write(services=[{"name": app.name, "unit": unit}], **checks)
    assert slotted.deploy("1.0.0").status == 0
    app.write(**inside)
    plan = slotted.deploy("2.0.0", "--check").out
    assert "runs 1.0.0 in place and the new release runs in slot blue" in plan
    assert f"- stop {app.name}.service" in plan and "other slot" not in plan, "it says one thing, and another"
    assert f"wait for http://127.0.0.1:{port}/" in plan and "{port}" not in plan
    turned = slotted.deploy("2.0.0")
    assert turned.status == 0, turned.err
    assert "runs 1.0.0 in place" in turned.out + turned.err
    assert not slotted.host.service(app.name).is_running
    assert slotted.answers("blue") == "2.0.0"
    told = invoke("rollback", app.env, "--check").out
    assert f"- stop what runs in slot blue ({slotted.unit('blue')})" in told and "; it runs in place" in told
    assert f"- start {app.name}.service" in told and "- leave out http://127.0.0.1:{port}/" in told
    assert invoke("rollback", app.env).status == 0
    assert slotted.host.service(app.name).is_running
    assert slotted.answers("blue") == "1.0.0"
    assert slotted.host.run(f"ls /etc/systemd/system | grep '{app.name}@'").stdout == ""
