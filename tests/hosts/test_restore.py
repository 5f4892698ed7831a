"""Going back by way of a backup on real hosts: releases that are gone or damaged, and databases (A6, C3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.backups import DRILL, back_up, repositories, secret, shop, sql
from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]
__all__ = ["repositories", "shop"]
pytestmark = pytest.mark.usefixtures("repositories")

# Owner, mode, target and content of everything in a release, but for the marks that deploys leave.
LOOK = (
    r"find . -printf '%%p %%u:%%g %%m %%l\n' -type f -exec sha256sum {} + |"
    " grep -v -e '\\.slipway/proven' -e '\\.slipway/predecessor' -e '\\.slipway/print' -e '\\.slipway/looks' | sort"
)


def current(on: On, app: App) -> str:
    return str(on("app1").check_output(f"readlink {app.home}/current")).removeprefix("releases/")


def look(on: On, place: str) -> str:
    """What a folder is, to the last bit."""
    return str(on("app1").check_output(f"cd {place} && {LOOK.replace('%%', '%')}"))


def test_a_release_that_is_gone_or_bent_comes_back_as_it_was(shop: App, on: On) -> None:
    """Rolling back to files that somebody changed, or to a folder with other owners, is no way back."""
    first, place = current(on, shop), f"{shop.home}/releases/{current(on, shop)}"
    before = look(on, place)
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    assert shop.deploy("1.1.0").status == 0, "its backup holds 1.0.0"
    for harm in (f"rm -rf {place}", f"echo x >>{place}/VERSION", f"ln -sfn /etc {place}/data", f"rm {place}/bin/run"):
        on("app1").check_output(harm)
        back = invoke("rollback", shop.env, "--to=1.0.0", "--json")
        assert (back.status, back.json["status"]) == (0, "done"), back.err
        assert current(on, shop) == first
        assert look(on, place) == before
        assert on("app1").run(f"ls -d {shop.home}/releases/.incoming*").rc != 0
        assert invoke("rollback", shop.env, "--to=1.1.0").status == 0


def test_a_backup_that_is_damaged_changes_nothing(shop: App, on: On) -> None:
    """Half a release in place of a bent one would be worse than the bent one."""
    place = f"{shop.home}/releases/{current(on, shop)}"
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    assert shop.deploy("1.1.0").status == 0
    on("app1").check_output(f"echo x >>{place}/VERSION")
    packs = f"$(find /var/backups/slipway/{shop.name}/data -type f -size +1k)"
    on("app1").check_output(f"chmod u+w {packs}; for p in {packs}; do truncate -s 100 $p; done")
    failed = invoke("rollback", shop.env, "--to=1.0.0")
    assert failed.status == 1
    assert "app1" in failed.err
    assert "damaged" in failed.err
    assert current(on, shop).endswith("-1.1.0")
    assert on("app1").file(f"{place}/VERSION").content_string == "1.0.0\nx\n"
    assert on("app1").run(f"ls -d {shop.home}/releases/.incoming* {shop.state}/restore.*").stdout == ""


def test_the_database_goes_back_and_the_present_one_is_kept(shop: App, on: On) -> None:
    """What was written since the backup must not be lost, and rights and settings must come back with the data."""
    shop.write(keep_releases=1)
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    assert shop.deploy("1.1.0").status == 0
    assert len(on("app1").check_output(f"ls {shop.home}/releases").split()) == 1, "the other one is in the backup"
    sql(on, "delete from items where id > 3; create table later (x int)", shop.name)
    # Somebody is connected, and holds a lock.
    on("db1").run(
        f"cd /; setsid runuser -u postgres -- psql -d {shop.name} -c 'begin; lock items; select pg_sleep(300)'"
        " >/dev/null 2>&1 &"
    )
    back = invoke("rollback", shop.env, "--with-database", "--json")
    assert back.status == 0, back.err
    assert sql(on, "select count(*) from items", shop.name) == "500"
    kept = sql(on, f"select datname from pg_database where datname like '{shop.name}_before_%'")  # noqa: S608
    assert kept in back.json["message"], "where the present one went must be told"
    assert sql(on, "select count(*) from items", kept) == "3"
    properties = "select datacl, pg_get_userbyid(datdba), datcollate, datallowconn, setconfig"
    source = "from pg_database left join pg_db_role_setting on setdatabase = oid where datname ="
    assert sql(on, f"{properties} {source} '{shop.name}'") == sql(on, f"{properties} {source} '{kept}'")
    assert sql(on, "select tableowner from pg_tables where tablename = 'items'", shop.name) == shop.name
    assert "Tokyo" in sql(on, "show timezone", shop.name)


def test_a_dump_that_is_not_good_enough_leaves_the_database(shop: App, on: On) -> None:
    """A swap first and a look after would put an empty database in place of a full one."""
    sql(on, "create table keep as select * from items; delete from items", shop.name)
    back_up(shop)
    sql(on, "insert into items select * from keep", shop.name)
    shop.build("1.1.0", {"bin/drill": DRILL.encode()})
    wanted = invoke("backups", shop.env, "--json").json["backups"][0]["id"]
    failed = invoke("rollback", shop.env, f"--to={wanted}", "--with-database")
    assert failed.status == 1
    assert "is not good enough to go back to" in failed.err
    assert sql(on, "select count(*) from items", shop.name) == "500"
    left = sql(on, f"select string_agg(datname, ' ') from pg_database where datname like '{shop.name}%'")  # noqa: S608
    assert left == shop.name
    assert sql(on, f"select datallowconn from pg_database where datname = '{shop.name}'") == "t"  # noqa: S608


def test_a_database_that_is_gone_comes_back(shop: App, on: On) -> None:
    """Dropped by accident is when it is needed most."""
    back_up(shop)
    sql(on, f"drop database {shop.name}")
    wanted = invoke("backups", shop.env, "--json").json["backups"][0]["id"]
    back = invoke("rollback", shop.env, f"--to={wanted}", "--with-database")
    assert back.status == 0, back.err
    assert sql(on, "select count(*) from items", shop.name) == "500"


def test_a_managed_database_is_drilled_and_restored_over_the_network(
    shop: App, on: On, specs: dict[str, HostSpec]
) -> None:
    """A database service gives no superuser and no socket: only an owner with a password, who may make databases."""
    database = {**shop.settings["databases"][0], "via": "app1", "host": specs["db1"].address, "user": shop.name}
    shop.write(databases=[{**database, "password": "token"}])
    secret(shop, "token").write_text("quite-secret\n")
    sql(on, f"alter role {shop.name} createdb")
    back_up(shop)
    drilled = invoke("verify-backups", shop.env, "--json")
    assert (drilled.status, drilled.json["hosts"][0]["started"]) == (0, True), drilled.out
    sql(on, "delete from items", shop.name)
    wanted = invoke("backups", shop.env, "--json").json["backups"][0]["id"]
    back = invoke("rollback", shop.env, f"--to={wanted}", "--with-database")
    assert back.status == 0, back.err
    assert sql(on, "select count(*) from items", shop.name) == "500"
    assert "Tokyo" in sql(on, "show timezone", shop.name)


def test_a_host_built_anew_gets_its_data_out_of_the_repository(shop: App, on: On) -> None:
    """The records are on the host; when the host is gone, the repository alone must be enough."""
    back_up(shop)
    app1 = on("app1")
    password = secret(shop, "restic").read_text().strip()
    app1.check_output(f"rm -rf {shop.state}/backups")
    app1.check_output(
        f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{shop.name} restore latest --host app1 "
        f"--tag app={shop.name} --target /srv/{shop.name}/anew"
    )
    app1.check_output(f"cd /srv/{shop.name}/anew && sha256sum --check --strict .{shop.state}/backup.d/manifest")
    assert app1.file(f"/srv/{shop.name}/anew/srv/{shop.name}/media/cat.txt").exists
