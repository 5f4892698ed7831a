"""The lab itself: a host that is not what it says would make every other test worthless."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from lab import cgroup, machine, network
from lab import up as lab_up
from lab.files import mounts_below
from lab.spec import HostSpec, Lab, find_lab
from playbooks.core.errors import SlipwayError
from tests.hosts.conftest import INVOKE, PROJECT, invoke, wait_until

On = Callable[[str], Host]


def test_hosts_are_what_they_say(lab: Lab, on: On, specs: dict[str, HostSpec]) -> None:
    """Strict keys, no root login, no password, each role's services and no other's."""
    as_root = subprocess.run([*network.ssh(lab, specs["app1"], user="root"), "true"], capture_output=True, check=False)
    assert as_root.returncode == 255
    # Applications that other tests broke on purpose may have been left failed.
    failed = on("app1").check_output("systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1").split()
    assert [unit for unit in failed if not re.fullmatch(r"(t\d+|stateful)\.service|slipway-.*", unit)] == []
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
    looked = invoke("inventory", f"--env={lab.folder}/inventory", "--untrusted-inventory", "--json")
    assert looked.status == 0 and looked.json["hosts"], looked.err


def test_a_reboot_from_inside_is_a_real_one(on: On, specs: dict[str, HostSpec]) -> None:
    """nspawn alone would end there: every test of what survives a reboot would wait for a host that never comes."""
    on("app3").run("date >/var/tmp/kept; date >/run/lost; true")
    begun = "systemctl show --property=UserspaceTimestamp"
    before = on("app3").check_output(begun)
    on("app3").run("systemd-run --on-active=1s systemctl reboot")
    time.sleep(1.5)

    def is_another_boot() -> bool:
        network.wait_for_ssh(specs["app3"], seconds=20)
        try:
            answer = on("app3").run(begun)
        except RuntimeError:  # refused: it goes down, or sshd is not there yet
            return False
        return bool(answer.rc == 0 and answer.stdout.strip() != before)

    wait_until(is_another_boot, seconds=40)
    assert on("app3").check_output("systemctl is-system-running --wait") == "running"
    assert on("app3").file("/var/tmp/kept").exists
    assert not on("app3").file("/run/lost").exists


def test_power_and_cable(lab: Lab, on: On, specs: dict[str, HostSpec]) -> None:
    """Tests of faults stand on these: a power_off with goodbyes, or a cut that cuts nothing, proves nothing."""
    app2 = specs["app2"]
    on("app2").check_output("systemd-run --property=ExecStop='/bin/touch /var/tmp/goodbye' sleep 1000")
    on("app2").run("date >/var/tmp/kept; sync")
    machine.power_off(lab, app2)
    assert not machine.is_up(lab, app2)
    with pytest.raises(SlipwayError, match="no cable"):
        network.cut(lab, app2)
    lab_up.boot(lab, app2)
    assert on("app2").file("/var/tmp/kept").exists
    assert not on("app2").file("/var/tmp/goodbye").exists
    network.cut(lab, app2)
    with pytest.raises(SlipwayError, match="does not answer"):
        network.wait_for_ssh(app2, seconds=2)
    network.restore(lab, app2)
    network.wait_for_ssh(app2, seconds=20)


def test_a_boot_is_seen_although_nobody_tells_of_its_end(lab: Lab, on: On, specs: dict[str, HostSpec]) -> None:
    """On a busy machine logind comes too late to have systemd tell the bus: whoever waits for that waits for ever."""
    app3, units = specs["app3"], "/etc/systemd/system"
    slow = "[Service]\\nType=oneshot\\nExecStart=/bin/sleep 5\\n[Install]\\nWantedBy=multi-user.target\\n"
    on("app3").check_output(
        f"printf '{slow}' >{units}/slow.service && systemctl enable slow.service"
        f" && ln -s /dev/null {units}/systemd-logind.service && sync"
    )
    machine.power_off(lab, app3)
    try:
        lab_up.up(lab.name)
        assert on("app3").check_output("systemctl is-system-running; systemctl is-enabled systemd-logind || true") == (
            "running\nmasked"
        )
    finally:
        on("app3").check_output(
            f"systemctl disable slow.service && rm {units}/slow.service {units}/systemd-logind.service"
            " && systemctl daemon-reload && systemctl start systemd-logind"
        )


def test_what_outlives_its_keeper_is_still_found(lab: Lab, specs: dict[str, HostSpec]) -> None:
    """A host whose keeper and nspawn were killed goes on, with its address and cable: the next one could not start."""
    edge = specs["edge1"]
    old = cgroup.processes(lab, edge)
    for process in old:
        if Path(f"/proc/{process}/comm").read_text().strip() in ("keep.sh", "systemd-nspawn"):
            os.kill(process, signal.SIGKILL)
    wait_until(lambda: not machine.is_up(lab, edge))
    assert cgroup.processes(lab, edge), "the host itself goes on"
    lab_up.boot(lab, edge)
    assert not set(old) & set(cgroup.processes(lab, edge))


def test_a_stale_record_is_never_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart of the machine a recorded process id is somebody else's."""
    monkeypatch.setenv("SLIPWAY_LAB_DIR", str(tmp_path))
    other = Lab("stale", 249)
    host = other.hosts(1)[0]
    (other.folder / "hosts" / host.name).mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (other.folder / "hosts" / host.name / "pid").write_text(f"{bystander.pid} 1\n")
        assert not machine.is_up(other, host)
        machine.power_off(other, host)
        machine.shut_down(other, host)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_killed_in_the_middle_and_brought_up_again() -> None:
    """kill -9 leaves mounts, a bridge and half a host behind; neither up nor down may stumble over them."""
    name = f"{os.environ.get('SLIPWAY_TEST_LAB', 'test')}-killed"  # its own, also beside another run of the tests
    try:
        for after in (0.3, 0.5, 0.7, 0.9, 1.4):  # where it is then depends on the machine
            killed(["lab.up", f"--name={name}", "--hosts=1"], after=after)
        up = invoke("lab.up", f"--name={name}", "--hosts=1", "--json")
        assert up.status == 0, up.err
        assert all(host["up"] for host in up.json["hosts"])
        lab = find_lab(name)
        for host in lab.hosts(1):
            assert len(command_lines(f"--directory={lab.root_of(host)} ")) == 2, "a keeper and its nspawn, once"
        killed(["lab.down", f"--name={name}"], after=0.5)
    finally:
        assert invoke("lab.down", f"--name={name}").status == 0
    assert f"slipway-{name}" not in Path("/proc/mounts").read_text()
    assert not Path(f"/sys/class/net/{lab.bridge}").exists()
    assert not lab.folder.exists()
    assert not command_lines(f"{lab.folder}/")
    assert not [process for host in lab.hosts(1) for process in cgroup.processes(lab, host)]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/slipway-{name}-*"))
    again = invoke("lab.down", f"--name={name}", "--json")
    assert (again.status, again.json) == (0, {"down": [name]}), "down twice must be as good as once"


def test_a_build_of_the_base_ends_with_its_builder(tmp_path: Path) -> None:
    """An orphaned debootstrap would go on writing where the next build begins."""
    environment = {"SLIPWAY_LAB_DIR": str(tmp_path)}
    killed(["lab.up", "--name=unbuilt"], after=6, environment=environment)
    assert list(tmp_path.glob("base-*.coming")), "the build had begun"
    wait_until(lambda: not command_lines(str(tmp_path)), seconds=10)
    assert not mounts_below(tmp_path)
    assert not [path for path in tmp_path.glob("base-*") if path.suffix != ".coming"]


def test_bad_usage_is_a_sentence_and_status_2() -> None:
    """A typing error must not end in a traceback, nor make folders outside the labs' own."""
    for words in (("--hosts=0",), ("--hosts=many",), ("--name=../x",), ("--name=",), ("--hosts=101",)):
        ran = invoke("lab.up", *words, "--json")
        assert ran.status == 2, (words, ran.err)
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err
        assert ran.json["exit_status"] == 2


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


def killed(words: list[str], *, after: float, environment: dict[str, str] | None = None) -> bool:
    """Run a task and kill it after some seconds; whether it was still at work then."""
    process = subprocess.Popen(
        [str(INVOKE), *words],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    time.sleep(after)
    at_work = process.poll() is None
    process.kill()
    process.wait()
    return at_work


def command_lines(text: str) -> list[str]:
    """Command lines of processes that have this text in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if text in line]
