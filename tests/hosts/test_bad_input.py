"""What bad input gets: a sentence naming host, file or key and the next command; the fleet as it was."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

from lab import machine
from lab import up as lab_up
from lab.spec import HostSpec
from tests.hosts.conftest import APPS, App, clear_edge, invoke, wait_until
from tests.hosts.test_deploy import answer

On = Callable[[str], Host]


@pytest.fixture
def running(app: App) -> App:
    """An application that runs 1.0.0."""
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    return app


def assert_untouched(app: App, on: On, *, hosts: tuple[str, ...] = APPS) -> None:
    """1.0.0 runs, and nothing of the failed attempt is left on any disk."""
    for name in hosts:
        assert answer(on, app, name) == "1.0.0"
        left = on(name).check_output(f"ls -A {app.home}/releases").split()
        assert len(left) == 1, f"{name} has leftovers: {left}"


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


HOSTILE = {
    "climbs out": [member("../../../tmp/slipway-escaped")],
    "absolute": [member("/tmp/slipway-escaped")],
    "absolute link": [member("etc", kind=tarfile.SYMTYPE, link="/etc")],
    "link that climbs out": [member("a/b", kind=tarfile.SYMTYPE, link="../../x")],
    "links that climb out together": [
        member("d/e", kind=tarfile.DIRTYPE, mode=0o755),
        member("d/e/up", kind=tarfile.SYMTYPE, link=".."),
        member("out", kind=tarfile.SYMTYPE, link="d/e/up/../.."),
    ],
    "hard link out": [member("passwd", kind=tarfile.LNKTYPE, link="../../../../etc/passwd")],
    "device": [member("null", kind=tarfile.CHRTYPE)],
    "pipe": [member("pipe", kind=tarfile.FIFOTYPE)],
    "setuid": [member("su", mode=0o4755)],
    "our own name": [member(".slipway/complete")],
    "newline in a name": [member("a\nb")],
    "nothing": [],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_is_refused(kind: str, running: App, on: On) -> None:
    """One member that reaches out of the release would write as root anywhere on the host (A3)."""
    ours = [(member("VERSION"), b""), (member("bin/run", mode=0o755), b"")] if HOSTILE[kind] else []
    running.pack("6.6.6", [*ours, *((info, b"") for info in HOSTILE[kind])])
    refused = running.deploy("6.6.6")
    assert refused.status == 1
    assert "the artifact is refused" in refused.err, refused.err
    assert not on("app1").file("/tmp/slipway-escaped").exists
    assert_untouched(running, on)


def test_damaged_artifacts(running: App, on: On) -> None:
    """Truncated, not an archive at all, not what its checksum says: each must be told for what it is."""
    whole = running.build("2.0.0").read_bytes()
    place = running.folder / f"{running.name}-2.0.0.tar.gz"
    place.write_bytes(whole[: len(whole) // 2])
    truncated = running.deploy("2.0.0")
    assert (truncated.status, "cannot be read as an archive" in truncated.err) == (1, True), truncated.err
    place.write_bytes(b"this is no archive")
    assert "cannot be read as an archive" in running.deploy("2.0.0").err
    place.with_name(place.name + ".sha256").write_text("0" * 64 + f"  {place.name}\n")
    wrong = running.deploy("2.0.0")
    assert (wrong.status, "damaged or not what was built" in wrong.err) == (2, True)
    assert_untouched(running, on)


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """Files over HTTP, as hosts would fetch them."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_address[1]}"
        server.shutdown()


def test_artifact_from_a_url_with_its_checksum(running: App, on: On) -> None:
    """Hosts that fetch something else than what was asked for must not unpack it."""
    path = running.build("3.0.0")
    with served(running.folder, running.lab.gateway) as url:
        missing = invoke("deploy", running.env, f"--artifact={url}/{path.name}")
        assert (missing.status, "no checksum" in missing.err) == (2, True)
        path.with_name(path.name + ".sha256").write_text("f" * 64)
        other = invoke("deploy", running.env, f"--artifact={url}/{path.name}")
        assert (other.status, "not the one that was asked for" in other.err) == (1, True), other.err
        gone = invoke("deploy", running.env, f"--artifact={url}/nothing-1.tar.gz", "--sha256=" + "a" * 64)
        assert (gone.status, "cannot fetch" in gone.err) == (1, True), gone.err
        assert_untouched(running, on)
        path.with_name(path.name + ".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
        good = invoke("deploy", running.env, f"--artifact={url}/{path.name}")
        assert good.status == 0, good.err
    assert answer(on, running, "app2") == "3.0.0"


def test_configuration_mistakes_are_told_all_at_once(running: App, on: On) -> None:
    """One mistake a run would make a person run it five times; none may reach a host."""
    running.write(helth={}, keep_releases="many", rollout={"batch": "0%"}, artifact=running.settings["artifact"])
    wrong = running.deploy("1.0.0")
    assert wrong.status == 2
    for expected in ("slipway_helth", "did you mean slipway_health?", "slipway_keep_releases", "'many'", "batch"):
        assert expected in wrong.err
    assert "group_vars/all.yml:" in wrong.err
    assert_untouched(running, on)


def test_templates_and_units_that_are_wrong(running: App, on: On) -> None:
    """An undefined name must be found before any host is reached; a bad unit before any host is switched."""
    templates = running.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "x.j2").write_text("port={{ no_such_name }}\n")
    running.write(config=[{"template": "x.j2", "dest": "x.conf"}])
    undefined = running.deploy("1.0.0")
    assert undefined.status == 2
    assert "no_such_name" in undefined.err
    assert "x.j2" in undefined.err
    running.write(config=[])
    running.settings["services"][0]["unit"]["Service"]["ExecStart"] = "/nowhere/at/all"
    running.write()
    running.build("2.0.0")
    bad = running.deploy("2.0.0")
    assert (bad.status, "systemd does not accept the unit" in bad.err) == (1, True), bad.err
    assert "staging" not in bad.err
    assert_untouched(running, on)


def test_a_dry_run_finds_what_a_deploy_would_end_on(running: App, on: On) -> None:
    """A dry run that passes what the deploy refuses is worse than none; a service called ssh would end every sshd."""
    running.build("2.0.0")
    password = running.folder / "secrets" / "restic"
    password.rename(password.with_name("good"))
    running.write(backup={"enabled": True})
    for flag in ("--check", "--json"):
        missing = running.deploy("2.0.0", flag)
        assert (missing.status, f"there is no file {password}" in missing.err) == (2, True), missing.err
    password.with_name("good").rename(password)
    assert invoke("backup", running.env).status == 0
    password.write_text("another\n")

    service = running.settings["services"][0]
    own = {"ExecStart": f"{running.home}/current/bin/rum", "Restrat": "always", "EnvironmentFile": "/etc/no-such.env"}
    running.write(
        services=[
            {"name": running.name, "unit": {"Service": own}},
            {"name": "ssh", "socket": "22", "unit": {"Service": {"ExecStart": "/bin/sleep 9"}}},
        ],
    )
    expected = [
        "the release has no bin/rum, which a unit names in ExecStart= or the like; did you mean bin/run?",
        "ssh.service is there already, and is a package's",
        "Unknown key",
        "did you mean Restart?",
        "there is no /etc/no-such.env",
        "port 22 is taken: ssh.service (sshd) listens at",
    ]
    checked = running.deploy("2.0.0", "--check", "--json")
    assert checked.status == 1
    for host in checked.json["hosts"]:
        told = " ".join(host["problems"])
        for sentence in [*expected, "the password does not open the restic repository"]:
            assert sentence in told, told
    refused = running.deploy("2.0.0")
    assert (refused.status, "staging" in refused.err) == (1, False), refused.err
    for sentence in expected:
        assert sentence in refused.err
    running.write(services=[service], backup={"enabled": False})
    assert_untouched(running, on)


def test_full_disk_during_staging(running: App, on: On) -> None:
    """A disk that fills up must cost neither the running release nor leave half of the new one behind."""
    host = on("app2")
    size = 3 * 1024
    host.run(
        f"cp -a {running.home} /run/{running.name}.copy; mount -t tmpfs -o size={size}k full {running.home}; "
        f"cp -a /run/{running.name}.copy/. {running.home}/"
    )
    try:
        running.build("2.0.0", files={"big": bytes(range(256)) * 4 * 4096})
        full = running.deploy("2.0.0")
        assert full.status == 1
        assert "app2" in full.err
        assert "has room for" in full.err or "is full" in full.err
        assert_untouched(running, on)
    finally:
        host.run(f"umount -l {running.home}")


def test_somebody_else_holds_the_lock(running: App, on: On) -> None:
    """A second deploy must leave with 4 and say who; and the lock must end with its owner, even one killed."""
    running.write(hooks={"install": [{"run": "sleep 30"}]})
    running.build("2.0.0")
    owner = running.start("deploy", "--version=2.0.0")
    wait_until(
        lambda: bool(on("app3").run(f"test -s {running.state}/lock && ! flock -n {running.state}/lock true").rc == 0)
    )
    second = invoke("deploy", running.env, "--version=1.0.0", "--force", "--json")
    assert second.status == 4
    assert second.json["error"]["code"] == "lock.held"
    assert "deploy 2.0.0" in second.json["error"]["message"]
    assert invoke("status", running.env, "--json").json["hosts"][0]["lock"]
    owner.kill()
    owner.communicate()
    wait_until(lambda: bool(on("app3").run(f"flock -n {running.state}/lock true").rc == 0))


def test_a_balancer_that_does_not_know_a_host_ends_a_deploy_before_it_begins(running: App, on: On) -> None:
    """It once took the fleet through staging first, and left a guard behind that could not put anything right."""
    clear_edge(on("edge1"))
    balancer = {"hosts": "edge1", "port": running.port, "listen": [8099], "health_path": "/VERSION"}
    running.write(hosts="app1:app2", balancer=balancer)
    assert invoke("provision", running.env).status == 0
    running.write(hosts="app")
    running.build("2.0.0")
    refused = running.deploy("2.0.0", "--json")
    assert refused.status == 1, refused.err
    assert refused.json["error"]["code"] == "step.unknown-server"
    assert refused.json["error"]["message"].startswith("the balancer has no server app3")
    assert refused.json["error"]["hint"].endswith(f"invoke provision {running.env}")
    assert_untouched(running, on)
    assert not on("edge1").file(f"{running.state}/guard").exists
    checked = invoke("deploy", running.env, "--version=2.0.0", "--check", "--json")
    assert (checked.status, checked.json["hosts"][-1]["host"]) == (1, "edge1")
    for looked in (invoke("traffic", running.env), invoke("status", running.env)):
        assert looked.status == 3
        assert "the balancer has no server app3" in looked.out
        assert f"Next: invoke provision {running.env}" in looked.out
    assert invoke("provision", running.env).status == 0
    assert running.deploy("2.0.0").status == 0
    clear_edge(on("edge1"))


def test_hosts_that_cannot_be_used(running: App, on: On, specs: dict[str, HostSpec]) -> None:
    """Unreachable, wrong key, unknown and changed host key, no sudo: nothing must be sent, and each told apart."""
    inventory = running.folder / "inventory" / "hosts.yml"
    good = yaml.safe_load(inventory.read_text())
    running.build("2.0.0")

    def deploy_with(**variables: str) -> tuple[int, str]:
        changed = yaml.safe_load(inventory.read_text())
        changed["all"]["children"]["app"]["hosts"]["app2"].update(variables)
        inventory.write_text(yaml.safe_dump(changed))
        ran = running.deploy("2.0.0")
        inventory.write_text(yaml.safe_dump(good))
        return ran.status, ran.err

    ssh = running.lab.folder / "ssh"
    other = running.folder / "known_hosts"
    other.write_text("")
    status, err = deploy_with(ansible_ssh_common_args=f"-o UserKnownHostsFile={other}")
    assert (status, "no host key is recorded" in err, "host-keys" in err) == (2, True, True), err
    app1, address = (ssh / "hosts/app1.pub").read_text().rsplit(" ", 1)[0], specs["app2"].address
    other.write_text(f"{address} {app1}\n")
    status, err = deploy_with(ansible_ssh_common_args=f"-o UserKnownHostsFile={other}")
    assert (status, "CHANGED" in err, err.count("SHA256:") >= 2) == (2, True, True), err
    status, err = deploy_with(ansible_ssh_private_key_file=str(ssh / "hosts/app1"))
    assert (status, "accepts none of your keys" in err) == (1, True), err
    status, err = deploy_with(ansible_ssh_private_key_file="/nosuch/key")
    assert (status, "/nosuch/key cannot be read" in err) == (1, True), err
    locked = running.folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "phrase", "-f", locked], check=True)
    status, err = deploy_with(ansible_ssh_private_key_file=str(locked))
    assert (status, "locked by a passphrase" in err, "ssh-add" in err) == (1, True, True), err
    status, err = deploy_with(ansible_port="2222")
    assert (status, "cannot connect" in err, "app2" in err, "Connection refused" in err) == (1, True, True, True), err
    on("app2").run("useradd -m nosudo; cp -r ~deploy/.ssh ~nosudo/; chown -R nosudo: ~nosudo")
    status, err = deploy_with(ansible_user="nosudo")
    assert (status, "sudo refused" in err) == (2, True), err
    assert_untouched(running, on)


def test_rollback_works_without_the_host_that_is_down(running: App, on: On, specs: dict[str, HostSpec]) -> None:
    """At 3 a.m. one dead host must not keep the others on the bad release; and it must not be forgotten (exit 3)."""
    running.write(timeouts={"connect": 2})
    running.build("2.0.0")
    assert running.deploy("2.0.0").status == 0
    machine.power_off(running.lab, specs["app3"])
    try:
        back = invoke("rollback", running.env, "--reason=night", "--json")
        assert back.status == 3
        results = {host["host"]: host["result"] for host in back.json["hosts"]}
        assert results == {"app1": "rolled back", "app2": "rolled back", "app3": "unreachable"}
        assert [answer(on, running, name) for name in ("app1", "app2")] == ["1.0.0", "1.0.0"]
        assert running.deploy("2.0.0").status == 1
    finally:
        lab_up.boot(running.lab, specs["app3"])
    wait_until(lambda: answer(on, running, "app3") == "2.0.0", seconds=40)


def test_values_are_never_read_by_a_shell(running: App, on: On) -> None:
    """A quote, newline or $(...) in a reason, a version or a setting must arrive as it is, or be refused."""
    evil = "$(touch /tmp/slipway-evil) `touch /tmp/slipway-evil` '; touch /tmp/slipway-evil; \" \\ -n"
    running.build("2.0.0")
    assert running.deploy("2.0.0").status == 0
    back = invoke("rollback", running.env, f"--reason={evil}")
    assert back.status == 0, back.err
    assert invoke("history", running.env, "--json").json["records"][0]["reason"] == evil
    assert invoke("deploy", running.env, f"--version={evil}").status == 2
    running.write(hooks={"install": [{"run": "true", "name": evil}]})
    assert running.deploy("2.0.0").status == 0
    for name in APPS:
        assert not on(name).file("/tmp/slipway-evil").exists
    assert not Path("/tmp/slipway-evil").exists()
