"""The restore drill on real hosts: it passes for good backups, fails for all others, and leaves nothing behind (G9)."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.backups import DRILL, back_up, make_shop, reasons, repositories, secret, shop, sql, verdict, verify
from tests.hosts.conftest import App, invoke, wait_until

On = Callable[[str], Host]
__all__ = ["repositories", "shop"]
pytestmark = pytest.mark.usefixtures("repositories")


def leftovers(on: On, app: App) -> str:
    """Whatever a drill made and did not remove."""
    found = sql(on, f"select datname from pg_database where datname like 'slipway_drill_{app.name}%'")  # noqa: S608
    for name in ("app1", "db1"):
        host = on(name)
        found += host.run(f"ls -d {app.state}/slipway-drill* /srv/{app.name}/drill/*").stdout
        found += host.run("systemctl list-units --all --no-legend 'slipway-%s-drill*'", app.name).stdout
        found += host.run("grep %s/slipway-drill /proc/*/mountinfo", app.state).stdout
    return found


def test_a_good_backup_passes_and_nothing_is_left(shop: App, on: On) -> None:
    """A drill that fails good backups, writes into live data, or leaves copies of production data lying about."""
    back_up(shop)
    sql(on, "insert into items values (501)", shop.name)
    passed = verify(shop)
    assert (passed.status, passed.json["status"]) == (0, "PASSED"), passed.out
    assert {host["host"]: host["started"] for host in passed.json["hosts"]} == {"app1": True, "db1": False}
    for name in ("app1", "db1"):
        written = verdict(on, shop, name)
        assert (written["status"], written["reasons"]) == ("PASSED", [])
        assert on(name).file(f"{shop.state}/verified.json").mode == 0o600
    status = invoke("status", shop.env, "--json").json
    assert [host["verified"] for host in status["hosts"]] == ["PASSED"]
    assert not on("app1").file(f"{shop.home}/shared/data/drilled").exists, "the drill wrote into the live data"
    assert leftovers(on, shop) == ""


def test_what_the_restored_release_sees_is_the_backup(shop: App, on: On) -> None:
    """A drill that reaches the live release, data or database would pass with an empty backup."""
    back_up(shop)
    shop.build("1.1.0", {"bin/drill": b"#!/bin/sh\nexit 9\n"})
    sql(on, "insert into items values (501)", shop.name)
    app1 = on("app1")
    app1.check_output(f"sqlite3 {shop.home}/shared/data/notes.db 'insert into notes values (3)'")  # noqa: S608
    app1.check_output(f"echo dog >/srv/{shop.name}/media/cat.txt")
    # The drill's own answer, told as its failure: the release itself reports what it sees.
    tell = (
        "cat $RELEASE/data/drilled >&2; cat $MEDIA/cat.txt $RELEASE/VERSION >&2; "
        f"readlink -f {shop.home}/current >&2; exit 1"
    )
    drill = shop.settings["backup"]["drill"]
    command = f"(timeout 2 $RELEASE/bin/drill || true) >/dev/null 2>&1; {tell}"
    environment = {**drill["environment"], "MEDIA": f"/srv/{shop.name}/media"}
    changed = {**drill, "command": command, "environment": environment, "url": "http://127.0.0.1:{port}/never"}
    shop.write(backup={**shop.settings["backup"], "drill": changed})
    failed = verify(shop)
    assert failed.status == 1
    said = reasons(failed)["app1"]
    release = app1.check_output(f"readlink {shop.home}/current").removeprefix("releases/")
    seen = ["500", "2", f"{shop.home}/releases/{release} www-data", "cat", "1.0.0", f"{shop.home}/releases/{release}"]
    assert said.endswith(" / ".join(["slipway_backup.drill.read_only names", *seen])), said


def test_a_drilled_release_finds_all_that_the_real_one_has(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """Without the disk that root's link leads to, a runtime, or a database's socket, a drill fails good backups."""
    make_shop(app, on, specs, host="db1")
    host, data, runtime = on("db1"), f"{app.home}/shared/data", f"/opt/{app.name}-runtime"
    disk = f"/srv/{app.name}/disk"
    host.check_output(
        f"mv {data} {disk} && ln -s {disk} {data} && cd {disk} && mkdir mounted &&"
        " mount -t tmpfs -o mode=755 tmpfs mounted && echo deep >mounted/file && mkdir -m 755 %s && cd %s &&"
        " printf '#!/bin/sh\nexec $RELEASE/bin/drill' >go && chmod 755 go",
        runtime,
        runtime,
    )
    sql(on, 'create role "www-data" superuser login')
    drill = {
        **app.settings["backup"]["drill"],
        "command": f"grep -q deep $RELEASE/data/mounted/file && exec {runtime}/go",
        "environment": {"DATABASE_URL": "postgresql:///{database}?user=www-data"},
        "read_only": [runtime],
    }
    app.write(backup={**app.settings["backup"], "drill": drill})
    back_up(app)
    passed = verify(app)
    host.run(f"umount {disk}/mounted")
    sql(on, 'drop role "www-data"')
    assert (passed.status, passed.json["hosts"][0]["started"]) == (0, True), passed.out
    assert not host.file(f"{disk}/drilled").exists, "the drill wrote into the live data"


def damage_a_pack(on: On, app: App) -> None:
    pack = f"$(find /var/backups/slipway/{app.name}/data -type f -size +2k | head -n 1)"
    on("app1").check_output(f"chmod u+w {pack}; printf XXXX | dd of={pack} bs=1 seek=700 conv=notrunc status=none")


def empty_dump(on: On, app: App) -> None:
    """A backup as a careless script makes it: a snapshot and a manifest that agree, of a dump of 0 bytes."""
    password = secret(app, "restic").read_text().strip()
    place = f"{app.state}/backup.d"
    script = f"""
    cd {app.state}/backups; last=$(ls *.json | tail -n 1); id=29990101T000000Z-1.0.0
    mkdir -p {place}/databases; : >{place}/databases/{app.name}.dump
    (cd / && sha256sum .{place}/databases/{app.name}.dump) >$id.manifest
    snapshot=$(RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{app.name} --no-cache backup --json {place} |
        jq -r 'select(.snapshot_id).snapshot_id')
    jq -c --arg id $id --arg s $snapshot \
        '.id = $id | .snapshot = $s | .created = "2999-01-01T00:00:00Z"' $last >$id.json
    rm -rf {place}
    """
    assert on("db1").run("/bin/sh -ec %s", script).rc == 0


def drop_a_file(on: On, app: App) -> None:
    nothing = "0" * 64
    on("app1").check_output(
        f"for m in {app.state}/backups/*.manifest; do echo '{nothing}  .{app.home}/lost.txt' >>$m; done"
    )


def wrong_password(_: On, app: App) -> None:
    secret(app, "restic").write_text("something else\n")


def no_repository(on: On, app: App) -> None:
    on("db1").check_output(f"rm -rf /var/backups/slipway/{app.name}")


def no_records(on: On, app: App) -> None:
    on("app1").check_output(f"rm {app.state}/backups/*")


def broken_sqlite(on: On, app: App) -> None:
    """What the backup API copies faithfully: a database that is damaged on the live host already."""
    database = f"{app.home}/shared/data/notes.db"
    statements = (
        "pragma journal_mode = delete; create index i on notes (t); pragma writable_schema = on; "
        "update sqlite_schema set rootpage = 2 where name = 'i'"
    )
    on("app1").check_output(f'sqlite3 {database} "{statements}"')
    back_up(app)


def never_answers(_: On, app: App) -> None:
    drill = app.settings["backup"]["drill"]
    changed = {**drill, "command": "sleep 100", "timeout": "1s"}
    app.write(backup={**app.settings["backup"], "drill": changed})


def dies(_: On, app: App) -> None:
    dying = "echo PORT=8000 >/tmp/env; . /tmp/env; seq 9; echo no such module; echo at $DRILL_PORT, not $PORT; exit 3"
    drill = app.settings["backup"]["drill"]
    app.write(backup={**app.settings["backup"], "drill": {**drill, "command": dying}})


def bad_data(_: On, app: App) -> None:
    (database,) = app.settings["databases"]
    checks = ["select max(id) > 1000 from items", "select id from items", "select 1 from nowhere"]
    app.write(databases=[{**database, "checks": checks, "min_tables": 7}])


BAD: list[tuple[Callable[[On, App], None], str, list[str]]] = [
    (damage_a_pack, "app1", ["is damaged"]),
    (empty_dump, "db1", ["the dump of database {app} is empty"]),
    (drop_a_file, "app1", ["1 of", "{home}/lost.txt is missing"]),
    (wrong_password, "app1", ["the password does not open the restic repository"]),
    (no_repository, "db1", ["there is no restic repository at /var/backups/slipway/{app}"]),
    (no_records, "app1", ["there is no backup on this host"]),
    (never_answers, "app1", ["the restored release does not answer"]),
    (dies, "app1", ["the command ended", "say PORT=$DRILL_PORT after it", "9 / no such module / at ", ", not 8000"]),
    (bad_data, "db1", ["has 1 tables", "answers 'f'", "answers 500 rows", "nowhere"]),
    (broken_sqlite, "app1", ["the copy of SQLite database {home}/shared/data/notes.db is damaged"]),
]


def test_every_bad_backup_fails_with_its_reason(shop: App, on: On) -> None:
    """Each of these is a backup that could not be gone back to; PASSED would be found out on the day it is needed."""
    back_up(shop)
    folders = f"/var/backups/slipway/{shop.name} {shop.state}/backups"
    password, settings = secret(shop, "restic").read_text(), dict(shop.settings)
    for name in ("app1", "db1"):
        on(name).check_output(f"tar -C / -cf /srv/{shop.name}-good.tar {folders}")
    for damage, host, told in BAD:
        damage(on, shop)
        failed = verify(shop)
        where = f"{damage.__name__}: {failed.out}"
        assert (failed.status, failed.json["status"]) == (1, "FAILED"), where
        said = reasons(failed)[host]
        for text in told:
            assert text.format(app=shop.name, home=shop.home) in said, where
        written = verdict(on, shop, host)
        assert (written["status"], " / ".join([*written["reasons"], *written["log"]])) == ("FAILED", said), where
        assert leftovers(on, shop) == "", where
        # As it was before, for the next.
        secret(shop, "restic").write_text(password)
        shop.write(**settings)
        for name in ("app1", "db1"):
            on(name).check_output(f"rm -rf {folders} && tar -C / -xf /srv/{shop.name}-good.tar")


def test_what_a_killed_drill_left_is_gone_after_the_next(shop: App, on: On) -> None:
    """Copies of production data that pile up with every killed drill, and a release that runs for ever."""
    back_up(shop)
    drill = shop.settings["backup"]["drill"]
    slow = {**drill, "command": "exec sleep 500", "timeout": "60s"}
    shop.write(backup={**shop.settings["backup"], "drill": slow})
    unit = f"slipway-{shop.name}-drill-release.service"
    process = shop.start("verify-backups")
    wait_until(lambda: on("app1").run(f"systemctl is-active {unit}").rc == 0)
    second = verify(shop)
    assert second.status == 4, "two drills at once would pull each other's copies away"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    on("app1").run(f"systemctl kill --signal=KILL slipway-{shop.name}-drill-start.service")
    assert on("app1").run(f"systemctl is-active {unit}").rc == 0
    assert f"slipway_drill_{shop.name}" in leftovers(on, shop)
    shop.write(backup={**shop.settings["backup"], "drill": drill})
    passed = verify(shop)
    assert passed.status == 0, passed.out
    assert leftovers(on, shop) == ""


def test_a_drill_that_is_broken_off_cleans_up_and_says_nothing(shop: App, on: On) -> None:
    """Ctrl-C in the afternoon must not turn last night's PASSED into FAILED, and so stop a deploy."""
    back_up(shop)
    assert verify(shop).status == 0
    before = verdict(on, shop, "app1")
    drill = {**shop.settings["backup"]["drill"], "command": "exec sleep 500", "timeout": "5s"}
    shop.write(backup={**shop.settings["backup"], "drill": drill})
    process = shop.start("verify-backups")
    wait_until(lambda: on("app1").run(f"systemctl is-active slipway-{shop.name}-drill-release").rc == 0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Ctrl-C" in err) == (1, True), err
    assert verdict(on, shop, "app1") == before
    assert leftovers(on, shop) == ""


def test_a_deploy_during_a_drill_is_not_held_up(shop: App, on: On) -> None:
    """A nightly drill that locks the repository, or waits for one, would break a deploy at night."""
    back_up(shop)
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    for _ in range(3):
        process = shop.start("verify-backups", "--json")
        wait_until(lambda: on("app1").run("pgrep -x restic").rc == 0)
        deployed = shop.deploy("1.1.0", "--force")
        out, err = process.communicate(timeout=60)
        assert deployed.status == 0, deployed.err
        assert process.returncode == 0, out + err


def test_a_place_without_room_is_told(shop: App, on: On) -> None:
    """A drill that fills the disk of a production host would be the outage it is meant to prevent."""
    on("app1").check_output(f"head -c 6000000 /dev/urandom >/srv/{shop.name}/media/big")
    place = f"/srv/{shop.name}/drill"
    on("app1").check_output(f"mkdir -p {place}; mount -t tmpfs -o size=4m,mode=755 tmpfs {place}")
    back_up(shop)
    drill = {**shop.settings["backup"]["drill"], "folder": f"/srv/{shop.name}/drill"}
    shop.write(backup={**shop.settings["backup"], "drill": drill})
    failed = verify(shop)
    free = on("app1").check_output(f"df --output=used /srv/{shop.name}/drill | tail -n 1")
    on("app1").run(f"umount /srv/{shop.name}/drill")
    assert "restoring takes 5 MB" in reasons(failed)["app1"]
    assert int(free) < 100, "something was restored all the same, and left"
