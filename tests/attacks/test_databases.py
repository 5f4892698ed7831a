"""Whoever may connect to the database server, against what Slipway does there as its superuser; and passwords."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.attacks.test_other_users import at_work
from tests.hosts.backups import secret, shop, sql
from tests.hosts.conftest import App, invoke
from tests.hosts.test_migrations import Database, database

__all__ = ["database", "shop"]

On = Callable[[str], Host]

# A server that asks for a password in the clear, and shows what it is told.
ASKS = """
import socket, struct
server = socket.create_server(("127.0.0.1", 5432))
while True:
    taken, _ = server.accept()
    with taken:
        length, kind = struct.unpack("!II", taken.recv(8))
        taken.recv(length)
        if kind == 80877103:
            taken.sendall(b"N")
            taken.recv(4096)
        taken.sendall(b"R" + struct.pack("!II", 8, 3))
        print(taken.recv(4096), flush=True)
"""
# Statements without a blank, so that they are the name of a schema.
INJECTED = "a;alter/**/role/**/{role}/**/superuser"
# A nearer match than PostgreSQL's own, for what is asked to make a database.
HIJACKED = "public.format(text, text, name, name, name, name)"
HIJACK = "language sql as $$ select 'alter role {role} superuser' $$"
STATEMENTS = """
set role {role};
select set_config('search_path', '{injected}', false);
alter database {name} set search_path from current;
"""


def superusers(on: On) -> list[str]:
    return sql(on, "select rolname from pg_roles where rolsuper").split()


def test_no_role_becomes_a_superuser_or_stops_a_drill(shop: App, on: On) -> None:
    """The owner's settings were pasted into a statement; anybody's functions in the database postgres were called."""
    name = shop.name
    check = {"name": name, "via": "db", "checks": ["select count(*) >= 500 from public.items"]}
    # A drilled release would find nothing under the owner's settings.
    covered = {key: value for key, value in shop.settings["backup"].items() if key != "drill"}
    shop.write(databases=[check], backup=covered)
    assert invoke("backup", shop.env).status == 0
    other = f"{name}_other"
    # As PostgreSQL before 15 has it, and any that was upgraded from there.
    sql(on, f"create role {other} login; grant create on schema public to public")
    try:
        sql(on, STATEMENTS.format(name=name, role=name, injected=INJECTED.format(role=name)), name)
        sql(on, f"set role {other}; create function {HIJACKED} returns text {HIJACK.format(role=other)}")
        assert invoke("verify-backups", shop.env).status == 0
        assert superusers(on) == ["postgres"]
        assert sql(on, "select count(*) from pg_database where datname like 'slipway_drill%'") == "0"
        # Nothing but the drill's own is dropped, whatever it is called.
        theirs = f"slipway_drill_{name}"
        sql(on, f"create database {theirs}")
        refused = invoke("verify-backups", shop.env)
        assert (refused.status, f"a database {theirs} already" in refused.out) == (1, True), refused.out
        sql(on, f"drop database {theirs}")  # It is there.
        # The settings are copied as they are.
        sql(on, f"""alter database {name} set search_path = "My Schema", '', public, "$user" """)
        asks = 'select current_setting(\'search_path\') = $$"My Schema", "", public, "$user"$$'
        shop.write(databases=[{**check, "checks": [asks]}])
        told = invoke("verify-backups", shop.env, "--json")
        assert told.status == 0, told.out
    finally:
        sql(on, f"drop function if exists {HIJACKED}; drop role {other}")
        sql(on, f"revoke create on schema public from public; alter role {name} nosuperuser")
    sql(on, f"alter database {name} reset search_path")

    # Who holds a lock on a table stops a dump, but not for good: nothing of it is left to hold up the next.
    shop.write(timeouts={"command": "20s"})
    holds = "begin; lock table items in access exclusive mode; select pg_sleep(60)"
    on("db1").run(f"cd /; runuser -u postgres -- psql -qd {name} -c %s >/dev/null 2>&1 &", holds)
    began = time.monotonic()
    stopped = invoke("backup", shop.env)
    assert (stopped.status, time.monotonic() - began < 35) == (1, True), stopped.err
    assert "does somebody hold a lock on its tables" in stopped.err
    assert on("db1").run("pgrep -x pg_dump").stdout == ""
    assert on("db1").run(f"flock --nonblock {shop.state}/backup.lock true").rc == 0
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where datname ="
    sql(on, f"{ends} '{name}'")
    shop.write(timeouts={})
    assert invoke("backup", shop.env).status == 0
    sql(on, f"drop database {name}")
    sql(on, f"drop role {name}")


def test_a_password_is_in_no_log_of_the_server(app: App, on: On) -> None:
    """A server that logs statements, as many do, had it where all of group adm read it."""
    app.write(databases=[{"name": app.name, "via": "db", "owner": app.name, "owner_password": "token"}], backup={})
    logs = {"log_statement": "ddl", "log_min_duration_statement": "0"}
    try:
        for name, value in logs.items():
            sql(on, f"alter system set {name} = {value}")
        sql(on, "select pg_reload_conf()")
        done = invoke("provision", app.env)
        assert done.status == 0 and "set the password" in done.out, done.err
        logged = on("db1").check_output("cat /var/log/postgresql/*.log")
        assert f'create role "{app.name}"' in logged
        assert secret(app, "token").read_text().strip() not in logged
    finally:
        for name in logs:
            sql(on, f"alter system reset {name}")
        sql(on, "select pg_reload_conf()")
    sql(on, f"drop database {app.name}")
    sql(on, f"drop role {app.name}")


def test_a_password_is_told_to_the_server_alone(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """Where PostgreSQL does not listen at 127.0.0.1, any user of the host can, and was told the owner's password."""
    app.write(databases=[{"name": app.name, "via": "db", "owner": app.name, "owner_password": "token"}], backup={})
    sql(on, f"alter system set listen_addresses = '{specs['db1'].address}'")
    try:
        on("db1").check_output("systemctl restart postgresql")
        with at_work(on("db1"), "nobody", ASKS):
            done = invoke("provision", app.env)
            assert done.status == 0, done.err
            # Nor the password of who dumps.
            as_owner = {"name": app.name, "via": "db", "host": "localhost", "user": app.name, "password": "token"}
            app.write(databases=[as_owner])
            dumped = invoke("backup", app.env)
            assert (dumped.status, "listens a program of nobody" in dumped.err) == (1, True), dumped.err
        told = on("db1").check_output("cat /run/at-work")
        assert secret(app, "token").read_text().strip() not in told, told
    finally:
        sql(on, "alter system reset listen_addresses")
        on("db1").check_output("systemctl restart postgresql")
    log_in = f"PGPASSWORD=$(cat) psql -h {specs['db1'].address} -U {app.name} -d {app.name} -Atc 'select 1'"
    assert on("db1").check_output(f"echo %s | ({log_in})", secret(app, "token").read_text().strip()) == "1"
    sql(on, f"drop database {app.name}")
    sql(on, f"drop role {app.name}")


@pytest.mark.parametrize("where", ["writable", "link"])
def test_the_applications_user_does_not_write_migrations(where: str, database: Database, on: On) -> None:
    """What that user wrote, or had another process of its own read, ran as the user that migrates."""
    app = database.app
    files = {"001_a.up.sql": "select 1;\n", "001_a.down.sql": "select 1;\n"}
    database.build("1.0.0", files)
    if where == "writable":
        app.write(writable=["db"])
    assert app.deploy("1.0.0").status == 0
    mine = "for way in up down; do echo 'create table mine ();' >/srv/mine.$way; done; chown www-data /srv/mine.*"
    # In the release, or as an artifact may have it, by a link.
    puts = "cp /srv/mine.$way 002_b.$way.sql" if where == "writable" else "ln -s /srv/mine.$way 002_b.$way.sql"
    host = on("app1")
    host.check_output("sh -euc %s", f"{mine}; cd {app.home}/current/db; for way in up down; do {puts}; done")
    migrated = invoke("migrate", app.env)
    host.check_output("rm /srv/mine.*")
    why = "so the SQL in it is not run" if where == "writable" else "is a link to what is not in the release"
    assert (migrated.status, why in migrated.err) == (1, True), migrated.err
    assert not database.has("select from pg_tables where tablename = 'mine'")


def test_nobodys_operators_are_called_by_the_user_that_migrates(database: Database) -> None:
    """Where anybody may make operators, Slipway's own comparisons of numbers of other types called them."""
    database.build("1.0.0", {"001_a.up.sql": "select 1;\n", "001_a.down.sql": "select 1;\n"})
    assert database.app.deploy("1.0.0").status == 0
    database.sql("create role mallory; grant create on schema public to mallory")
    hijack = """
        set role mallory;
        create table public.called (by text);
        grant all on public.called to public;
        create function public.{name}({left}, {right}) returns {result} language plpgsql as
            $$ begin insert into public.called values (current_user); return {value}; end $$;
        create operator public.{sign} (function = public.{name}, leftarg = {left}, rightarg = {right})
    """
    try:
        for number, (sign, left, right, result, value) in enumerate(
            [("=", "oid", "int4", "boolean", "false"), ("*", "int4", "numeric", "numeric", "0")]
        ):
            text = hijack.format(name=f"f{number}", sign=sign, left=left, right=right, result=result, value=value)
            database.sql(text.replace("create table", "create table if not exists"))
        assert invoke("migrations", database.app.env).status == 0
        database.build("1.1.0", {f"{n}_a.{way}.sql": "select 1;\n" for n in ("001", "002") for way in ("up", "down")})
        assert database.app.deploy("1.1.0").status == 0
        assert database.sql("select distinct by from public.called") == ""
    finally:
        database.sql("reset role; drop owned by mallory cascade; drop role mallory")
