"""No value of an inventory, a command line or an artifact is ever read by a shell, here or on a host (issue 3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from tests.hosts.backups import sql
from tests.hosts.conftest import PROJECT, App, invoke
from tests.hosts.test_deploy import answer

On = Callable[[str], Host]

# For where a slash is allowed, and for names. Wherever the latter's file is made, it is searched for.
EVIL = "-x $(touch /tmp/pwned) `touch /tmp/pwned`; touch /tmp/pwned && '\"\\ | # %s %n $HOME ${IFS}"
SECRET = EVIL[::-1]  # what is a secret is struck out wherever it shows
NAME = EVIL.replace("/tmp/", "")
HOST = f"app1 {NAME}"
MEMBERS = ("-rf", 'it\'s "q"', "sp ace", "a;b && c", "*", NAME)


@pytest.fixture(autouse=True)
def nothing_ran(on: On) -> Iterator[None]:
    """Whatever a test does, no shell has read a value."""
    yield
    for name in ("app1", "db1"):
        assert on(name).check_output("find / -xdev -name 'pwned*' 2>/dev/null || :") == ""
    for folder in (Path("/tmp"), Path.home(), PROJECT, Path.cwd()):
        assert not (folder / "pwned").exists()


def write(app: App, **changes: Any) -> None:
    """Write the inventory with a host and a group of an evil name."""
    app.write(**changes)
    place = app.folder / "inventory" / "hosts.yml"
    lab = yaml.safe_load(place.read_text())
    groups = lab["all"]["children"]
    groups["app"]["hosts"] = {HOST: groups["app"]["hosts"]["app1"]}
    lab["all"]["children"] = {NAME: {"children": {"app": groups["app"]}, "vars": {"evil": EVIL}}, "db": groups["db"]}
    place.write_text(yaml.safe_dump(lab))


def check(kind: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "name": f"{number} {EVIL}", "critical": False, "timeout": 1, **fields}


@pytest.fixture
def evil(app: App, on: On) -> Iterator[App]:
    """An application in which every value that can hold text holds a trap."""
    app.folder = app.folder / NAME
    app.folder.mkdir()
    templates = app.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / f"{NAME}.j2").write_text("{{ evil }}\n{{ secrets.token }}\n")
    for name in ("restic", "token"):
        Path(app.settings["secrets"]["token" if name == "token" else "restic_password"]["file"]).write_text(
            f"{name} {SECRET}\n"
        )
    data, good = f"/srv/{app.name} {NAME}", f"http://127.0.0.1:{app.port}/VERSION"
    on("app1").check_output("mkdir -p %s && cd %s && echo 1 >f && sqlite3 n.db 'create table t (c)'", data, data)
    digest = hashlib.sha256(EVIL.encode()).hexdigest()
    write(
        app,
        artifact=f"{app.folder}/{app.name}-{{version}}.tar.gz",
        config=[{"template": f"{NAME}.j2", "dest": f"conf/{NAME}"}],
        shared=[f"data {NAME}"],
        writable=[f"log {NAME}", "l*"],
        hooks={"install": [{"run": 'printf "%s" "$RELEASE" >hooked', "name": EVIL}]},
        databases=[
            {
                "name": f"{app.name}-$x",
                "via": "db",
                "owner": f"{app.name}-$HOME",
                "owner_password": "token",
                "min_tables": 0,
            },
        ],
        backup={
            "repository": "/var/backups/slipway/{app}/{host}",
            "paths": [data],
            "sqlite": [f"{data}/n.db"],
            "exclude": [EVIL],
            "drill": {
                "command": f'[ "$(printf %s "$E" | sha256sum | cut -c1-64)" = {digest} ] || exit 1; '
                "exec python3 -m http.server $PORT",
                "environment": {"E": EVIL},
                "url": f"http://127.0.0.1:{{port}}/VERSION?{NAME.replace(' ', '+')}",
            },
        },
        health={
            "attempts": 8,
            "interval": "500ms",
            "checks": [
                {"type": "http", "name": f"0 {EVIL}", "url": good, "headers": {"X-E": EVIL}},
                check("http", 1, url=f"http://127.0.0.1:{app.port}/{EVIL}"),
                check("http", 2, url=EVIL),
                check("http", 3, url=good, body=EVIL),
                check("http", 4, url=good, json_path=EVIL, json_value=EVIL),
                check("http", 5, url=good, expect_headers={EVIL: EVIL}),
                check("tcp", 6, host=EVIL, port=1),
                check("postgresql", 7, host=EVIL, database=EVIL, user=EVIL, password="token"),
                check("redis", 8, host=EVIL, password="token"),
                check("unit", 9, unit=EVIL),
            ],
        },
    )
    yield app
    sql(on, f'drop database if exists "{app.name}-$x"')
    sql(on, f'drop role if exists "{app.name}-$HOME"')
    on("app1").run("rm -rf %s", data)


def test_every_value_arrives_as_it_is(evil: App, on: On) -> None:
    """One value glued into a command line instead of passed as an argument is root on every host."""
    who = {"USER": EVIL, "LOGNAME": EVIL}

    def run(*words: str) -> Any:
        done = invoke(*words, evil.env, "--json", environment=who)
        assert done.status == 0, f"{words}: {done.out} {done.err}"
        assert not done.out.count("Traceback")
        return done.json

    for version in ("1.0.0", "2.0.0"):
        members = (*MEMBERS, f"log {NAME}/theirs", "lib.py")
        evil.build(version, {name: name.encode() for name in members})
    run("provision")
    run("deploy", "--version=1.0.0")
    run("deploy", "--version=2.0.0")
    host, release = on("app1"), f"{evil.home}/current"
    assert answer(on, evil, "app1") == "2.0.0"
    assert host.check_output("cat %s", f"{release}/conf/{NAME}") == f"{EVIL}\ntoken {SECRET}"
    for name in MEMBERS:
        assert host.check_output("cat -- %s", f"{release}/{name}") == name
    assert host.check_output("readlink -- %s", f"{release}/data {NAME}") == f"{evil.home}/shared/data {NAME}"
    assert host.check_output("stat -c %%U -- %s", f"{release}/log {NAME}") == "www-data"
    # What is writable is in no manifest, and nothing else is taken for it.
    manifest = host.file(f"{release}/.slipway/manifest").content_string
    assert "lib.py" in manifest and "theirs" not in manifest
    host.check_output("echo more >>%s", f"{release}/log {NAME}/theirs")

    reason = f"{EVIL}\n\t{EVIL} [red]"
    run("rollback", f"--reason={reason}")
    assert run("history")["records"][0]["reason"] == reason
    assert run("history")["records"][0]["by"].startswith(f"{EVIL}@")
    on_host = json.loads(host.check_output(f"tail -n 1 {evil.state}/ledger"))
    assert (on_host["reason"], on_host["host"]) == (reason, HOST)

    backups = run("backup")["backups"]
    assert {backup["host"] for backup in backups} == {HOST, "db1"}
    assert host.file(f"/var/backups/slipway/{evil.name}/{HOST}/config").exists
    drilled = run("verify-backups")["hosts"]
    assert {(one["host"], one["status"]) for one in drilled} == {(HOST, "PASSED"), ("db1", "PASSED")}
    run("restore", f"--to-dir=/srv/{evil.name} {NAME}/restored")
    assert host.file(f"/srv/{evil.name} {NAME}/restored/{HOST}/srv/{evil.name} {NAME}/f").content_string == "1\n"

    judged = run("health")["hosts"][HOST]
    names = [one["name"] for one in judged["checks"] if one["name"] != f"{evil.name}.service"]
    assert names == [f"{number} {EVIL}" for number in range(10)]
    assert run("status")["hosts"][0]["host"] == HOST
    for words in (["status"], ["history"], ["health"], ["backups"], ["inventory"]):
        assert invoke(*words, evil.env).status == 0, "only the JSON can be shown"


def test_what_cannot_arrive_is_refused(app: App, on: On) -> None:
    """A value that cannot be carried as it is must be refused by a sentence, before anything is touched."""
    app.build("1.0.0")
    flags = ("--version", "--artifact", "--sha256", "--batch", "--limit", "--wait", "--strategy")
    for flag in flags:
        refuse(app, f"{flag}={EVIL}")
    good = dict(app.settings)
    service = good["services"][0]
    for wrong in (
        {"app": NAME},
        {"path": "/opt/x|x|e;s|y"},
        {"path": f"/opt/{NAME}"},
        {"user": NAME},
        {"services": [{**service, "name": NAME}]},
        {"databases": [{"name": NAME, "via": "db"}]},
        {"databases": [{"name": "a", "via": "db", "owner": NAME}]},
        {"hooks": {"install": [{"run": "true", "name": "two\nlines"}]}},
        {"config": [{"template": "x", "dest": "../../etc/cron.d/x"}]},
        {"shared": ["/etc"]},
        {"backup": {"environment": {NAME: "token"}}},
    ):
        app.write(**wrong)
        refuse(app)
        app.settings = dict(good)
    app.write()
    place = app.folder / "inventory" / "hosts.yml"
    for name in ("../../etc", "two\nlines", "red\x1b]0;"):
        changed = yaml.safe_load(place.read_text())
        changed["all"]["children"]["app"]["hosts"] = {name: {"ansible_host": "127.0.0.1"}}
        place.write_text(yaml.safe_dump(changed))
        refuse(app)
    assert not on("app1").file(app.home).exists
    assert not on("app1").file(app.state).exists


def refuse(app: App, *flags: str) -> None:
    done = invoke("deploy", app.env, *(flags or ["--version=1.0.0"]))
    assert done.status == 2, f"{flags} {app.settings}: {done.err}"
    assert "error: " in {line[:7] for line in done.err.splitlines()[:2]}
    assert "Traceback" not in done.err
