"""Backups on real hosts: what is in them, who sees the password, and what stands in their way (A2, C3)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.backups import DRILL, back_up, make_shop, repositories, secret, shop, sql
from tests.hosts.conftest import App, invoke, wait_until

On = Callable[[str], Host]
__all__ = ["repositories", "shop"]
pytestmark = pytest.mark.usefixtures("repositories")


def test_a_backup_holds_all_there_is_and_can_be_looked_at(shop: App, on: On) -> None:
    """A path left out of the snapshot, or a live SQLite file instead of a copy, is found out when it is too late."""
    records = {record["host"]: record for record in back_up(shop)}
    assert {record["id"] for record in records.values()} == {records["db1"]["id"]}, "one id for the whole fleet"
    assert records["app1"]["release"].endswith("-1.0.0")
    assert (records["db1"]["kind"], records["db1"]["databases"][0]["tables"]) == ("database", 1)
    assert len(records["app1"]["snapshot"]) == 64
    listed = invoke("backups", shop.env, "--json").json["backups"]
    assert {record["id"] for record in listed} >= {records["db1"]["id"]}

    restored = invoke("restore", shop.env, f"--to-dir=/srv/look-{shop.name}", "--json")
    assert restored.status == 0, restored.err
    place = f"/srv/look-{shop.name}/app1"
    live = on("app1")
    assert live.file(f"/srv/look-{shop.name}").mode == 0o700, "a backup holds secrets"
    live.check_output(f"diff -r {shop.home}/current/ {place}{shop.home}/releases/{records['app1']['release']}/")
    assert live.file(f"{place}/srv/{shop.name}/media/cat.txt").content_string == "cat\n"
    assert live.file(f"{place}{shop.home}/shared/data/upload.txt").user == "www-data"
    assert not live.file(f"{place}{shop.home}/shared/data/notes.db").exists, "the live file may be half written"
    copy = f"{place}{shop.state}/backup.d/sqlite{shop.home}/shared/data/notes.db"
    assert live.check_output(f"sqlite3 {copy} 'select count(*) from notes'") == "2"  # noqa: S608
    dump = f"/srv/look-{shop.name}/db1{records['db1']['databases'][0]['file']}"
    assert "TABLE public items" in on("db1").check_output(f"pg_restore --list {dump}")

    again = invoke("restore", shop.env, f"--to-dir=/srv/look-{shop.name}")
    assert again.status == 1
    assert "not an empty folder" in again.err
    assert invoke("restore", shop.env, "--to-dir=relative/path").status == 2
    assert invoke("restore", shop.env, "--to-dir=/srv/other", "--backup=nonsense").status == 2


def test_no_password_in_a_command_line_a_log_or_a_file(shop: App, on: On, specs: dict[str, HostSpec]) -> None:
    """Any user of a host sees command lines; journals and leftover files are read by more people than root."""
    shop.write(
        databases=[
            {"name": shop.name, "via": "app1", "host": specs["db1"].address, "user": shop.name, "password": "token"}
        ]
    )
    # A password with what .pgpass gives a meaning.
    secret(shop, "token").write_text("qu:te\\secret-9x7\n")
    sql(on, f"alter role {shop.name} password 'qu:te\\secret-9x7'")
    app1 = on("app1")
    app1.run("rm -f /run/seen; (for i in $(seq 300); do ps -eo args; sleep 0.01; done >/run/seen) >/dev/null 2>&1 &")
    records = back_up(shop)
    assert [record["databases"][0]["name"] for record in records] == [shop.name], "dumped over the network"
    seen = app1.check_output("cat /run/seen")
    assert "restic" in seen
    assert "pg_dump" in seen
    journal = app1.check_output("journalctl --no-pager")
    for password in (secret(shop, "restic").read_text().strip(), "secret-9x7"):
        assert password not in seen + journal
        assert (
            app1.run(
                f"grep -rlF --exclude=seen -e {password} /var/lib/slipway /var/backups/slipway/{shop.name} /tmp /run"
            ).stdout
            == ""
        )


def test_first_deploy_on_a_new_host_has_nothing_to_back_up(app: App) -> None:
    """A deploy that refuses to start without a backup of nothing could never be the first."""
    app.write(hosts="app1", backup={"paths": [f"/srv/{app.name}-not-yet"]})
    made = invoke("backup", app.env, "--json")
    assert made.status == 0, made.err
    assert made.json["nothing_to_back_up"] == ["app1"]
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    failed = invoke("backup", app.env)
    assert failed.status == 1, "data that is gone, or a misspelt path, must be told once there is an application"
    assert f"/srv/{app.name}-not-yet is to be backed up and is not there" in failed.err


def test_a_repository_that_is_gone_is_not_made_anew(shop: App, on: On) -> None:
    """A silent new repository, say beside a disk that is not mounted, would hide that all backups are gone."""
    on("app1").run(f"mv /var/backups/slipway/{shop.name} /var/backups/slipway/{shop.name}.away")
    failed = invoke("backup", shop.env)
    assert failed.status == 1
    assert f"the restic repository /var/backups/slipway/{shop.name} is gone" in failed.err
    assert not on("app1").file(f"/var/backups/slipway/{shop.name}").exists
    on("app1").run(f"mv /var/backups/slipway/{shop.name}.away /var/backups/slipway/{shop.name}")
    back_up(shop)


def test_what_stands_in_the_way_is_told(shop: App, on: On) -> None:
    """Each of these ends without a backup; a person at night needs the sentence that says which."""
    right = secret(shop, "restic").read_text()
    secret(shop, "restic").unlink()
    for task in ("backup", "verify-backups"):
        missing = invoke(task, shop.env)
        assert (missing.status, "secret 'restic_password'" in missing.err) == (2, True), missing.err
    secret(shop, "restic").touch(mode=0o600)
    secret(shop, "restic").write_text("another-one-altogether\n")
    wrong = invoke("backup", shop.env)
    assert wrong.status == 1
    assert "the password does not open" in wrong.err
    assert "slipway_backup.password" in wrong.err
    secret(shop, "restic").write_text(right)

    on("db1").run("systemctl stop postgresql@15-main")
    down = invoke("backup", shop.env)
    on("db1").run("systemctl start postgresql@15-main")
    assert (down.status, f"db1: cannot dump database {shop.name}" in down.err) == (1, True), down.err

    # A dump that is cut off or empty would pass every check restic has.
    on("db1").run("printf '#!/bin/sh\\nexit 0\\n' >/usr/local/bin/pg_dump; chmod 755 /usr/local/bin/pg_dump")
    empty = invoke("backup", shop.env)
    on("db1").run("rm /usr/local/bin/pg_dump")
    assert (empty.status, "is not readable" in empty.err) == (1, True), empty.err

    before = on("app1").check_output(f"ls {shop.state}/backups")
    on("app1").run(f"mount -t tmpfs -o size=4m,mode=755 tmpfs /srv/{shop.name}")
    on("app1").run(f"mkdir /srv/{shop.name}/media; head -c 3000000 /dev/urandom >/srv/{shop.name}/media/big")
    shop.write(backup={**shop.settings["backup"], "repository": f"/srv/{shop.name}/{{host}}"})
    full = invoke("backup", shop.env)
    on("app1").run(f"umount /srv/{shop.name}")
    assert (full.status, "no room for restic" in full.err) == (1, True), full.err
    assert on("app1").check_output(f"ls {shop.state}/backups") == before, "a failed backup has left a record"


def test_a_deploy_without_a_backup_needs_a_young_one(shop: App, on: On) -> None:
    """Deploying with nothing to go back to, or not at all because of a database host's hiccup (A2: 6 hours)."""
    back_up(shop)
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    on("db1").run("printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/pg_dump; chmod 755 /usr/local/bin/pg_dump")
    shop.write(backup={**shop.settings["backup"], "max_age": "0s"})
    refused = shop.deploy("1.1.0")
    shop.write(backup={**shop.settings["backup"], "max_age": "1h"})
    warned = shop.deploy("1.1.0", "--json")
    on("db1").run("rm /usr/local/bin/pg_dump")
    assert (refused.status, f"cannot dump database {shop.name}" in refused.err) == (1, True), refused.err
    assert on("app1").check_output(f"ls {shop.home}/releases | wc -l") == "2", "the refused one was left behind"
    assert (warned.status, "going on with the backup of" in str(warned.json["warnings"])) == (0, True), warned.err
    there = {record["id"] for record in invoke("backups", shop.env, "--json").json["backups"]}
    assert warned.json["backup"] in (*there, None), "it names a backup that nobody has made"

    shop.build("1.2.0", {"bin/drill": DRILL.encode()})
    on("db1").check_output(f"rm -rf /var/backups/slipway/{shop.name}")
    gone = shop.deploy("1.2.0")
    assert gone.status == 1, "what is recorded is gone with its repository"
    assert "1.1.0" in on("app1").check_output(f"readlink {shop.home}/current")


def test_a_lock_left_by_a_killed_restic_does_not_stop_the_next(shop: App, on: On) -> None:
    """restic killed in the middle leaves its lock; every backup after it would fail until somebody knows why."""
    app1, repository = on("app1"), f"/var/backups/slipway/{shop.name}"
    password = secret(shop, "restic").read_text().strip()
    # An exclusive lock, as prune has: check waits for nothing while it reads, so it is stopped there and killed.
    app1.run(
        f"cd /; RESTIC_PASSWORD={password} restic -r {repository} --no-cache check --read-data >/dev/null 2>&1 & "
        # While it is written it has another name, and counts for nobody.
        f"for i in $(seq 500); do ls {repository}/locks | grep -qv tmp && break; sleep 0.01; done; kill -9 $!"
    )
    assert app1.check_output(f"ls {repository}/locks") != "", "no lock was left; the test proves nothing"
    back_up(shop)
    assert app1.check_output(f"ls {repository}/locks") == ""


def test_old_backups_expire_with_their_records_and_no_others(shop: App, on: On) -> None:
    """Retention that takes another application's snapshots, or leaves records of what is gone, is worse than none."""
    shop.write(backup={**shop.settings["backup"], "keep": {"within": "7d", "last": 1}})
    app1, password = on("app1"), secret(shop, "restic").read_text().strip()
    restic = f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{shop.name} --no-cache"
    old = "20200101T000000Z-0.9.0"
    for tags in (f"slipway,app={shop.name},id={old}", "slipway,app=another,id=another", "by-hand"):
        app1.check_output(f"{restic} backup --time '2020-01-01 00:00:00' --host app1 --tag {tags} /etc/hostname")
    tag = f"app={shop.name},id={old}"
    app1.check_output(
        f"cd {shop.state}/backups && : >{old}.manifest && last=$(ls *.json | tail -n 1) &&"
        f" own=$({restic} snapshots --json --tag {tag} | jq -r '.[0].id') &&"
        f" jq -c --arg own $own '.id = \"{old}\" | .snapshot = $own' $last >{old}.json"
    )
    made = invoke("backup", shop.env, "--json")
    assert made.json["expired"] == [old], made.err
    assert app1.run(f"ls {shop.state}/backups/{old}*").rc != 0
    left = json.loads(app1.check_output(f"{restic} snapshots --json"))
    assert {tag for snapshot in left for tag in snapshot["tags"]} >= {"app=another", "by-hand", f"app={shop.name}"}
    assert f"id={old}" not in {tag for snapshot in left for tag in snapshot["tags"]}


def test_a_backup_ends_although_its_controller_dies(shop: App, on: On) -> None:
    """A laptop that is closed must leave a whole backup or none, and no dump lying about."""
    number = len(invoke("backups", shop.env, "--json").json["backups"])
    process = shop.start("backup")
    wait_until(lambda: on("app1").run("pgrep -x restic").rc == 0)
    process.kill()
    process.communicate()
    wait_until(lambda: len(invoke("backups", shop.env, "--json").json["backups"]) == number + 2)
    for name in ("app1", "db1"):
        wait_until(lambda name=name: not on(name).file(f"{shop.state}/backup.d").exists)  # type: ignore[misc]
    back_up(shop)


def test_one_host_with_everything_has_one_backup_of_it(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """On a single VM the application's host is the database's: neither half may be left out, nor drilled twice."""
    make_shop(app, on, specs, host="db1")
    (record,) = back_up(app)
    assert (record["kind"], record["databases"][0]["name"]) == ("application", app.name)
    assert record["sqlite"] == [f"{app.home}/shared/data/notes.db"]
    drilled = invoke("verify-backups", app.env, "--json")
    assert drilled.status == 0, drilled.out
    assert [(host["host"], host["started"]) for host in drilled.json["hosts"]] == [("db1", True)]
