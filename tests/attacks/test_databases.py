"""Whoever may connect to the database server, against what Slipway does there as its superuser; and passwords."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from playbooks.fleet import script
from playbooks.steps.backup import as_line, as_payload
from tests.attacks.test_other_users import at_work
from tests.hosts.backups import secret, shop, sql
from tests.hosts.conftest import App, invoke, wait_until
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


@pytest.mark.parametrize("path", ["public", "public, pg_catalog"])
def test_nobodys_operators_are_called_by_the_user_that_migrates(path: str, database: Database) -> None:
    """Slipway's own comparisons called them: of other types, or any, by a search_path of the database's owner."""
    database.build("1.0.0", {"001_a.up.sql": "select 1;\n", "001_a.down.sql": "select 1;\n"})
    assert database.app.deploy("1.0.0").status == 0
    database.sql("create role mallory; grant create on schema public to mallory")
    database.sql("create table public.called (by text); grant all on public.called to public")
    hijack = """
        set role mallory;
        create function public.{name}({left}, {right}) returns {result} language plpgsql as
            $$ begin insert into public.called values (current_user); return {value}; end $$;
        create operator public.{sign} (function = public.{name}, leftarg = {left}, rightarg = {right})
    """
    try:
        for number, (sign, left, right, result, value) in enumerate(
            [
                ("=", "oid", "int4", "boolean", "false"),
                ("*", "int4", "numeric", "numeric", "0"),
                (">=", "int4", "int4", "boolean", "true"),
                ("=", "text", "text", "boolean", "false"),
                ("=", "name", "text", "boolean", "false"),
            ]
        ):
            database.sql(
                hijack.format(name=f"f{number}", sign=sign, left=left, right=right, result=result, value=value)
            )
        database.sql(f"alter database {database.app.name} set search_path = {path}")
        assert invoke("migrations", database.app.env).status == 0
        made = "-- slipway: no-transaction\ncreate table made (a int);\ncreate index concurrently i on made (a);\n"
        gone = "drop table made;\n"
        files = {f"{n}_a.{way}.sql": "select 1;\n" for n in ("001", "002") for way in ("up", "down")}
        database.build("1.1.0", files, {"003_b.up.sql": made, "003_b.down.sql": gone})
        done = database.app.deploy("1.1.0")
        assert done.status == 0, done.err
        assert pg_catalog_first(database, "select distinct by from public.called") == ""
        assert pg_catalog_first(database, "select schemaname from pg_tables where tablename = $$made$$") == "public"
    finally:
        database.sql(f"alter database {database.app.name} reset search_path")
        database.sql("drop owned by mallory cascade; drop role mallory; drop table public.called")


def pg_catalog_first(database: Database, question: str) -> str:
    return database.sql(f"set search_path = pg_catalog; {question}")


# What the parser sees in quotes, and psql outside of them, by what the statement before has set.
UNQUOTES = {
    "standard_conforming_strings": "set standard_conforming_strings = off;\nselect 'a\\', '\n\\! {runs}\n';\n",
    "client_encoding": "set client_encoding = 'GBK';\nselect 'あ', '\n\\! {runs}\n';\n",
}


@pytest.mark.parametrize("setting", UNQUOTES)
def test_a_migration_runs_no_program(setting: str, database: Database) -> None:
    """psql ran a program that the parser had not seen, and that knew the password of the user that migrates."""
    name = database.app.name
    runs = f'psql -h 127.0.0.1 -U {name}o -d {name} -c "create table ran ()"'
    files = {"001_a.up.sql": UNQUOTES[setting].format(runs=runs), "001_a.down.sql": "select 1;\n"}
    database.build("1.0.0", files)
    done = database.app.deploy("1.0.0")
    assert not database.has("select from pg_tables where tablename = $$ran$$"), done.err
    assert done.status == 0, done.err


def test_what_others_wrote_is_one_word_of_an_answer(database: Database, on: On) -> None:
    """The name of an index looked like a row of the table of migrations; what a row has filled /run."""
    app = database.app
    database.build("1.0.0", {"001_a.up.sql": "create table items (name text);\n", "001_a.down.sql": "select 1;\n"})
    assert app.deploy("1.0.0").status == 0
    forged = r"x\nrow\t9\tx\tcontract\tup\tapplied\t\t\t1\t1\tb\td\t\t\t0\t"
    database.sql("create table theirs (a int)")
    database.sql(f"do $do$ begin execute format($$create index %I on theirs (a)$$, E'{forged}'); end $do$")
    database.sql("update pg_index set indisvalid = false where indrelid = $$theirs$$::regclass")
    shown = invoke("migrations", app.env, "--json").json["databases"][0]
    assert [row["id"] for row in shown["applied"]] == ["001"], shown
    database.sql("drop table theirs")
    database.sql("update slipway.migrations set phase = repeat($$x$$, 30000000)")
    told = invoke("migrations", app.env)
    assert "has a row that Slipway did not write" in told.err, told.err[-1000:]
    # A program of somebody's, where systemd looks first, is not told the password.
    tells = "#!/bin/sh\necho told $PGPASSWORD >&2\nexit 1\n"
    database.sql("update slipway.migrations set phase = $$expand$$")
    on("db1").check_output("printf %s >/usr/local/bin/psql; chmod 755 /usr/local/bin/psql", tells)
    try:
        asked = invoke("migrations", app.env)
        assert asked.status == 0, asked.err
    finally:
        on("db1").check_output("rm /usr/local/bin/psql")


HOSTILE_TABLES = """
set role mallory;
create type evil as (a int);
create function cast_evil(evil) returns json {body} null; end $$;
create cast (evil as json) with function cast_evil(evil);
create function policy_evil() returns boolean {body} true; end $$;
create table casts (a evil);
create table policies (a int);
insert into casts values (row(1)); insert into policies values (1);
create policy evil on policies using (policy_evil());
alter table policies enable row level security;
grant select on casts, policies to {owner};
"""


def measured(database: Database) -> tuple[int, dict[str, str], str]:
    """Measure the database's data as a rehearsal does; its status, the sum of each table, and why it failed."""
    name = database.app.name
    password = "a 'secret' with \\ in it"
    payload = as_payload([as_line("database", name, "127.0.0.1", "5432", f"{name}o", password, "")])
    text = script.load("database_measure").given({"data": "yes", "user": "root"}).alone()
    place = "/run/slipway-measure"
    for file, content in (("script", text), ("payload", payload)):
        encoded = base64.b64encode(content).decode()
        database.host.check_output(f"printf %s {encoded} | base64 -d >{place}.{file}")
    done = database.host.run(f"sh {place}.script <{place}.payload; status=$?; rm {place}.*; exit $status")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    sums = {line[1]: line[3] for line in lines if line[0] == "table"}
    return done.rc, sums, next((line[2] for line in lines if line[0] == "error"), "")


def test_a_measure_of_data_runs_nothing_of_others(database: Database) -> None:
    """The user that migrates ran what somebody had put into a cast to JSON, or into a policy; an answer had no end."""
    owner = f"{database.app.name}o"
    database.sql("create role mallory; grant create on schema public to mallory; create table called (by text)")
    database.sql("grant all on called to public")
    body = "language plpgsql as $$ begin insert into public.called values (current_user); return"
    try:
        database.sql(HOSTILE_TABLES.format(body=body, owner=owner))
        database.sql("create table ones (a int, b text); insert into ones values (1, $$x$$), (2, null)")
        database.sql("create table twos (b text, a int); insert into twos values (null, 2), ($$x$$, 1)")
        database.sql(f"grant select on ones, twos, called to {owner}")
        status, sums, why = measured(database)
        assert status == 0, why
        assert sums["public.ones"] == sums["public.twos"] != sums["public.casts"]
        assert "public.policies" not in sums
        long = "format($$alter table ones alter b set default %L$$, repeat($$x$$, 20000000))"
        database.sql(f"do $do$ begin execute {long}; end $do$")
        status, _, why = measured(database)
        assert (status, "its answer is larger than 16 MB" in why) == (1, True), why
    finally:
        database.sql("drop table if exists ones, twos, called; drop owned by mallory cascade; drop role mallory")


def test_who_keeps_the_lock_of_migrations_is_named(database: Database) -> None:
    """Every user of a database may take it, for good; that another task migrates was what a person read, for ever."""
    app = database.app
    database.sql("create role mallory login password $$m$$")
    try:
        hold = "psql -qXh 127.0.0.1 -U mallory -c 'select pg_advisory_lock(1936484720, 1), pg_sleep(60)'"
        database.host.run(f"PGPASSWORD=m setsid {hold} {app.name} >/dev/null 2>&1 </dev/null &")
        wait_until(lambda: database.has("select from pg_locks where locktype = $$advisory$$ and granted"))
        database.build("1.0.0", {"001_a.up.sql": "create table a ();\n", "001_a.down.sql": "drop table a;\n"})
        busy = app.deploy("1.0.0", "--json")
        assert busy.status == 1, busy.err
        assert "held by its user mallory, who does not migrate it" in busy.json["error"]["message"]
        said = str(busy.json["error"]["message"])
        database.sql(f"select {said[said.index('pg_terminate_backend') :].partition(',')[0]}")
        assert app.deploy("1.0.0").status == 0
    finally:
        database.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = $$mallory$$")
        database.sql("drop role mallory")


def test_no_module_of_the_users_is_loaded_by_a_migration(database: Database) -> None:
    """psql is written in Perl, which looks below /usr/local first: a module there knew the owner's password."""
    app, host = database.app, database.host
    modules = host.check_output("perl -e 'print substr($^V, 1)'")
    modules = f"/usr/local/share/perl/{modules}"
    database.build("1.0.0", {"001_a.up.sql": "create table a ();\n", "001_a.down.sql": "drop table a;\n"})
    host.check_output(f"mkdir -p {modules} && chown www-data {modules}")
    try:
        told = app.deploy("1.0.0")
        assert (told.status, f"user www-data can write to {modules}" in told.err) == (1, True), told.err
    finally:
        host.check_output("rm -rf /usr/local/share/perl")
    assert app.deploy("1.0.0").status == 0
