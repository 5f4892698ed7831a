"""Issue 3's security, on real hosts: what sudo allows, what values can do, where secrets show, whose keys count."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from lab.spec import HostSpec
from playbooks.core.errors import StepFailed
from playbooks.environments.load import load_environment
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Silent
from playbooks.steps.provision_sudo import file_name
from tests.hosts.backups import DRILL, make_shop
from tests.hosts.conftest import APPS, PROJECT, App, invoke
from tests.hosts.test_deploy import answer
from tests.hosts.test_fleet import change_host

On = Callable[[str], Host]

USER = "jo.ships"
SUDOERS = "/etc/sudoers.d/slipway-jo%2eships"
OTHER = "/etc/sudoers.d/zz-jo"
PASSWORD = "sudo asks 'me'"
HOSTS = ("app1", "db1")
# What is typed after sudo.
REFUSED = (
    "cat /etc/shadow",
    "-i",
    "/bin/sh",
    "/bin/sh -c id",
    "systemd-run --quiet --wait --pipe --collect --unit=slipway-x -- /bin/sh -c id",
    "systemd-run --pty /bin/sh",
    "-u deploy true",
    "visudo",
)


TEXT: dict[str, Any] = {"check": True, "capture_output": True, "text": True}
Grant = Callable[[str], None]


@pytest.fixture
def grant(on: On) -> Iterator[Grant]:
    """A login user of this test's own, on an application host and the database host; grants it a rule of sudo's."""
    for name in HOSTS:
        on(name).check_output(
            "useradd -m %s && cp -r ~deploy/.ssh %s && chown -R %s: %s && printf '%%s' %s | chpasswd",
            USER,
            f"/home/{USER}/",
            USER,
            f"/home/{USER}",
            f"{USER}:{PASSWORD}",
        )

    def write(rule: str) -> None:
        for name in HOSTS:
            text = f"{USER} {rule}\n" if rule else ""
            on(name).check_output("printf '%%s' %s >%s && chmod 0440 %s", text, OTHER, OTHER)

    yield write
    for name in HOSTS:
        on(name).run(f"rm -f {OTHER} {SUDOERS}; userdel -rf {USER}")


def log_in_as_user(app: App, **variables: str) -> None:
    inventory = app.folder / "inventory" / "hosts.yml"
    changed = yaml.safe_load(inventory.read_text())
    for group, hosts in changed["all"]["children"].items():
        for name in set(HOSTS) & set(hosts["hosts"]):
            changed["all"]["children"][group]["hosts"][name].update(ansible_user=USER, **variables)
    inventory.write_text(yaml.safe_dump(changed))


def assert_refused(host: Host, *, password: str = "") -> None:
    """None of the ways to a root shell is open to the user, who may well know the password."""
    sudo = "sudo -k -S -p ''" if password else "sudo -n"
    for words in REFUSED:
        command = f"runuser -u {USER} -- {sudo} {words}"
        done = host.run(f"printf '%%s\\n' %s | {command}", password)
        assert done.rc != 0, f"{words}: {done.stdout}"
        assert "sudo: " in done.stderr or "not allowed" in done.stderr, f"{words}: {done.stderr}"


def provisioned(app: App) -> dict[str, list[str]]:
    done = invoke("provision", app.env, "--json")
    assert done.status == 0, done.err
    return {host: changes for host, changes in done.json["hosts"].items() if changes}


def test_what_provision_lets_sudo_do_is_enough_and_no_more(
    app: App, on: On, specs: dict[str, HostSpec], grant: Grant
) -> None:
    """A rule that lets too little ends a deploy at night; one that lets too much hands out root unseen."""
    make_shop(app, on, specs)
    grant("ALL=(ALL) NOPASSWD: ALL")
    log_in_as_user(app)
    wrote = [f"wrote {SUDOERS}"]
    assert provisioned(app) == {"app1": wrote, "db1": wrote}
    grant("")
    assert provisioned(app) == {}, "a second provision changes something, or needs more sudo than the first one left"
    for name in HOSTS:
        host = on(name)
        file = host.file(SUDOERS)
        assert (file.user, file.group, file.mode) == ("root", "root", 0o440)
        assert_refused(host)

    app.build("2.0.0+b_1", {"bin/drill": DRILL.encode()})
    deployed = app.deploy("2.0.0+b_1")
    assert deployed.status == 0, deployed.err
    assert answer(on, app, "app1") == "2.0.0+b_1"
    for words in (["rollback", "--reason=it's \n late"], ["backup"], ["verify-backups"], ["health"]):
        done = invoke(*words, app.env)
        assert done.status == 0, f"{words}: {done.err}"
    assert answer(on, app, "app1") == "1.0.0"
    for words in (["status"], ["history"], ["backups"], ["drift"], ["logs"]):
        done = invoke(*words, app.env, "--json")
        assert done.status == 0, f"{words}: {done.err}"
    assert invoke("exec", app.env, "--", "test", "-f", "VERSION").status == 0
    assert f"COMMAND=/usr/bin/systemd-run --quiet --wait --pipe --collect --unit=slipway-{app.name}-deploy-" in on(
        "app1"
    ).check_output("journalctl _COMM=sudo -o cat --since=-5min"), "sudo's log does not show what was run"

    on("app1").check_output("printf '%%s' %s >%s", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", SUDOERS)
    assert provisioned(app) == {"app1": wrote}, "a rule that somebody widened stays"
    assert_refused(on("app1"))


def test_sudo_that_asks_goes_on_asking(app: App, on: On, grant: Grant) -> None:
    """Provision must neither take the password away from sudo, nor lock out whom it asks, nor start to ask others."""
    app.write(hosts="app1")
    grant("ALL=(ALL) ALL")
    log_in_as_user(app, ansible_become_password=PASSWORD)
    assert provisioned(app)["app1"][-1] == f"wrote {SUDOERS}"
    grant("")
    assert provisioned(app) == {}
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert answer(on, app, "app1") == "1.0.0"
    assert invoke("exec", app.env, "--", "test", "-f", "VERSION").status == 0
    assert "NOPASSWD" not in on("app1").file(SUDOERS).content_string
    assert_refused(on("app1"), password=PASSWORD)

    on("app1").check_output(f"rm {SUDOERS}")
    grant("ALL=(ALL) NOPASSWD: ALL")
    log_in_as_user(app, ansible_become_password="an old one that nobody asks for")
    assert provisioned(app)["app1"][-1] == f"wrote {SUDOERS}"
    grant("")
    assert provisioned(app) == {}, "it asks for a password where it did not before"


def test_rule_that_sudo_cannot_read_is_never_put_in_place(app: App, on: On, grant: Grant) -> None:
    """One bad line in one file of sudoers.d locks everybody out of the host."""
    app.write(hosts="app1")
    grant("ALL=(ALL) NOPASSWD: ALL")
    env = load_environment(str(app.folder / "inventory"), PROJECT)
    with open_fleet([env.target("app1").address], progress=Silent(), forks=1) as fleet:
        remote = fleet.remotes["app1"]
        with pytest.raises(StepFailed, match="visudo does not accept"):
            values = {"user": USER, "file": file_name(USER), "asks": "-"}
            remote.run("provision_sudo", values=values, payload=b"jo ALL=(root @TAG@: true\n")
    assert on("app1").check_output("ls -A /etc/sudoers.d | grep -c ships || :") == "0", "something of it is left"


def stranger(folder: Path, kind: str) -> tuple[str, str]:
    """A key that no host has: the line of a known_hosts file without its host, and its fingerprint."""
    file = folder / f"stranger_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    return file.with_suffix(".pub").read_text().rsplit(" ", 1)[0], told.split()[1]


def test_key_that_is_not_the_recorded_one_ends_it(app: App, on: On, specs: dict[str, HostSpec], tmp_path: Path) -> None:
    """Whoever answers in a host's place, or a bastion's, would be handed the release and its secrets."""
    app.build("1.0.0")
    ssh = app.lab.folder / "ssh"
    recorded = (ssh / "known_hosts").read_text()
    shown = {}
    for name in ("app2", "edge1"):
        listed = subprocess.run(["ssh-keygen", "-lf", "-"], input=(ssh / f"hosts/{name}.pub").read_text(), **TEXT)
        shown[name] = listed.stdout.split()[1]
    edge = specs["edge1"].address

    def refused(name: str, key: str, jump: str = "") -> str:
        address = specs[name].address
        others = "".join(line for line in recorded.splitlines(True) if not line.startswith(f"{address} "))
        (tmp_path / "known").write_text(f"{others}{address} {key}\n")
        app.write()
        change_host(app, "app2", ansible_ssh_common_args=f"-o UserKnownHostsFile={tmp_path}/known {jump}")
        before = {host: logins(on(host)) for host in ("app2", "edge1")}
        done = app.deploy("1.0.0")
        assert done.status == 2, done.err
        assert logins(on("app2")) == before["app2"] + 1, "somebody but this test itself logged in"
        if not jump or name == "edge1":
            assert logins(on("edge1")) == before["edge1"] + 1
        for host in APPS:
            assert not on(host).file(app.state).exists, f"something ran on {host}"
        return done.err

    key, fingerprint = stranger(tmp_path, "ed25519")
    told = refused("app2", key)
    assert "CHANGED" in told
    assert fingerprint in told
    assert shown["app2"] in told
    told = refused("edge1", key, f"-o ProxyJump=deploy@{edge}")
    assert "CHANGED" in told
    assert fingerprint in told
    assert shown["edge1"] in told
    # A host that we know by a key of another kind has changed too: whoever shows a new kind is no better known.
    key, _ = stranger(tmp_path, "ecdsa")
    told = refused("app2", key)
    assert shown["app2"] in told
    assert "Nothing was sent" in told


def logins(host: Host) -> int:
    return int(host.check_output("journalctl --sync; journalctl _COMM=sshd -o cat | grep -c 'Accepted publickey'"))
