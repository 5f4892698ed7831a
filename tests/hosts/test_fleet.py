"""Reaching hosts as people really do: through a bastion, with a sudo password, by ~/.ssh/config (contract: SSH)."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.conftest import APPS, INVOKE, PROJECT, App, Ran, invoke
from tests.hosts.test_deploy import answer

On = Callable[[str], Host]


def change_host(app: App, name: str, **variables: object) -> None:
    inventory = app.folder / "inventory" / "hosts.yml"
    changed = yaml.safe_load(inventory.read_text())
    changed["all"]["children"]["app"]["hosts"][name].update(variables)
    inventory.write_text(yaml.safe_dump(changed))


def test_through_a_bastion(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """ProxyJump: the bastion's key must be checked as strictly as the host's own."""
    app.build("1.0.0")
    jump = f"-o ProxyJump=deploy@{specs['edge1'].address}"
    known = f"-o UserKnownHostsFile={app.lab.folder}/ssh/known_hosts"
    change_host(app, "app2", ansible_ssh_common_args=f"{known} {jump}")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    came_from = on("app2").check_output(
        "journalctl -u ssh -o cat --since=-2min | grep 'Accepted publickey' | tail -n 30"
    )
    assert f"from {specs['edge1'].address}" in came_from, "it was not reached through the bastion"
    strangers = app.folder / "known"
    strangers.write_text(
        "".join(
            line
            for line in (app.lab.folder / "ssh/known_hosts").read_text().splitlines(keepends=True)
            if not line.startswith(f"{specs['edge1'].address} ")
        )
    )
    change_host(app, "app2", ansible_ssh_common_args=f"-o UserKnownHostsFile={strangers} {jump}")
    refused = invoke("status", app.env, "--json")
    by_name = {host["host"]: host for host in refused.json["hosts"]}
    assert by_name["app2"]["health"] == "unreachable", "a bastion that nobody knows was trusted"
    assert by_name["app1"]["health"] == "healthy"


def test_sudo_that_asks_for_a_password(app: App, on: On) -> None:
    """The password must reach sudo, and nothing else: no command line, no log."""
    password = "corr3ct horse' \"$x"
    host = on("app1")
    host.run(
        "useradd -m asks; cp -r ~deploy/.ssh ~asks/; chown -R asks: ~asks; "
        "echo 'asks ALL=(ALL) ALL' >/etc/sudoers.d/asks; chmod 0440 /etc/sudoers.d/asks"
    )
    subprocess.run(
        ["ssh", "-F", f"{app.lab.folder}/ssh/config", _address(app, "app1"), "sudo chpasswd"],
        input=f"asks:{password}\n",
        text=True,
        check=True,
        capture_output=True,
    )
    app.build("1.0.0")
    change_host(app, "app1", ansible_user="asks", ansible_become_password="wrong")
    refused = app.deploy("1.0.0")
    assert (refused.status, "sudo refused" in refused.err) == (2, True), refused.err
    change_host(app, "app1", ansible_become_password=password)
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert answer(on, app, "app1") == "1.0.0"
    assert password not in host.check_output("journalctl -o cat --since=-2min")
    assert password not in deployed.out + deployed.err


def _address(app: App, name: str) -> str:
    inventory = yaml.safe_load((app.lab.folder / "inventory/hosts.yml").read_text())
    return str(inventory["all"]["children"]["app"]["hosts"][name]["ansible_host"])


def as_at_home(folder: Path, *words: str) -> Ran:
    """Run a task with another ~/.ssh. ssh finds it by the passwd entry, whatever HOME says."""
    own = Path(pwd.getpwuid(os.getuid()).pw_dir, ".ssh")
    own.mkdir(mode=0o700, exist_ok=True)
    bind = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", bind, "-", str(folder), str(own), str(INVOKE), *words],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_by_the_users_own_ssh_config(app: App, on: On, tmp_path: Path) -> None:
    """A host that ~/.ssh/config describes must need nothing in the inventory; a Match of others must not count."""
    own = tmp_path / "ssh"
    own.mkdir(mode=0o700)
    aliases = "".join(f"Host {name}\n  HostName {_address(app, name)}\n" for name in APPS)
    (own / "aliases").write_text(aliases)
    (own / "config").write_text(
        f"Include aliases\nMatch host nobody.example\n  User wrong\nMatch exec false\n  Port 1\n"
        f"Host app1\n  ProxyJump none\n  AddressFamily inet\nHost app2\n"
        f"  ProxyCommand ssh -F {app.lab.folder}/ssh/config -W %h:%p %r@{_address(app, 'app3')} 2>/dev/null\n"
        f"Host app*\n  ProxyJump nowhere.invalid\n"
        f"Host *\n  User deploy\n  IdentityFile {app.lab.folder}/ssh/id_ed25519\n"
        f"  UserKnownHostsFile {app.lab.folder}/ssh/known_hosts\n"
    )
    (app.folder / "inventory" / "hosts.yml").write_text("app:\n  hosts:\n    app[1:2]:\n")
    app.build("1.0.0")
    deployed = as_at_home(own, "deploy", app.env, "--version=1.0.0")
    assert deployed.status == 0, deployed.err
    assert answer(on, app, "app2") == "1.0.0"


def test_by_a_user_that_the_machine_does_not_know(app: App, on: On) -> None:
    """CI's containers run as a number without a passwd entry, with no USER and no home."""
    app.build("1.0.0")
    # The lab's key is root's own.
    reading = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
    as_nobody = f"setpriv --reuid=4242 --regid=4242 --clear-groups {reading}"
    done = subprocess.run(
        [*as_nobody.split(), "env", "-i", f"PATH={os.environ['PATH']}", INVOKE, "deploy", app.env, "--version=1.0.0"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert answer(on, app, "app1") == "1.0.0"
    assert invoke("history", app.env, "--json").json["records"][0]["by"].startswith("uid-4242@")


def test_whatever_is_written_to(app: App, on: On) -> None:
    """A terminal without our characters, a full disk, a reader that has gone: the deploy is live, and says so."""
    app.build("1.0.0")
    app.build("2.0.0")
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    deployed = invoke("deploy", app.env, "--version=1.0.0", environment=poor)
    assert (deployed.status, answer(on, app, "app1")) == (0, "1.0.0"), deployed.err
    assert "- > 1.0.0" in deployed.out
    for version, to in (("2.0.0", ">/dev/full 2>&1"), ("1.0.0", ">&- 2>&-"), ("2.0.0", "| true")):
        line = f'"$1" deploy "$2" --version={version} {to}'
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line, "-", str(INVOKE), app.env],
            cwd=PROJECT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (to, done.stderr)
        assert answer(on, app, "app1") == version
    latin = {"PYTHONIOENCODING": "latin-1"}
    back = invoke("rollback", app.env, "--reason=für “Ü” → 漢字", "--json", environment=latin)
    assert (back.status, back.json["exit_status"], back.out.isascii()) == (0, 0, True), back.err
    again = invoke("rollback", app.env, "--reason=für “Ü” → 漢字", environment=poor)
    assert again.status == 0, again.err
    reasons = [record["reason"] for record in invoke("history", app.env, "--json").json["records"][:2]]
    assert reasons == ["für “Ü” → 漢字"] * 2
