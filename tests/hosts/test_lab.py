"""The lab itself: a host that is not what it says would make every other test worthless."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from testinfra.host import Host

from lab.spec import HostSpec, Lab, find_lab
from tests.hosts.conftest import INVOKE, PROJECT, invoke

On = Callable[[str], Host]


def test_hosts_are_what_they_say(lab: Lab, on: On, specs: dict[str, HostSpec]) -> None:
    """Strict keys, no root login, no password, each role's services and no other's."""
    ssh = ["ssh", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={lab.folder}/ssh/known_hosts"]
    ssh += ["-o", "BatchMode=yes", "-i", f"{lab.folder}/ssh/id_ed25519"]
    as_root = subprocess.run([*ssh, f"root@{specs['app1'].address}", "true"], capture_output=True, check=False)
    assert as_root.returncode == 255
    assert on("app1").check_output("systemctl is-system-running") == "running"
    assert not on("app1").service("haproxy").is_running
    assert on("edge1").service("haproxy").is_running
    assert on("db1").service("redis-server").is_running
    assert on("db1").socket(f"tcp://{specs['db1'].address}:5432").is_listening
    # One root control group for all hosts would show the services of the others here.
    assert on("app1").check_output("cat /proc/1/cgroup").splitlines()[-1] == "0::/init.scope"


def test_up_again_is_quick_and_changes_nothing(lab: Lab, on: On) -> None:
    """A lab.up that restarts what is up would pull the rug from under a running test."""
    before = on("app2").check_output("systemctl show -p UserspaceTimestamp")
    again = invoke("lab.up", f"--name={lab.name}", "--json")
    assert again.status == 0, again.err
    assert all(host["up"] for host in again.json["hosts"])
    assert on("app2").check_output("systemctl show -p UserspaceTimestamp") == before


def test_killed_in_the_middle_and_brought_up_again() -> None:
    """kill -9 leaves mounts, a bridge and half a host behind; neither up nor down may stumble over them."""
    name = "killed"
    try:
        for after in (0.4, 1.2):
            process = subprocess.Popen(
                [str(INVOKE), "lab.up", f"--name={name}", "--hosts=1"],
                cwd=PROJECT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(after)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        up = invoke("lab.up", f"--name={name}", "--hosts=1", "--json")
        assert up.status == 0, up.err
        assert all(host["up"] for host in up.json["hosts"])
        lab = find_lab(name)
    finally:
        assert invoke("lab.down", f"--name={name}").status == 0
    assert f"slipway-{name}" not in Path("/proc/mounts").read_text()
    assert not Path(f"/sys/class/net/{lab.bridge}").exists()
    assert not lab.folder.exists()
    assert invoke("lab.down", f"--name={name}").status == 0, "down twice must be as good as once"


def test_a_machine_that_cannot_do_it_is_told_in_one_sentence() -> None:
    """Somebody without root must learn so, and not get a traceback from mount(8)."""
    code = "import lab.base as b; b.require_machine()"
    done = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            str(PROJECT / ".venv/bin/python"),
            "-c",
            code,
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a lab needs root" in done.stderr
