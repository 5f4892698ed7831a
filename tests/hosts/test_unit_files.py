"""Unit files where systemd reads them: there at every boot, beside what the administrator has, gone with the unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host

from lab import machine, network
from lab.spec import HostSpec
from tests.chaos import driver
from tests.hosts.conftest import App, invoke, wait_until
from tests.hosts.test_slots import GUARD, Slotted

On = Callable[[str], Host]
UNITS = "/etc/systemd/system"


@contextmanager
def mounted_later(host: Host, home: str) -> Iterator[None]:
    """The application's folder becomes a file system of its own, as /opt or /srv often is."""
    data = f"/var/data{home}"
    host.check_output(f"mkdir -p {data} && cp -a {home}/. {data} && find {home} -mindepth 1 -delete")
    host.check_output(f"echo '{data} {home} none bind 0 0' >>/etc/fstab && systemctl daemon-reload && mount {home}")
    try:
        yield
    finally:
        host.check_output(f"sed -i '\\|{data}|d' /etc/fstab && umount --lazy {home} && systemctl daemon-reload")


@contextmanager
def mounted_late(host: Host, name: str) -> Iterator[str]:
    """A file system that comes some seconds after what boots at once, as one behind a network does: its folder."""
    place, slow = f"/late-{name}", f"slow-{name}.service"
    unit = (
        "[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep 6\\n"
    )
    host.check_output(
        f"mkdir -p {place} /var/data{place} && printf '{unit}' >{UNITS}/{slow} && "
        f"echo '/var/data{place} {place} none bind,_netdev,nofail,x-systemd.requires={slow} 0 0' >>/etc/fstab && "
        f"systemctl daemon-reload && mount {place}"
    )
    try:
        yield place
    finally:
        host.check_output(f"sed -i '\\|{place} |d' /etc/fstab && umount --lazy {place} && rm {UNITS}/{slow}")
        host.check_output("systemctl daemon-reload")


def power_cycle(app: App, host: HostSpec) -> None:
    machine.power_off(app.lab, host)
    machine.start(app.lab, host)
    network.wait_for_ssh(host, seconds=30)


def answer(host: Host, port: int) -> str:
    return str(host.run(f"curl -s --max-time 2 http://127.0.0.1:{port}/VERSION").stdout.strip())


def test_a_boot_starts_what_lies_on_a_file_system_that_is_mounted_later(
    app: App, on: On, specs: dict[str, HostSpec]
) -> None:
    """systemd reads its units before it mounts /opt: a unit file that lies there is not found, and nothing serves."""
    host = on("app1")
    listen = app.port + 300
    serve = {"ExecStart": f"{app.home}/current/bin/echo"}
    app.write(
        hosts="app1",
        services=[
            *app.settings["services"],
            {"name": f"{app.name}-behind", "unit": {"Service": serve}, "socket": f"127.0.0.1:{listen}"},
        ],
    )
    program = b"#!/usr/bin/python3\nimport socket, sys\ns = socket.socket(fileno=3)\nwhile True:\n"
    program += b"    c, _ = s.accept()\n    c.sendall(b'behind')\n    c.close()\n"
    app.build("1.0.0", {"bin/echo": program})
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    with mounted_later(host, app.home):
        power_cycle(app, specs["app1"])
        wait_until(lambda: answer(host, app.port) == "1.0.0", seconds=20)
        got = host.run(f"timeout 5 bash -c 'cat </dev/tcp/127.0.0.1/{listen}'").stdout
        said = host.run(f"systemctl status {app.name}-behind.socket {app.name}-behind.service").stdout
        assert got == "behind", said or "the socket is not open, or the service behind it does not start"
        app.build("1.1.0", {"bin/echo": program})
        upgraded = app.deploy("1.1.0")
        assert upgraded.status == 0, upgraded.err
        host.check_output(f"systemctl stop {app.name} {app.name}-behind.socket {app.name}-behind")


def test_a_boot_waits_for_what_root_s_links_lead_to(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """systemd follows no link in RequiresMountsFor=: units failed, then the disk was mounted, and nobody served."""
    host = on("app1")
    service = app.settings["services"][0]
    works = {"WorkingDirectory": f"{app.home}/shared/data", "ExecStart": f"{app.home}/current/bin/run"}
    app.write(hosts="app1", shared=["data"], services=[{**service, "unit": {"Service": works}}])
    app.build("1.0.0")
    app.build("1.1.0")
    first = app.deploy("1.0.0")
    assert first.status == 0, first.err
    shows = f"systemctl show -P RequiresMountsFor {app.name}"
    with mounted_late(host, app.name) as late:
        host.check_output(f"mv {app.home}/shared/data {late}/data && ln -s {late}/data {app.home}/shared/data")
        # What the application's user could put there decides nothing.
        host.check_output(f"ln -s /etc {late}/data/theirs && chown -h nobody {late}/data/theirs")
        drifted = invoke("drift", app.env)
        assert "does not wait for the mounts that links lead to now" in drifted.out, drifted.out + drifted.err
        host.check_output(f"chown root: {late}/data && chmod 0755 {late}/data")
        linked = app.deploy("1.0.0")
        assert linked.status == 0, linked.err
        told = " ".join(linked.err.split())
        assert f"cannot write to {late}/data, which {app.home}/shared/data leads to; if it has to, run" in told, told
        assert f"chown www-data: {late}/data" in told
        assert f"{late}/data" in host.check_output(shows).split()
        assert invoke("drift", app.env).status == 0
        power_cycle(app, specs["app1"])
        wait_until(lambda: answer(host, app.port) == "1.0.0", seconds=20)

        host.check_output(f"chown www-data: {late}/data")
        host.check_output(f"systemctl stop {app.name} && mv {app.home} {late}/home && ln -s {late}/home {app.home}")
        host.check_output(f"systemctl start {app.name}")
        moved = app.deploy("1.1.0")
        assert (moved.status, "cannot write" in moved.err) == (0, False), moved.out + moved.err
        power_cycle(app, specs["app1"])
        wait_until(lambda: answer(host, app.port) == "1.1.0", seconds=20)
        host.check_output(f"systemctl stop {app.name}")


def test_a_guard_and_slots_come_back_from_a_boot_with_a_file_system_that_is_mounted_later(
    app: App, on: On, specs: dict[str, HostSpec]
) -> None:
    """The way back is of no use if the host that lost its power, and its controller, cannot find its units."""
    app.write(path="/mnt/{app}")
    host = on("app1")
    home = f"/mnt/{app.name}"
    slotted = Slotted(app, host)
    app.write(services=[{"name": f"{app.name}@", "unit": {"Service": {"ExecStart": f"{home}/current/bin/run"}}}])
    for version in ("1.0.0", "2.0.0"):
        slotted.build(version)
    with mounted_late(host, app.name) as late:
        host.check_output(f"mkdir {late}/home && ln -s {late}/home {home}")
        first = slotted.deploy("1.0.0")
        assert first.status == 0, first.err
        process = driver.start("kill:app1/switch/answered/1", "deploy", app.env, "--version=2.0.0")
        process.communicate()
        assert slotted.answers("green") == "2.0.0", "it died too early to prove anything"
        power_cycle(app, specs["app1"])
        wait_until(lambda: not host.file(f"{app.state}/guard").exists, seconds=GUARD + 25)
        wait_until(lambda: slotted.answers("blue") == "1.0.0", seconds=20)
        assert slotted.is_left("green")
        assert app.name not in host.run("systemctl --failed --no-legend").stdout
        second = slotted.deploy("2.0.0")
        assert second.status == 0, second.err
        power_cycle(app, specs["app1"])
        wait_until(lambda: slotted.answers("blue") == "1.0.0" and slotted.answers("green") == "2.0.0", seconds=20)
        host.check_output(f"systemctl stop '{app.name}@*'")


def test_drop_ins_of_an_administrator_stay_and_ours_work_beside_them(app: App, on: On) -> None:
    """`systemctl edit` makes NAME.service.d a folder: what a deploy puts there has its effect, and takes nothing."""
    host = on("app1")
    service = app.settings["services"][0]
    folder = f"{UNITS}/{app.name}.service.d"
    host.check_output(f"mkdir {folder} && printf '[Service]\\nEnvironment=THEIRS=1\\n' >{folder}/override.conf")
    templates = app.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "own.j2").write_text("{{ '[Service]' }}\nEnvironment=OURS=1\n")
    app.write(hosts="app1", services=[{**service, "drop_ins": {"50-own.conf": "own.j2"}}])
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert host.check_output(f"systemctl show -P Environment {app.name}").split() == ["OURS=1", "THEIRS=1"]
    app.write(services=[service])
    app.build("1.1.0")
    assert app.deploy("1.1.0").status == 0
    assert host.check_output(f"systemctl show -P Environment {app.name}") == "THEIRS=1"
    assert invoke("rollback", app.env).status == 0
    assert host.check_output(f"systemctl show -P Environment {app.name}").split() == ["OURS=1", "THEIRS=1"]

    host.check_output(f"printf '[Service]\\nEnvironment=OURS=2\\n' >{folder}/60-mine.conf")
    app.write(services=[{**service, "drop_ins": {"60-mine.conf": "own.j2"}}])
    app.build("1.2.0")
    refused = app.deploy("1.2.0")
    assert (refused.status, f"{folder}/60-mine.conf is there already" in refused.err) == (1, True), refused.err
    assert answer(host, app.port) == "1.0.0"


def test_other_names_of_a_unit_outlive_pruned_releases_and_end_with_the_unit(app: App, on: On) -> None:
    """`Alias=` made a link into a release: some deploys later that is gone, and the name starts nothing."""
    host = on("app1")
    service = app.settings["services"][0]
    other = {
        "name": f"{app.name}-other",
        "unit": {
            "Service": {"ExecStart": "/bin/sleep 1000"},
            "Install": {"Alias": f"{app.name}-alias.service", "WantedBy": ["multi-user.target", f"{app.name}.service"]},
        },
    }
    app.write(hosts="app1", keep_releases=2, services=[service, other])
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        app.build(version)
        assert app.deploy(version).status == 0
    links = f"find {UNITS} -type l -lname '*{app.name}-other.service' -printf '%P '"
    assert set(host.check_output(links).split()) == {
        f"{app.name}-alias.service",
        f"multi-user.target.wants/{app.name}-other.service",
        f"{app.name}.service.wants/{app.name}-other.service",
    }
    assert host.check_output(f"systemctl is-active {app.name}-alias") == "active"
    other["unit"]["Install"] = {"Alias": f"{app.name}-second.service"}  # type: ignore[index]
    app.write(services=[service, other])
    app.build("1.4.0")
    assert app.deploy("1.4.0").status == 0
    assert set(host.check_output(links).split()) == {
        f"{app.name}-second.service",
        f"multi-user.target.wants/{app.name}-other.service",
    }, "what a unit is called, and who wants it, has changed"
    app.write(services=[service])
    app.build("1.5.0")
    assert app.deploy("1.5.0").status == 0
    assert host.check_output(f"find {UNITS} -name '*{app.name}-*'") == ""


@pytest.mark.parametrize("slots", [False, True], ids=["in place", "slots"])
def test_a_host_whose_unit_files_are_links_is_taken_over(app: App, on: On, slots: bool) -> None:
    """Slipway linked unit files into releases once: the next deploy knows such a link as its own, and replaces it."""
    host = on("app1")
    slotted = Slotted(app, host) if slots else None
    app.write(hosts="app1")
    for version in ("1.0.0", "1.1.0"):
        if slotted:
            slotted.build(version)
        else:
            app.build(version)
    assert app.deploy("1.0.0").status == 0
    unit = f"{app.name}@blue.service" if slots else f"{app.name}.service"
    release = host.check_output(f"readlink -f {app.home}/current") if slots else f"{app.home}/current"
    # As it was: no first line of ours, and a link.
    name = f".slipway/unit-files/{unit}"
    host.check_output(
        f"cd {release} && sed -i '/^# Slipway:/d' {name} && sed -i '\\|{name}$|d' .slipway/manifest && "
        f"sha256sum ./{name} >>.slipway/manifest && ln -sf {release}/{name} {UNITS}/{unit} && systemctl daemon-reload"
    )
    upgraded = app.deploy("1.1.0")
    assert upgraded.status == 0, upgraded.err
    back = invoke("rollback", app.env)
    assert back.status == 0, back.err
    file = host.file(f"{UNITS}/{unit}")
    assert (file.is_symlink, file.mode) == (False, 0o644)
    again = app.deploy("1.1.0")
    assert again.status == 0, again.err
    assert invoke("status", app.env).status == 0
