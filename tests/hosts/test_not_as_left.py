"""What is on hosts is not always as a deploy left it: somebody made, removed, copied or moved something by hand."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, Ran, invoke

On = Callable[[str], Host]


@pytest.fixture
def one(app: App) -> App:
    """An application on one host."""
    app.write(hosts="app1")
    return app


def ship(app: App, version: str, *flags: str) -> Ran:
    """Build a version and deploy it."""
    app.build(version)
    return app.deploy(version, *flags)


def current(app: App, on: On) -> str:
    """The id of the release that runs."""
    return str(on("app1").check_output("readlink %s/current", app.home)).removeprefix("releases/")


def test_only_what_slipway_made_is_pruned(one: App, on: On) -> None:
    """Folders that a person made stay, and their names, whatever is in them, cost no release its place."""
    one.write(keep_releases=3)
    host, releases = on("app1"), f"{one.home}/releases"
    assert ship(one, "1.0").status == 0
    first = current(one, on)
    assert ship(one, "1.1").status == 0
    second = current(one, on)
    by_hand = [f"{first}.bak", f"{second} kept", f"{second}\n{second}", "20200101T000000Z-mine"]
    host.check_output(f"cp -a {releases}/{first} {releases}/{first}.bak")
    for name in by_hand[1:]:
        host.check_output("mkdir %s", f"{releases}/{name}")
    done = ship(one, "1.2")
    assert done.status == 0, done.err
    for name in [first, second, *by_hand]:
        assert host.run("test -d %s", f"{releases}/{name}").rc == 0, name
    for name in ("20200101T000000Z-mine", f"{first}.bak"):
        assert f"releases/{name} was not made by Slipway, and is left alone" in done.err
    assert ship(one, "1.3").status == 0
    assert host.run("test -d %s", f"{releases}/{first}").rc == 1, "what Slipway made is pruned as ever"


def test_a_running_release_whose_folder_was_deleted(one: App, on: On) -> None:
    """Any deploy repairs it, and one that fails goes back to what is there; rollback goes to what ran before."""
    host = on("app1")
    assert ship(one, "1.0").status == 0
    first = current(one, on)
    one.settings["services"].append(
        {"name": f"{one.name}-worker", "unit": {"Service": {"ExecStart": "/bin/sleep infinity"}}}
    )
    one.write()
    assert ship(one, "1.1").status == 0
    gone = current(one, on)
    host.check_output(f"rm -rf {one.home}/releases/{gone}")
    (looked,) = invoke("status", one.env, "--json").json["hosts"]
    assert f"the folder of {gone}, which runs, is gone" in looked["warnings"][0], looked

    one.settings["services"].pop()
    one.write()
    one.build("1.2", line="exit 1")
    failed = one.deploy("1.2")
    assert failed.status == 1, failed.out + failed.err
    assert f"one that fails goes back to releases/{first}" in failed.err
    assert "1.1 → 1.0" in failed.out
    assert f"app1 runs 1.0, because the folder of {gone}, which it ran before, is gone" in failed.out
    assert "app1 runs 1.0, because" in invoke("history", one.env, "--json").json["records"][0]["message"]
    assert current(one, on) == first
    assert host.check_output(f"curl -s localhost:{one.port}/VERSION") == "1.0"
    assert host.run(f"systemctl cat {one.name}-worker").rc == 1, "nothing is left of what is gone"

    assert ship(one, "1.3").status == 0
    host.check_output(f"rm -rf {one.home}/releases/{current(one, on)}")
    back = invoke("rollback", one.env)
    assert back.status == 0, back.err
    assert current(one, on) == first
    host.check_output(f"rm -rf {one.home}/releases/{first}")
    made_whole = one.deploy("1.0")
    assert made_whole.status == 0, "the very version that was deleted"
    assert "is gone or incomplete" in made_whole.err and "is gone or incomplete" not in made_whole.out
    assert host.check_output(f"curl -s localhost:{one.port}/VERSION") == "1.0"


def test_current_is_a_folder(one: App, on: On) -> None:
    """It is seen before anything is staged, on a host that is new, too; and what is said to do helps."""
    host = on("app1")
    one.build("1.0")
    host.check_output(f"mkdir -p {one.home}/current")
    for task in (one.deploy("1.0"), one.deploy("1.0", "--check"), invoke("rollback", one.env)):
        assert task.status in (1, 2), task.out + task.err
        assert f"{one.home}/current is a directory, and not the link to the release that runs" in task.err
        assert f"mv {one.home}/current {one.home}/current.by-hand" in task.err
    assert host.check_output(f"ls {one.home}") == "current"
    host.check_output(f"mv {one.home}/current {one.home}/current.by-hand && touch {one.home}/shared")
    for task in (one.deploy("1.0"), one.deploy("1.0", "--check")):
        assert task.status == 1 and f"{one.home}/shared is not a folder, nor a link to one" in task.err, task.err
    host.check_output(f"rm {one.home}/shared")
    assert one.deploy("1.0").status == 0
    first = current(one, on)
    host.check_output(f"cd {one.home} && cp -rL current copy && rm current && mv copy current")
    refused = ship(one, "1.1")
    assert refused.status == 1 and "current is a directory" in refused.err
    shown = invoke("status", one.env)
    assert shown.status == 3 and "current is a directory" in shown.out + shown.err
    assert host.check_output(f"ls -A {one.home}").split() == ["current", "current.by-hand", "releases", "shared"]
    host.check_output(f"cd {one.home} && mv current current.copy && ln -s releases/{first} current")
    assert one.deploy("1.1").status == 0


def test_folders_between_and_data_behind_roots_links(one: App, on: On) -> None:
    """The application gets to nested folders, wherever they are; root's links to other disks stay and are backed up."""
    host, home, disk = on("app1"), f"/srv/{one.name}/deep/er/app", f"/mnt/{one.name}"
    write = "touch tmp/pids/1 var/cache/1 data/1 var/data/1 && exec python3 -m http.server"
    one.write(
        path=home,
        shared=["tmp/pids", "data", "var/data"],
        writable=["var/cache"],
        services=[{"name": one.name, "unit": {"Service": {"ExecStart": f"{home}/current/bin/run"}}}],
        backup={"drill": {"command": "exec python3 -m http.server $PORT"}},
    )
    run = f"#!/bin/sh\nset -eu\numask 022\ncd {home}/current\n{write} {one.port}\n".encode()
    host.check_output(
        f"umask 022; mkdir -p {disk} {home}/shared/var && mount -t tmpfs -o mode=755 tmpfs {disk} && "
        f"cd {disk} && mkdir flat nested && chown www-data: flat nested && echo flat >flat/kept && "
        "echo deep >nested/kept && "
        f"ln -s {disk}/flat {home}/shared/data && ln -s {disk}/nested {home}/shared/var/data"
    )
    try:
        for version in ("1.0", "1.1"):
            one.build(version, {"bin/run": run})
            done = one.deploy(version)
            assert done.status == 0, done.err
        assert host.check_output(f"readlink {home}/shared/data {home}/shared/var/data").split() == [
            f"{disk}/flat",
            f"{disk}/nested",
        ]
        for place in (f"{home}/shared/tmp/pids", f"{home}/current/var/cache", f"{disk}/flat", f"{disk}/nested"):
            assert host.check_output(f"stat -c %U {place}/1") == "www-data"
        backed_up = invoke("backup", one.env, "--json")
        assert backed_up.status == 0, backed_up.err
        drilled = invoke("verify-backups", one.env)
        assert drilled.status == 0, drilled.out + drilled.err
        restored = invoke("restore", one.env, f"--to-dir=/srv/look-{one.name}")
        assert restored.status == 0, restored.err
        kept = host.check_output(
            f"cat /srv/look-{one.name}/app1{disk}/flat/kept /srv/look-{one.name}/app1{disk}/nested/kept"
        )
        assert kept.split() == ["flat", "deep"]
    finally:
        host.run(f"umount -l {disk}; rm -rf /srv/look-{one.name}")


def test_a_release_is_whole_whatever_is_left_out_beside_it(one: App, on: On) -> None:
    """What is the application's to write, or left out of backups, is found by whole names, and never in the code."""
    host = on("app1")
    one.write(
        shared=["data"],
        writable=["log"],
        backup={
            "exclude": ["cache", f"{one.home}/shared/data/tmp*"],
            "drill": {"command": "cd $RELEASE && exec python3 -m http.server $PORT"},
        },
    )
    names = ("login.py", "logic/a.py", "lib/cache/store.py", "log/back\\nslash", "back\\nslash")
    files = dict.fromkeys(names, b"as built\n")
    one.build("1.0", files)
    done = one.deploy("1.0")
    assert done.status == 0, done.err
    release = f"{one.home}/releases/{current(one, on)}"
    data = f"{one.home}/shared/data"
    host.check_output(f"cd {data} && mkdir -p deep/cache tmp1 && touch deep/cache/1 tmp1/1 deep/kept")
    manifest = host.check_output(f"cat {release}/.slipway/manifest")
    assert "./login.py" in manifest and "./logic/a.py" in manifest and "log/back" not in manifest
    assert invoke("backup", one.env).status == 0
    drilled = invoke("verify-backups", one.env)
    assert drilled.status == 0, drilled.out + drilled.err
    restored = invoke("restore", one.env, f"--to-dir=/srv/look-{one.name}")
    assert restored.status == 0, restored.err
    there = host.check_output(
        f"cd /srv/look-{one.name}/app1{data} && find . -type f; rm -rf /srv/look-{one.name}"
    ).split()
    assert there == ["./deep/kept"]

    one.build("1.1", files)
    assert one.deploy("1.1").status == 0
    host.check_output("echo bent >%s", f"{release}/login.py")
    host.check_output("echo written >%s", f"{release}/log/back\\nslash")
    listed = invoke("rollback", one.env, "--list", "--json").json
    ran, went = listed["releases"]
    assert ran["runs_on"] == ["app1"] and not ran["damaged"] and not ran["next"]
    assert went["next"] == ["app1"] and went["damaged"] == {"app1": "login.py was changed"}
    assert went["backed_up"] and {backup["release"] for backup in listed["backups"]} >= {went["id"]}
    looked = invoke("rollback", one.env, "--check")
    assert looked.status == 0, looked.err
    assert f"restore {went['id']} from backup" in looked.out and "login.py was changed" in looked.out
    nowhere = invoke("rollback", one.env, "--check", "--to=nonsense")
    assert nowhere.status == 2 and f"the releases {ran['id']}, {went['id']}" in nowhere.err
    assert host.check_output("cat %s", f"{release}/login.py") == "bent"
    host.check_output(f"cd /var/backups/slipway && mv {one.name} {one.name}.away")
    unopened = invoke("rollback", one.env, "--check")
    assert unopened.status == 1 and "problem: app1: the restic repository" in unopened.out
    unopened = invoke("rollback", one.env)
    assert unopened.status == 1 and "(login.py was changed), and there is no restic repository" in unopened.err
    drilled = invoke("verify-backups", one.env, "--json")
    (found,) = drilled.json["hosts"]
    assert "Illegal" not in drilled.err and len(found["reasons"]) == 1 and not found["notes"], drilled.out + drilled.err
    host.check_output(f"cd /var/backups/slipway && mv {one.name}.away {one.name}")
    back = invoke("rollback", one.env)
    assert back.status == 0, back.err
    assert "login.py" in back.err and "restoring it from its backup" in back.err
    assert host.check_output("cat %s", f"{release}/login.py") == "as built"

    one.write(backup={**one.settings["backup"], "exclude": ["/opt/*/releases"]})
    refused = invoke("backup", one.env)
    assert refused.status != 0 and "/opt/*/releases of slipway_backup.exclude is in none of the folders" in refused.err


def test_what_was_changed_by_hand_is_told_and_keeps_no_other_host_from_going_back(app: App, on: On) -> None:
    """A hot fix in the running release was found out by nobody, until nothing in the fleet could go back any more."""
    app.write(hosts="app1,app2")
    host = on("app1")
    assert ship(app, "1.0").status == 0
    assert invoke("drift", app.env).status == 0
    host.check_output(f"echo fixed >>{app.home}/current/VERSION && chmod 700 {app.home}/current/bin/run")
    host.check_output(
        f"mkdir -p /etc/systemd/system/{app.name}.service.d && cd /etc/systemd/system/{app.name}.service.d &&"
        " printf '[Service]\\nNice=1\\n' >override.conf && echo '# by hand' >>../"
        f"{app.name}.service"
    )
    told = ["VERSION was changed", "bin/run has another mode or owner"]
    assert invoke("status", app.env, "--json").json["hosts"][0]["drift"][:2] == told
    found = invoke("drift", app.env, "--json")
    assert found.status == 1
    by_hand = [(change["kind"], change["name"]) for change in found.json["hosts"][0]["changes"]]
    drop_in = f"/etc/systemd/system/{app.name}.service.d/override.conf"
    unit = f"{app.name}.service"
    host_unit = f"/etc/systemd/system/{unit}"
    assert by_hand == [
        ("changed", "VERSION"),
        ("mode", "bin/run"),
        ("unit", host_unit),
        ("drop-in", drop_in),
        ("unread", unit),
    ]
    (diff,) = found.json["hosts"][0]["by_hand"]
    assert f"+++ {unit} (on the host, changed by hand)" in diff and "+# by hand" in diff
    assert found.json["hosts"][0]["undeployed"] == []
    assert [host["changes"] for host in found.json["hosts"]][1] == []
    host.check_output(f"touch $(seq -f {app.home}/current/f%g 250)")
    many = invoke("drift", app.env, "--json").json["hosts"][0]
    assert [change["kind"] for change in many["changes"]][:6] == [*(kind for kind, _ in by_hand), "added"]
    host.check_output(f"rm {app.home}/current/f*")
    assert "VERSION was changed" in app.deploy("1.0", "--check").out
    done = ship(app, "1.1")
    assert done.status == 0 and "app1: what runs is not as it was deployed (VERSION was changed" in done.err
    assert f"on app1 (VERSION was changed, bin/run has another mode or owner, {host_unit} " in done.out
    assert f"warning: app1: what runs is not as it was deployed ({drop_in} is a drop-in" in done.out, "that stays"

    back = invoke("rollback", app.env)
    assert back.status == 3, back.out + back.err
    assert "app1 stays on 1.1" in back.out and "(VERSION was changed), and no backup contains it" in back.out
    assert on("app2").check_output(f"curl -s localhost:{app.port}/VERSION") == "1.0"
    command = f"invoke deploy {app.env} --version=1.0 --limit=app1"
    assert f"Next: {command} deploys it again" in back.out
    mended = invoke(*command.split()[1:])
    assert mended.status == 0, mended.err
    assert host.check_output(f"curl -s localhost:{app.port}/VERSION") == "1.0"
    host.check_output(f"echo again >>{app.home}/current/VERSION")
    again = app.deploy("1.0")
    assert again.status == 0, "1.0 runs already, but not as it was deployed"
    assert "made by hand on app1 (VERSION was changed) are not in the new release" in again.out, again.out
    assert "deployed (VERSION" not in again.out, again.out
    assert host.check_output(f"curl -s localhost:{app.port}/VERSION") == "1.0"


def test_backups_that_no_rollback_takes_are_marked(one: App, on: On) -> None:
    """One from before the first release, or with a hot fix in it, looked like any other in lists and drills."""
    host, data = on("app1"), f"/srv/{one.name}"
    host.check_output(f"mkdir -p {data} && echo cat >{data}/cat")
    drill = {"command": "cd $RELEASE && exec python3 -m http.server $PORT"}
    one.write(backup={"paths": [data], "drill": drill, "after_deploy": False})
    first = invoke("backup", one.env, "--json").json["id"]
    drilled = invoke("verify-backups", one.env)
    assert drilled.status == 0, drilled.out
    assert "PASSED, for data alone" in drilled.out and "no release is in it" in drilled.out
    one.build("1.0")
    assert one.deploy("1.0").status == 0
    release = current(one, on)
    refused = invoke("rollback", one.env, f"--to={first}")
    assert refused.status == 2, refused.out
    assert f"backup {first} has no release in it: on app1 there was none" in refused.err
    assert f"invoke restore {one.env} --backup={first} --to-dir=" in refused.err

    host.check_output(f"echo fixed >>{one.home}/current/VERSION")
    fixed = invoke("backup", one.env, "--json").json["id"]
    listed = {row["id"]: row for row in invoke("rollback", one.env, "--list", "--json").json["backups"]}
    assert (listed[fixed]["changed"], listed[fixed]["lacking"]) == ({"app1": ["VERSION"]}, [])
    assert (listed[first]["changed"], listed[first]["lacking"]) == ({}, ["app1"])
    for task in (["backups"], ["rollback", "--list"]):
        out = invoke(*task, one.env).out
        assert [line for line in out.splitlines() if line.startswith(fixed) and "changed by hand" in line], out
        assert [line for line in out.splitlines() if line.startswith(first) and "none in it" in line], out
    for flag in ("--check", "--reason=test"):
        refused = invoke("rollback", one.env, f"--to={fixed}", flag)
        assert refused.status == 2 and "was changed by hand (on app1 VERSION)" in refused.err, refused.err
        assert f"--to={release} goes to it as it was deployed" in refused.err
    drilled = invoke("verify-backups", one.env, "--json")
    (verdict,) = drilled.json["hosts"]
    assert (verdict["status"], verdict["release"], verdict["started"]) == ("PASSED", release, True)
    assert "changed by hand (VERSION)" in verdict["notes"][0]
    restored = invoke("restore", one.env, f"--backup={fixed}", f"--to-dir=/srv/look-{one.name}")
    assert "changed by hand: VERSION" in restored.out, restored.out + restored.err
    assert host.check_output(f"tail -n 1 /srv/look-{one.name}/app1{one.home}/releases/{release}/VERSION") == "fixed"
    host.check_output(f"rm -r /srv/look-{one.name}")


def test_what_a_release_cannot_keep_is_refused(one: App, on: On) -> None:
    """What tar carries beside modes would be lost without a word; the message names the file, and the way out."""
    cases = {
        "has file capabilities": {"SCHILY.xattr.security.capability": "\x01"},
        "has an access control list": {
            "SCHILY.acl.access": "user::rwx,user:nobody:rwx,group::r-x,mask::rwx,other::r-x"
        },
    }
    for told, headers in cases.items():
        program = tarfile.TarInfo("bin/run")
        program.mode, program.pax_headers = 0o755, headers
        one.pack("1.0", [(tarfile.TarInfo("VERSION"), b""), (program, b"")])
        refused = one.deploy("1.0")
        assert refused.status == 1 and f'"bin/run" {told}' in refused.err, refused.err
        assert ("AmbientCapabilities=" in refused.err) == (told == "has file capabilities")
        assert f"slipway_keep: [{'capabilities' if 'capa' in told else 'acls'}]" in refused.err
    plain = one.folder / "plain"
    with plain.open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    one.write(artifact=f"{one.folder}/{one.name}-{{version}}.tar.zst")
    with tarfile.open(one.folder / "plain.tar", "w") as tar:
        tar.add(plain, "zeros")
    made = ["zstd", "-q", "--long=28", str(one.folder / "plain.tar"), "-o", f"{one.folder}/{one.name}-1.0.tar.zst"]
    subprocess.run(made, check=True)
    refused = one.deploy("1.0")
    assert refused.status == 1 and "compressed with a window of more than 128 MB" in refused.err, refused.err
    assert "--long=27" in refused.err and "damaged" not in refused.err
    assert on("app1").run(f"ls -A {one.home}/releases/*").stdout == ""


def test_what_files_have_beside_their_modes_is_kept(one: App, on: On) -> None:
    """From the artifact past hooks, deltas, backups and drills; what was changed by hand is damage, and put right."""
    host, port = on("app1"), one.port - 8600
    url = f"http://127.0.0.1:{port}/VERSION"
    one.write(
        keep=["capabilities", "acls", "xattrs"],
        deltas="always",
        health={"attempts": 20, "interval": "500ms", "checks": [{"type": "http", "url": url}]},
        backup={"drill": {"command": "cd $RELEASE && exec bin/python -m http.server $PORT"}},
    )
    python, noise = Path("/usr/bin/python3").read_bytes(), os.urandom(5_000_000)

    def build(version: str, capability: int = 10) -> None:
        one.build(version, {"noise": noise, "bin/python": python}, line=f"exec bin/python -m http.server {port}")
        value = (0x2000001).to_bytes(4, "little") + (1 << capability).to_bytes(4, "little") + bytes(12)
        program = {"security.capability": value.decode(errors="surrogateescape"), "user.from": "the build"}
        more = {
            "bin/python": {f"SCHILY.xattr.{name}": text for name, text in program.items()},
            "VERSION": {"SCHILY.acl.access": "user::rw-,user:nobody:r--,group::---,mask::r--,other::---"},
        }
        with tarfile.open(one.folder / f"{one.name}-{version}.tar.gz") as tar:
            members = [(info, content.read() if (content := tar.extractfile(info)) else b"") for info in tar]
        for info, _ in members:
            info.pax_headers = more.get(info.name, {})
        one.pack(version, members)

    def look(release: str) -> list[str]:
        place = f"{one.home}/releases/{release}"
        told = f"cd {place} && getcap bin/python && getfattr --only-values -n user.from bin/python && echo"
        reads = [host.run(f"runuser -u {user} -- cat {place}/VERSION").rc for user in ("nobody", "daemon")]
        return [*host.check_output(told).splitlines(), *map(str, reads)]

    kept = ["bin/python cap_net_bind_service=ep", "the build", "0", "1"]
    build("1.0", capability=7)
    refused = one.deploy("1.0")
    assert refused.status == 1 and "has the capability cap_setuid, which slipway_capabilities does not" in refused.err
    build("1.0")
    assert one.deploy("1.0").status == 0
    first = current(one, on)
    assert look(first) == kept
    build("1.1")
    done = one.deploy("1.1")
    assert done.status == 0 and "sending what it has not beyond 1.0" in done.err, done.err
    assert look(current(one, on)) == kept
    assert host.check_output(f"curl -s {url}") == "1.1"
    drilled = invoke("verify-backups", one.env)
    assert drilled.status == 0, drilled.out + drilled.err

    host.check_output(f"setcap cap_net_bind_service,cap_net_raw+ep {one.home}/releases/{first}/bin/python")
    back = invoke("rollback", one.env)
    assert back.status == 0, back.err
    assert "other capabilities, access lists or attributes" in back.err and "restoring it from its backup" in back.err
    assert look(first) == kept and host.check_output(f"curl -s {url}") == "1.0"

    one.write(hooks={"install": [{"run": "cp VERSION built && setfattr -n user.made -v 1 built"}]})
    build("1.2")
    done = one.deploy("1.2")
    assert done.status == 0, done.err
    assert look(current(one, on)) == kept and host.check_output(f"cat {one.home}/current/built") == "1.2"
    one.write(hooks={"install": [{"run": "mv bin there && ln -s ../../../../usr/bin bin"}]})
    build("1.3")
    refused = one.deploy("1.3")
    assert refused.status == 1 and "a file that has capabilities is not what the artifact brought" in refused.err
    assert host.run("getcap /usr/bin/python3.11").stdout == ""


def test_what_another_tool_deployed_is_adopted(one: App, on: On) -> None:
    """A Capistrano layout that serves is what a failed deploy, a guard and a rollback go back to, with its own unit."""
    host, home, theirs = on("app1"), one.home, f"{one.home}/releases/20240201120000"
    adopted = "20240201T120000Z-20240201120000"
    served = f"curl -s --retry 20 --retry-connrefused --retry-delay 1 localhost:{one.port}/VERSION"
    log = f"StandardError=append:{home}/shared/log/run"
    unit = f"[Service]\nUser=www-data\n{log}\nExecStart={home}/current/bin/run\n[Install]\nWantedBy=multi-user.target\n"
    run = f"#!/bin/sh\ncd {home}/current\nexec python3 -m http.server {one.port}\n"
    host.check_output(
        f"mkdir -p {theirs}/bin {home}/shared/log && echo old >{theirs}/VERSION && ln -s {theirs} {home}/current &&"
        f" ln -s {home}/shared/log {theirs}/log"
    )
    host.check_output(f"printf %s >{theirs}/bin/run; chmod 755 {theirs}/bin/run; chown -R www-data: {home}", run)
    for name in (one.name, f"{one.name}-other"):
        text = unit if name == one.name else unit.replace("bin/run", "bin/sleep")
        host.check_output(f"printf %s >/etc/systemd/system/{name}.service", text)
    host.check_output(
        f"cp /bin/sleep {theirs}/bin/ && sed -i 's|/sleep|/sleep 1d|' /etc/systemd/system/{one.name}-other.service"
    )
    host.check_output(f"systemctl daemon-reload && systemctl enable --now {one.name} {one.name}-other")
    jobs = f"{one.name}-jobs@"
    text = f"[Service]\nExecStart=/bin/sleep 1d\nWorkingDirectory={home}/current\n[Install]\nWantedBy=timers.target\n"
    host.check_output(f"printf %s >/etc/systemd/system/{jobs}.service", text)
    host.check_output(f"systemctl daemon-reload && systemctl enable --now {jobs}1 {jobs}2")
    asked = f"systemctl show --property=MainPID --value {one.name}"
    process = host.check_output(asked)
    one.write(shared=["log"], backup={"drill": {"command": "cd $RELEASE && exec python3 -m http.server $PORT"}})
    one.build("1.0")

    def refused(sentence: str) -> None:
        before = host.check_output(f"cd {home} && find . -printf '%p %i %T@ %U\\n' | sort")
        for task in (one.deploy("1.0"), one.deploy("1.0", "--check")):
            assert task.status == 1, task.out + task.err
            assert sentence in task.err + task.out
        assert host.check_output(f"cd {home} && find . -printf '%p %i %T@ %U\\n' | sort") == before

    refused(f"chown root: {home}")
    host.check_output(f"cd {home} && chown root: . releases shared && chmod go-w . releases shared")
    host.check_output(f"runuser -u www-data -- ln -s /etc/later {theirs}/.slipway")
    refused("has a .slipway that is not Slipway's")
    host.check_output(f"rm {theirs}/.slipway")
    refused(f"systemctl disable --now {jobs}1.service {jobs}2.service")
    work = {"name": jobs, "instances": [2, 3], "unit": {"Service": {"ExecStart": "/bin/sleep 2d"}}}
    one.write(services=[*one.settings["services"], work])
    refused(f"{one.name}-other.service runs what is in {home}/current")
    host.check_output(f"systemctl disable --now {one.name}-other; rm /etc/systemd/system/{one.name}-other.service")
    looked = one.deploy("1.0", "--check")
    assert looked.status == 0 and f"adopt releases/20240201120000 as {adopted}" in looked.out
    assert host.check_output(f"readlink {home}/current") == theirs

    # What it is asked for is its version, which the old application cannot know.
    check = {**one.settings["health"]["checks"][0], "body": "^{version}$"}
    one.write(health={**one.settings["health"], "checks": [check]})
    one.build("1.1", line="exit 1")
    failed = one.deploy("1.1")
    assert failed.status == 1 and "rolled back" in failed.out, failed.out + failed.err
    # Its log is root's to open and www-data's to put a link there: it is told, and no way back is kept from it.
    told = f"a unit of release {adopted} has StandardError=, and {home}/shared/log/run is in {home}/shared/log"
    assert told in failed.err, failed.err
    assert current(one, on) == adopted
    assert host.check_output(served) == "old"
    working = f"systemctl list-units --plain --no-legend --state=active '{jobs}*' | cut -d ' ' -f 1"
    assert host.check_output(working).split() == [f"{jobs}1.service", f"{jobs}2.service"]
    assert "User=www-data" in host.check_output(f"systemctl cat {one.name}")
    one.write(keep_releases=2)
    assert one.deploy("1.0").status == 0
    assert host.check_output(served) == "1.0"
    assert host.check_output(asked) != process
    assert host.check_output(working).split() == [f"{jobs}2.service", f"{jobs}3.service"]
    back = invoke("rollback", one.env)
    assert (back.status, told in back.err) == (0, True), back.err
    assert host.check_output(served) == "old"
    assert host.check_output(working).split() == [f"{jobs}1.service", f"{jobs}2.service"]
    one.write(services=one.settings["services"][:1])
    drilled = invoke("verify-backups", one.env)
    assert drilled.status == 0, drilled.out + drilled.err
    for version in ("1.2", "1.3", "1.4"):
        assert ship(one, version).status == 0
    assert host.check_output(f"cat {theirs}/VERSION {home}/releases/{adopted}/VERSION").split() == ["old", "old"]
