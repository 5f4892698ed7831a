"""Every way to back up a database, held against one contract on real hosts: dump, pgbackrest, command (C3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.backups import back_up, reasons, repositories, verify
from tests.hosts.conftest import App, Ran, invoke, wait_until

On = Callable[[str], Host]
__all__ = ["repositories"]
pytestmark = pytest.mark.usefixtures("repositories", "servers")

STANZA, PORT = "slipwaytest", 5444
# A cloud's command line, as small as can be: it keeps dumps in a folder.
CLOUD = r"""#!/bin/sh
set -eu
place=/srv/cloud; mkdir -p $place
[ "$CLOUD_TOKEN" = very-token-secret ] || { echo "who are you?" >&2; exit 1; }
sql() { cd / && runuser -u postgres -- psql -XAtqv ON_ERROR_STOP=1 "$@"; }
case $1 in
    create)
        echo "making it" >&2
        cd / && runuser -u postgres -- pg_dump -Fc "$SLIPWAY_DATABASE" >"$place/snap-$SLIPWAY_BACKUP"
        echo "snap-$SLIPWAY_BACKUP" ;;
    wait) test -s "$place/$SLIPWAY_SNAPSHOT" ;;
    list) ls $place ;;
    restore)
        sql -c "drop database $SLIPWAY_DATABASE with (force)" -c "create database $SLIPWAY_DATABASE"
        cd / && runuser -u postgres -- pg_restore -d "$SLIPWAY_DATABASE" <"$place/$SLIPWAY_SNAPSHOT" ;;
    delete) rm "$place/$SLIPWAY_SNAPSHOT" ;;
    drill) pg_restore --list "$place/$SLIPWAY_SNAPSHOT" | grep -q 'TABLE public items' ;;
esac
"""
COMMANDS = {kind: f"cloud {kind}" for kind in ("create", "wait", "list", "restore", "delete", "drill")}


@dataclass(frozen=True)
class Kind:
    """A method with the server that its databases are on."""

    method: str
    port: int
    settings: dict[str, Any]

    def sql(self, on: On, statement: str, database: str = "postgres") -> str:
        command = "cd /; runuser -u postgres -- psql -XAtqv ON_ERROR_STOP=1 -p %s -d %s -c %s"
        done = on("db1").run(command, str(self.port), database, statement)
        assert done.rc == 0, done.stderr
        return str(done.stdout.strip())


KINDS = {
    "dump": Kind("dump", 5432, {"method": "dump"}),
    "pgbackrest": Kind("pgbackrest", PORT, {"method": "pgbackrest", "stanza": STANZA, "archive_timeout": "20s"}),
    "command": Kind(
        "command", 5432, {"method": "command", **COMMANDS, "user": "root", "secrets": {"CLOUD_TOKEN": "cloud"}}
    ),
}
PGBACKREST = f"""[global]
repo1-path=/var/lib/pgbackrest
repo1-retention-full=2
start-fast=y
compress-type=zst
compress-level=1

[{STANZA}]
pg1-path=/var/lib/postgresql/15/{STANZA}
pg1-port={PORT}
"""


@pytest.fixture(scope="module")
def servers(on: On) -> Iterator[None]:
    """A cluster of its own for pgBackRest, and a cloud."""
    db1 = on("db1")
    db1.run(f"cat >/usr/local/bin/cloud <<'END'\n{CLOUD}\nEND\nchmod 755 /usr/local/bin/cloud")
    db1.run(f"cat >/etc/pgbackrest.conf <<'END'\n{PGBACKREST}\nEND")
    db1.check_output(f"pg_createcluster 15 {STANZA} --port {PORT} -- --no-sync")
    settings = ("archive_mode = on", f"archive_command = 'pgbackrest --stanza={STANZA} archive-push %p'", "fsync = off")
    for line in settings:
        db1.check_output(f'echo "{line}" >>/etc/postgresql/15/{STANZA}/postgresql.conf')
    db1.check_output(f"systemctl daemon-reload; systemctl start postgresql@15-{STANZA}")
    yield
    db1.run(
        f"systemctl stop postgresql@15-{STANZA}; pg_dropcluster 15 {STANZA}; rm -rf /var/lib/pgbackrest/* /srv/cloud"
    )
    db1.run("rm -f /usr/local/bin/cloud /etc/pgbackrest.conf")


@pytest.fixture
def shop(app: App, on: On, request: pytest.FixtureRequest) -> Iterator[tuple[App, Kind]]:
    """1.0.0 of an application with a database of 500 rows, that is backed up by the method."""
    kind = KINDS[getattr(request, "param", "pgbackrest")]
    kind.sql(on, f"create database {app.name}")
    kind.sql(on, "create table items as select i as id from generate_series(1, 500) i", app.name)
    token = app.folder / "secrets" / "cloud"
    token.touch(mode=0o600)
    token.write_text("very-token-secret\n")
    secrets = {**app.settings["secrets"], "cloud": {"file": str(token)}}
    kind.sql(on, "alter system reset all")
    kind.sql(on, "select pg_reload_conf()")
    if kind.method == "pgbackrest":
        # A test before this one may have lost WAL.
        pgbackrest = f"cd /; runuser -u postgres -- pgbackrest --stanza={STANZA}"
        on("db1").run(f"{pgbackrest} info | grep -q ' backup: ' && {pgbackrest} backup")
    app.write(hosts="app1", secrets=secrets, backup={"keep": {"within": "7d"}})
    ask(app, kind, 500)
    provisioned = invoke("provision", app.env)
    assert provisioned.status == 0, provisioned.err
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    yield app, kind
    kind.sql(on, f"drop database if exists {app.name} with (force)")


def ask(app: App, kind: Kind, rows: int, **changes: Any) -> None:
    """Set what a good copy has."""
    check = f"select count(*) = {rows} from items"  # noqa: S608
    way = {**kind.settings, **changes}
    app.write(databases=[{"name": app.name, "via": "db", "port": kind.port, "checks": [check], "backup": way}])


def rows(on: On, kind: Kind, app: App) -> int:
    return int(kind.sql(on, "select count(*) from items", app.name))


def entry(app: App) -> dict[str, Any]:
    """What the newest backup says of the database."""
    records = invoke("backups", app.env, "--json").json["backups"]
    newest = max((record for record in records if record["host"] == "db1"), key=lambda record: record["id"])
    return {"id": newest["id"], **newest["databases"][0]}


def go_back(app: App, backup: str, *flags: str) -> Ran:
    return invoke("rollback", app.env, f"--to={backup}", "--with-database", "--json", *flags)


@pytest.mark.parametrize("shop", list(KINDS), indirect=True)
def test_each_method_keeps_the_contract(shop: tuple[App, Kind], on: On) -> None:
    """A method that lists what it has not, drills what is live, loses what was there, or keeps what has expired."""
    app, kind = shop
    app.build("1.1.0")
    assert app.deploy("1.1.0").status == 0
    made = entry(app)
    assert (made["name"], made["method"]) == (app.name, kind.method)
    kind.sql(on, "delete from items where id > 3", app.name)

    drilled = verify(app)
    assert drilled.status == 0, drilled.out
    assert rows(on, kind, app) == 3, "a drill has touched what is live"

    ask(app, kind, 500)
    back = go_back(app, made["id"])
    assert back.status == 0, back.err
    assert rows(on, kind, app) == 500
    # What was there is kept: beside it, or as a backup like any other.
    if kind.method == "dump":
        kept = kind.sql(on, f"select datname from pg_database where datname like '{app.name}_before_%'")  # noqa: S608
        assert kept in back.json["message"]
        kind.sql(on, f"drop database {kept}")
    else:
        before = entry(app)["id"]
        assert before in back.json["message"]
        ask(app, kind, 3)
        forth = go_back(app, before)
        assert forth.status == 0, forth.err
        assert rows(on, kind, app) == 3

    now_there = rows(on, kind, app)
    ask(app, kind, 7)
    refused = go_back(app, made["id"])
    assert refused.status == 1, refused.err
    assert "answers 'f', expected true" in refused.err
    assert rows(on, kind, app) == now_there, "what is not good enough has stayed"

    app.write(backup={"keep": {"within": "0h", "last": 1}})
    back_up(app)
    assert [
        record["id"] for record in invoke("backups", app.env, "--json").json["backups"] if record["host"] == "db1"
    ] == [entry(app)["id"]]
    if kind.method == "command":
        assert on("db1").check_output("ls /srv/cloud") == entry(app)["snapshot"], "a snapshot has outlived its backup"


def test_a_restore_point_that_is_no_backup_is_told(shop: tuple[App, Kind], on: On) -> None:
    """WAL that is lost shows when it is needed, and pgBackRest's errors are read by somebody who has no time."""
    app, kind = shop
    ask(app, kind, 500, stanza="another")
    wrong = invoke("backup", app.env)
    assert (wrong.status, "pgBackRest has no stanza 'another'" in wrong.err) == (1, True), wrong.err
    unset = invoke("provision", app.env)
    assert (unset.status, "not set up for stanza another" in unset.err) == (1, True), unset.err
    ask(app, kind, 500, archive_timeout="2s")
    app.write(backup={"max_age": "0s"})
    app.build("1.1.0")
    # One that fails, and one that says that it has done it.
    for command in ("false", "true"):
        kind.sql(on, f"alter system set archive_command = '{command}'")
        kind.sql(on, "select pg_reload_conf()")
        lost = app.deploy("1.1.0")
        assert (lost.status, "did not come into the archive" in lost.err) == (1, True), lost.err
        assert ("archive_command failed" in lost.err) == (command == "false"), lost.err
    kind.sql(on, "alter system reset archive_command")
    kind.sql(on, "select pg_reload_conf()")
    broken = app.deploy("1.1.0")
    assert (broken.status, "missing in the archive" in broken.err) == (1, True), "what is lost is lost for later points"
    back_up(app)
    assert app.deploy("1.1.0").status == 0, "a base backup after the hole"
    on("db1").run(f"systemctl stop postgresql@15-{STANZA}")
    down = invoke("backup", app.env)
    on("db1").run(f"systemctl start postgresql@15-{STANZA}")
    assert (down.status, f"cannot back up database {app.name}" in down.err) == (1, True), down.err
    # WAL of the point is gone: the drill says so, and a rollback touches nothing.
    made = entry(app)
    on("db1").check_output(f"rm $(find /var/lib/pgbackrest/archive -name '{made['wal']}-*')")
    failed = verify(app)
    assert failed.status == 1
    assert f"restore point {made['point']} cannot be reached" in reasons(failed)["db1"]
    refused = go_back(app, made["id"])
    assert (refused.status, "nothing was restored" in refused.err) == (1, True), refused.err
    assert rows(on, kind, app) == 500


def test_a_cluster_goes_back_whole_or_not_at_all(shop: tuple[App, Kind], on: On) -> None:
    """A neighbour's data that goes back unasked, a server that stays down, or a restore that dies with a laptop."""
    app, kind = shop
    app.build("1.1.0")
    assert app.deploy("1.1.0").status == 0
    first = entry(app)
    # Of the WAL between base backup and this point, some will be lost.
    lost = kind.sql(on, "select pg_walfile_name(pg_switch_wal())", app.name)
    kind.sql(on, "create table later (i int); select pg_switch_wal()", app.name)
    app.build("1.2.0")
    assert app.deploy("1.2.0").status == 0
    second = entry(app)
    assert (second["label"], second["method"]) == (first["label"], "pgbackrest"), "a deploy waits for no base backup"
    assert second["wal"] > lost
    back_up(app)
    assert entry(app)["label"].endswith("I"), "an incremental one"
    assert entry(app)["label"] > first["label"]
    kind.sql(on, "delete from items where id > 3", app.name)

    kind.sql(on, "create database neighbour")
    refused = go_back(app, first["id"])
    assert (refused.status, "others, which would go back too: neighbour" in refused.err) == (1, True), refused.err
    assert "--overrule=REASON" in refused.err
    assert invoke("rollback", app.env, "--overrule=why").status == 2

    # A file that is there, and is damaged: that shows when the server is down already.
    damage = "cp -p $file /run/whole && truncate --size=100 $file"
    on("db1").check_output(f"file=$(find /var/lib/pgbackrest/archive -name '{lost}-*'); {damage}")
    undone = go_back(app, second["id"], "--overrule=the neighbour knows")
    assert undone.status == 1
    assert "what was there before is back" in undone.err, undone.err
    assert rows(on, kind, app) == 3
    assert kind.sql(on, "select count(*) from pg_database where datname = 'neighbour'") == "1"

    on("db1").check_output(f"cp -p /run/whole $(find /var/lib/pgbackrest/archive -name '{lost}-*')")
    # The host finishes what was begun, also if its unit is killed, and the controller.
    slow = f"/etc/systemd/system/postgresql@15-{STANZA}.service.d"
    on("db1").run(
        f"mkdir -p {slow}; printf '[Service]\\nExecStartPre=/bin/sleep 4\\n' >{slow}/slow.conf; systemctl daemon-reload"
    )
    unit = f"slipway-restore-{app.name}.service"
    process = app.start("rollback", f"--to={first['id']}", "--with-database", "--overrule=the neighbour knows")
    both = f"systemctl show --property=ActiveState --value {unit} postgresql@15-{STANZA}"
    wait_until(lambda: on("db1").run(both).stdout.split() == ["activating", "activating"])
    process.kill()
    process.communicate()
    on("db1").check_output(f"systemctl kill --signal=KILL {unit}")
    on("db1").run(f"systemctl reset-failed {unit}; rm -r {slow}; systemctl daemon-reload")
    # As a boot does.
    on("db1").check_output("systemctl start multi-user.target")
    wait_until(
        lambda: (
            on("db1").run(f"systemctl cat {unit}").rc != 0
            or not on("db1").file(f"/etc/systemd/system/multi-user.target.wants/{unit}").exists
        )
    )
    assert rows(on, kind, app) == 500, on("db1").run(f"tail -n 5 {app.state}/restoring/*").stdout
    assert kind.sql(on, "select count(*) from pg_database where datname = 'neighbour'") == "0", "it went back, too"
