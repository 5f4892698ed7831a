"""Migrations on a real PostgreSQL: each is applied once, whole, and what fails says what stays (C1)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.conftest import App, invoke, wait_until

On = Callable[[str], Host]
ONE = {
    "001_items.up.sql": "create table items (id int primary key, name text);\ninsert into items values (1, 'one');\n",
    "001_items.down.sql": "drop table items;\n",
}
TWO = {
    "002_price.up.sql": "alter table items add price int;\n",
    "002_price.down.sql": "alter table items drop price;\n",
}


HOLDS = "runuser -u postgres -- psql -Xq -d {} -c '{}' >/dev/null 2>&1 &"
END = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"


SLEEPS = "select from pg_stat_activity where query like 'select pg_sleep%'"


class Database:
    """The application's database, and the migrations of its releases."""

    def __init__(self, app: App, host: Host) -> None:
        self.app, self.host = app, host
        self.program: dict[str, bytes] = {}  # of each release

    def build(self, version: str, *parts: Mapping[str, str], line: str | None = None) -> None:
        """Build a release with these migrations."""
        files = {f"db/{name}": text.encode() for part in parts for name, text in part.items()}
        self.app.build(version, self.program | files, line=line)

    def sql(self, statement: str, database: str | None = None) -> str:
        """Ask as the superuser."""
        ask = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database or self.app.name]
        return str(self.host.check_output(" ".join([*ask, "-c", "'" + statement.replace("'", "'\\''") + "'"])))

    def has(self, statement: str) -> bool:
        return self.sql(f"select exists ({statement})") == "t"

    @property
    def states(self) -> dict[str, str]:
        """What the table says of each migration."""
        rows = self.sql("select id, state from slipway.migrations order by id").split()
        return dict(row.split("|") for row in rows)


@pytest.fixture
def database(app: App, on: On, tmp_path: Path) -> Iterator[Database]:
    """An application on app1 with a database of its own, which provision makes."""
    owner = tmp_path / "secrets" / "owner"
    owner.touch(mode=0o600)
    owner.write_text("a 'secret' with \\ in it\n")
    app.write(
        hosts="app1",
        databases=[
            {
                "name": app.name,
                "via": "db",
                "owner": f"{app.name}o",
                "owner_password": "owner",
                "migrations": {"folder": "db", "patience": "4s", "lock_timeout": "1s"},
            }
        ],
        secrets={**app.settings["secrets"], "owner": {"file": str(owner)}},
    )
    done = invoke("provision", app.env)
    assert done.status == 0, done.err
    made = Database(app, on("db1"))
    yield made
    made.sql(f'drop database if exists "{app.name}" with (force)', "postgres")


def test_a_deploy_migrates_before_it_switches_and_each_only_once(database: Database) -> None:
    """The new release meets the old schema, or a migration runs twice."""
    app = database.app
    database.build("1.0.0", ONE)
    first = app.deploy("1.0.0", "--json")
    assert first.status == 0, first.err
    assert [(one["id"], one["direction"]) for one in first.json["migrations"]] == [("001", "up")]
    assert database.sql("select name from items") == "one"
    assert database.sql("select tableowner from pg_tables where tablename = 'items'") == f"{app.name}o"
    database.build("1.1.0", ONE, TWO)
    check = app.deploy("1.1.0", "--check", "--json")
    assert check.json["migrations"][0]["statements"] == ["alter table items add price int"], check.err
    assert "apply 002_price" in app.deploy("1.1.0", "--check").out
    assert database.states == {"001": "applied"}
    second = app.deploy("1.1.0", "--json")
    assert [one["id"] for one in second.json["migrations"]] == ["002"], second.err
    assert database.states == {"001": "applied", "002": "applied"}
    again = invoke("migrate", app.env, "--json")
    assert (again.status, again.json["done"]) == (0, []), again.err
    shown = invoke("migrations", app.env, "--json").json["databases"][0]
    assert [row["by"].count("@") for row in shown["applied"]] == [1, 1]
    assert shown["pending"] == shown["problems"] == []


def test_a_failed_migration_leaves_nothing_and_no_host_switches(database: Database) -> None:
    """A half-migrated database works with neither release."""
    app = database.app
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    bad = {
        "002_bad.up.sql": "alter table items add a int;\n\nupdate items set name = 1/0;\n",
        "002_bad.down.sql": "select 1;\n",
    }
    database.build("1.1.0", ONE, bad)
    failed = app.deploy("1.1.0", "--json")
    assert failed.status == 1
    assert failed.json["error"]["code"] == "step.migration"
    said = failed.json["error"]["message"]
    assert "statement 2 of 2 of 002_bad (line 3) failed: division by zero (22012). Nothing of 002_bad was kept" in said
    assert not database.has("select from information_schema.columns where table_name = 'items' and column_name = 'a'")
    assert database.states == {"001": "applied", "002": "failed"}
    status = invoke("status", app.env, "--json").json
    assert {host["version"] for host in status["hosts"]} == {"1.0.0"}
    database.build("1.2.0", ONE, TWO | {"002_price.down.sql": "select 1;\n"})
    fixed = app.deploy("1.2.0")
    assert fixed.status == 0, fixed.err


def test_without_a_transaction_it_goes_on_where_it_stopped(database: Database) -> None:
    """What is done twice fails, or is there twice; an index that is half made is taken for a whole one."""
    app = database.app
    head = "-- slipway: no-transaction\n"
    twice = {
        "002_index.up.sql": head + "create table log (a int);\ncreate unique index concurrently if not exists by_name "
        "on items (name);\ninsert into log values (1);\n",
        "002_index.down.sql": head + "drop index concurrently by_name;\ndrop table log;\n",
    }
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    database.sql("insert into items values (2, 'one')")
    database.build("1.1.0", ONE, twice)
    failed = app.deploy("1.1.0", "--json")
    assert (failed.status, failed.json["error"]["code"]) == (3, "step.migration-half"), failed.err
    assert "statement 2 of 3 of 002_index (line 3) failed: could not create unique index" in failed.err
    assert "Statement 1 of 002_index is done and stays" in failed.err
    assert database.has("select from pg_index where not indisvalid"), "PostgreSQL leaves it"
    shown = invoke("migrations", app.env, "--json")
    assert shown.status in (0, 3)
    database.sql("update items set name = 'two' where id = 2")
    again = app.deploy("1.1.0", "--json")
    assert again.status == 0, again.err
    assert not database.has("select from pg_index where not indisvalid")
    assert database.sql("select count(*) from log") == "1"
    back = invoke("migrate", app.env, "--to=001", "--json")
    assert [one["direction"] for one in back.json["done"]] == ["down"], back.err
    assert database.states == {"001": "applied", "002": "reverted"}
    assert not database.has("select from pg_class where relname = 'by_name'")


def test_it_waits_for_a_lock_in_short_tries_and_tells_who_has_it(database: Database) -> None:
    """A statement that waits for a lock makes everybody wait behind it."""
    app = database.app
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    database.build("1.1.0", ONE, TWO)
    hold = HOLDS.format(app.name, "begin; select * from items; select pg_sleep(%s)")
    database.host.run(hold % 120)
    time.sleep(1)
    failed = app.deploy("1.1.0", "--json")
    assert (failed.status, failed.json["error"]["code"]) == (1, "step.migration-lock"), failed.err
    said = failed.json["error"]["message"]
    assert "got no lock within 4 s" in said
    assert "waits for psql (process" in said, said
    settings = app.settings["databases"][0]
    app.write(databases=[{**settings, "migrations": {**settings["migrations"], "patience": "60s"}}])
    task = app.start("deploy", "--version=1.1.0", "--json")
    wait_until(lambda: database.has("select from pg_stat_activity where wait_event_type = 'Lock'"))
    wait_until(lambda: not database.has("select from pg_stat_activity where wait_event_type = 'Lock'"))
    database.sql(END)
    out, err = task.communicate(timeout=60)
    assert task.returncode == 0, err
    assert json.loads(out)["migrations"][0]["tries"] > 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"002_a.up.sql": "selec 1", "002_a.down.sql": "select 1"}, 'line 1: syntax error at or near "selec"'),
        ({"002_a.up.sql": "\\! id >/tmp/pwned", "002_a.down.sql": "select 1"}, "is a command of psql"),
        ({"002_a.up.sql": "select 1"}, "its down file is missing"),
    ],
)
def test_a_wrong_file_ends_the_deploy_before_a_host_is_reached(
    database: Database, files: dict[str, str], said: str
) -> None:
    """A syntax error is found out by the database, in the middle."""
    database.build("1.0.0", ONE, files)
    failed = database.app.deploy("1.0.0")
    assert failed.status == 2
    assert said in failed.err
    assert "nothing was touched" in failed.err


def test_a_history_that_does_not_fit_is_refused(database: Database) -> None:
    """A file that was changed after it was applied says something else than the database has."""
    app = database.app
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    database.build("1.1.0", {**ONE, "001_items.up.sql": "create table other (a int)"})
    failed = app.deploy("1.1.0")
    assert failed.status == 1
    assert "001_items.up.sql is not the file that was applied" in failed.err
    database.build("1.2.0", TWO)
    check = app.deploy("1.2.0", "--check", "--json")
    assert (check.status, len(check.json["databases"])) == (1, 1), check.err
    failed = app.deploy("1.2.0")
    assert "has 001_items, which this release does not know" in failed.err


def test_a_repair_of_the_older_release_is_deployed_after_a_rollback(database: Database) -> None:
    """What a later release has added to the schema would keep everybody on that release."""
    app = database.app
    database.build("1.0.0", ONE)
    database.build("1.1.0", ONE, TWO)
    database.build("1.0.1", ONE)
    for version in ("1.0.0", "1.1.0"):
        assert app.deploy(version).status == 0
    assert invoke("rollback", app.env).status == 0
    check = app.deploy("1.0.1", "--check")
    assert check.status == 0, check.err
    assert "has 002_price, which 1.0.1 does not know" in check.err
    repaired = app.deploy("1.0.1", "--json")
    assert repaired.status == 0, repaired.err
    assert any("has 002_price, which 1.0.1 does not know" in line for line in repaired.json["warnings"])
    shown = invoke("migrations", app.env, "--json")
    assert (shown.status, shown.json["databases"][0]["newer"]) == (0, ["002_price"])
    back = invoke("migrate", app.env, "--to=001")
    assert back.status == 2
    assert "the release that runs has no file that takes them back" in back.err


def test_a_deploy_that_is_taken_back_reverts_what_the_settings_say(database: Database) -> None:
    """Whoever wants the schema of before had to type the way back for each database, at night."""
    app = database.app
    app.settings["databases"][0]["migrations"]["on_failure"] = "revert"
    app.write(**app.settings)
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    one_way = {"002_b.up.sql": "-- slipway: irreversible\ncreate table b (c int);\n"}
    three = {"003_d.up.sql": "create table d (e int);\n", "003_d.down.sql": "drop table d;\n"}
    database.build("1.1.0", ONE, one_way, three, line="exit 1")
    failed = app.deploy("1.1.0", "--json")
    assert (failed.status, failed.json["status"]) == (1, "rolled back"), failed.err
    assert [(one["id"], one["direction"]) for one in failed.json["migrations"]] == [
        ("002", "up"),
        ("003", "up"),
        ("003", "down"),
    ]
    assert database.states == {"001": "applied", "002": "applied", "003": "reverted"}
    told = "\n".join(failed.json["warnings"])
    assert f"taken back in the databases: 003_d in {app.name}" in told
    assert f"{app.name} keeps 002_b: 002_b has no lossless way back" in told
    assert "keep what this deploy migrated: 002_b" in told


def test_a_contract_waits_for_those_who_need_the_old_schema(database: Database) -> None:
    """A release that is still kept to go back to would not work any more, and nobody would know before the rollback."""
    app = database.app
    database.build("1.0.0", ONE)
    assert app.deploy("1.0.0").status == 0
    drop = {
        "002_drop.up.sql": "-- slipway: contract\nalter table items drop name;\n",
        "002_drop.down.sql": "alter table items add name text;\n",
    }
    database.build("1.1.0", ONE, drop)
    done = app.deploy("1.1.0", "--json")
    assert done.status == 0, done.err
    assert any("owed, once nothing needs the old schema: " in line for line in done.json["warnings"]), done.out
    assert database.states == {"001": "applied"}
    early = invoke("migrate", app.env, "--contract")
    assert early.status == 2, early.err
    assert "-1.0.0 (is kept to go back to)" in early.err
    forced = invoke("migrate", app.env, "--contract", "--force", "--json")
    assert [one["id"] for one in forced.json["done"]] == ["002"], forced.err
    back = invoke("rollback", app.env)
    assert back.status == 2, back.err
    assert "does not know 002_drop" in back.err
    assert invoke("rollback", app.env, "--check").status == 2
    listed = invoke("rollback", app.env, "--list", "--json").json
    assert [one["left_behind"] for one in listed["releases"]] == [[], [f"002_drop in {app.name}"]]
    status = invoke("status", app.env, "--json").json
    assert {host["version"] for host in status["hosts"]} == {"1.1.0"}


def test_a_later_deploy_applies_a_contract_by_itself(database: Database) -> None:
    """Nobody remembers to apply it weeks later; and applied too early, it breaks what a rollback goes to."""
    app = database.app
    app.settings["databases"][0]["migrations"]["contract_in_deploy"] = True
    app.write(**app.settings, keep_releases=1)
    drop = {
        "002_drop.up.sql": "-- slipway: contract\nalter table items drop name;\n",
        "002_drop.down.sql": "alter table items add name text;\n",
    }
    database.build("1.0.0", ONE)
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        database.build(version, ONE, drop)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        done = app.deploy(version, "--json")
        assert done.status == 0, done.err
        assert database.states == {"001": "applied"}, f"{version} has 1.0.0 beside it"
    assert "apply 002_drop" in app.deploy("1.3.0", "--check").out
    done = app.deploy("1.3.0", "--json")
    assert [one["id"] for one in done.json["migrations"]] == ["002"], done.err
    assert not any("owed" in line for line in done.json["warnings"])
    assert database.states == {"001": "applied", "002": "applied"}


def test_a_deploy_outside_of_the_window_is_refused(database: Database) -> None:
    """Somebody deploys at noon what locks the largest table."""
    app = database.app
    database.build("1.0.0", ONE)
    settings = app.settings["databases"][0]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%a").lower()
    window = {"days": [tomorrow], "opens": "12:00", "closes": "12:30"}
    app.write(databases=[{**settings, "migrations": {**settings["migrations"], "window": window}}])
    refused = app.deploy("1.0.0", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "migrations.refused"), refused.err
    assert f"its window is {tomorrow} 12:00 to 12:30 UTC, and opens" in refused.json["error"]["message"]
    assert app.deploy("1.0.0", "--check").status == 1
    done = app.deploy("1.0.0", "--overrule=it is urgent", "--json")
    assert done.status == 0, done.err
    assert any("(it is urgent)" in line for line in done.json["warnings"])


def test_only_one_migrates_at_a_time(database: Database) -> None:
    """Two tasks on two machines would apply the same migration."""
    app = database.app
    database.build("1.0.0", ONE)
    database.host.run(HOLDS.format(app.name, "select pg_advisory_lock(1936484720, 1), pg_sleep(20)"))
    time.sleep(0.5)
    failed = app.deploy("1.0.0", "--json")
    assert failed.status == 1
    assert "is held by its user postgres" in failed.json["error"]["message"]
    database.sql(END)


@pytest.mark.parametrize("ignored", ["", "ignore_startup_parameters = options"], ids=["refuses", "drops"])
def test_a_pooler_is_refused_before_anything_is_touched(database: Database, ignored: str) -> None:
    """It gives the session with the lock to others: two tasks would apply one migration."""
    app = database.app
    app.settings["databases"][0]["port"] = 6432
    app.write(**app.settings)
    settings = f"""[databases]
* = host=127.0.0.1 port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /run/slipway-test-pooler.users
pool_mode = transaction
server_tls_sslmode = prefer
{ignored}
"""
    password = "a 'secret' with \\ in it"
    put = "install -o postgres -m 0600 /dev/stdin"
    database.host.check_output(f"{put} /run/slipway-test-pooler.ini <<'END'\n{settings}\nEND")
    database.host.check_output(f'{put} /run/slipway-test-pooler.users <<\'END\'\n"{app.name}o" "{password}"\nEND')
    database.host.check_output(
        "systemd-run --quiet --collect --unit=slipway-test-pooler --uid=postgres pgbouncer /run/slipway-test-pooler.ini"
    )
    try:
        wait_until(lambda: database.host.socket("tcp://127.0.0.1:6432").is_listening)
        database.build("1.0.0", ONE)
        failed = app.deploy("1.0.0", "--json")
        assert failed.json["error"]["code"] == "step.migration-pooler", failed.err
        assert "at 127.0.0.1 port 6432 is a connection pooler" in failed.json["error"]["message"]
        assert not database.has("select from pg_namespace where nspname = 'slipway'")
    finally:
        database.host.check_output("systemctl stop slipway-test-pooler")


def test_no_statement_has_roots_or_the_superusers_rights(database: Database) -> None:
    """A release's SQL would be a way to the database's host."""
    app = database.app
    evil = {"001_a.up.sql": "copy (select 1) to program 'id >/tmp/pwned'", "001_a.down.sql": "select 1"}
    database.build("1.0.0", evil)
    failed = app.deploy("1.0.0")
    assert failed.status == 1
    assert "must be superuser or have privileges of the pg_execute_server_program role" in failed.err
    assert not database.host.file("/tmp/pwned").exists


def test_a_table_of_migrations_that_somebody_else_has_made_is_not_written_to(database: Database) -> None:
    """Its triggers would run as the user that migrates."""
    database.sql("create schema slipway; create table slipway.migrations (id text)")
    database.sql(f"grant all on schema slipway to {database.app.name}o")
    database.build("1.0.0", ONE)
    failed = database.app.deploy("1.0.0", "--json")
    assert (failed.status, failed.json["error"]["code"]) == (1, "step.migration-table"), failed.err
    assert "is somebody else's" in failed.json["error"]["message"]


def test_the_password_is_nowhere(database: Database, lab_processes: Callable[[], str]) -> None:
    """Everybody on the host can read a command line."""
    app = database.app
    slow = {"001_a.up.sql": "select pg_sleep(3)", "001_a.down.sql": "select 1"}
    database.build("1.0.0", slow)
    task = app.start("deploy", "--version=1.0.0")
    seen = ""
    wait_until(lambda: database.has(SLEEPS))
    seen = lab_processes()
    _, err = task.communicate(timeout=60)
    assert task.returncode == 0, err
    assert "psql" in seen
    assert "a 'secret'" not in seen + err


@pytest.fixture
def lab_processes(on: On) -> Callable[[], str]:
    """Return the command lines of all processes of the database's host."""
    return lambda: on("db1").check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")


def test_the_database_goes_down_in_the_middle(database: Database) -> None:
    """Nobody knows whether a statement was done, unless somebody looks."""
    app = database.app
    slow = {
        "001_a.up.sql": "create table a (b int);\nselect pg_sleep(60);\n",
        "001_a.down.sql": "drop table a;\n",
    }
    database.build("1.0.0", slow)
    task = app.start("deploy", "--version=1.0.0", "--json")
    wait_until(lambda: database.has(SLEEPS))
    database.host.check_output("systemctl restart postgresql")
    out, err = task.communicate(timeout=100)
    assert task.returncode == 1, err
    assert "Nothing of 001_a was kept" in out, out
    assert not database.has("select from pg_tables where tablename = 'a'")


def test_a_controller_that_dies_leaves_a_whole_migration(database: Database) -> None:
    """The step runs to its end on the host, and the next task finds what it has done."""
    app = database.app
    slow = {"001_a.up.sql": "select pg_sleep(4);\ncreate table a (b int);\n", "001_a.down.sql": "drop table a;\n"}
    database.build("1.0.0", slow, TWO | {"002_price.up.sql": "create table p (b int)"})
    task = app.start("deploy", "--version=1.0.0")
    wait_until(lambda: database.has(SLEEPS))
    task.kill()
    task.communicate()
    # The host goes on by itself.
    wait_until(lambda: database.has("select from pg_tables where tablename = 'a'"))
    assert database.states == {"001": "applied"}, "and nobody begins the next"
    again = app.deploy("1.0.0", "--json", "--wait=120s")
    assert again.status == 0, again.err
    assert [one["id"] for one in again.json["migrations"]] == ["002"]


@pytest.fixture
def rehearsed(database: Database, specs: dict[str, HostSpec]) -> Database:
    """An application whose restored release asks its database, with a backup of version 1.0.0."""
    app = database.app
    server = f"host={specs['db1'].address} user={app.name}o password=plain"
    app.write(
        databases=[{**app.settings["databases"][0], "migrations": {"folder": "db"}}],
        secrets={**app.settings["secrets"], "owner": {"command": ["printf", "plain"]}},
        backup={
            "drill": {
                "command": f'psql -XAtq -c "$(cat query)" "{server} dbname=$DB" && exec python3 -m http.server "$PORT"',
                "environment": {"DB": "{database}"},
                "timeout": "10s",
            }
        },
    )
    assert invoke("provision", app.env).status == 0
    database.program["query"] = b"select name from items"
    database.build("1.0.0", ONE)
    done = app.deploy("1.0.0")
    assert done.status == 0, done.err
    database.sql("insert into items select n, repeat('x', 100) from generate_series(2, 2000) n")
    backed_up = invoke("backup", app.env)
    assert backed_up.status == 0, backed_up.err
    return database


def test_what_is_restored_holds_what_was_backed_up(rehearsed: Database) -> None:
    """A dump that lacks rows loads without an error, and checks may still pass; and a busy database is no fault."""
    app, host = rehearsed.app, rehearsed.host
    busy = f"slipway-test-{app.name}-busy"
    insert = "insert into items select max(id) + 1, 'more' from items"
    ask = f"runuser -u postgres -- psql -Xq {app.name} -c"
    host.check_output(
        f'systemd-run --quiet --collect --unit={busy} sh -c \'while {ask} "$1"; do :; done\' sh "{insert}"'
    )
    try:
        assert invoke("backup", app.env).status == 0
    finally:
        host.check_output(f"systemctl stop {busy}")
    whole = invoke("verify-backups", app.env)
    assert whole.status == 0, whole.out
    place = f"{app.state}/backup.d"
    script = f"""
    cd {app.state}/backups; last=$(ls *.json | tail -n 1); id=${{last%.json}}
    export RESTIC_REPOSITORY=/var/backups/slipway/{app.name}
    RESTIC_PASSWORD=$(cat /dev/stdin); export RESTIC_PASSWORD
    restic --no-cache restore "$(jq -r .snapshot $last)" --target / --include {place}/databases
    awk -F '\t' -v OFS='\t' '{{ $2 += 1; print }}' {place}/databases/{app.name}.contents >{place}/c
    mv {place}/c {place}/databases/{app.name}.contents
    (cd / && find .{place}/databases -type f -exec sha256sum {{}} +) >$id.manifest
    snapshot=$(restic --no-cache backup --json {place} | jq -r 'select(.snapshot_id).snapshot_id')
    jq -c --arg s $snapshot '.snapshot = $s' $last >new && mv new $last
    rm -rf {place}; echo $id
    """
    password = Path(app.settings["secrets"]["restic_password"]["file"]).read_text().strip()
    done = host.run("printf %s %s | sh -ec %s", "%s", password, script)
    assert done.rc == 0, done.stderr
    failed = invoke("verify-backups", app.env)
    assert failed.status == 1, failed.out
    assert "table public.items of the restored" in failed.out, failed.out
    assert "rows, and had" in failed.out
    back = invoke("rollback", app.env, f"--to={done.stdout.split()[-1]}", "--with-database")
    assert back.status == 1, back.err
    assert "is not good enough to go back to: table public.items of the restored" in back.err


def test_a_rehearsal_proves_that_the_running_release_works_on_the_new_schema(rehearsed: Database) -> None:
    """The first host that switches has the others on a schema that nobody tried them with."""
    app = rehearsed.app
    more = {
        "003_kind.up.sql": "alter table items alter column name type varchar(200);\nupdate items set price = id;\n",
        "003_kind.down.sql": "alter table items alter column name type text;\n",
    }
    rehearsed.program["query"] = b"insert into items values (0, 'at its start')"
    rehearsed.build("1.1.0", ONE, TWO, more)
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True}}
    app.write(databases=[{**settings, "migrations": asked}])
    refused = app.deploy("1.1.0", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "migrations.refused"), refused.err
    assert "they were not rehearsed" in refused.json["error"]["message"]
    done = invoke("rehearse", app.env, "--json")
    assert done.status == 0, done.err
    (certificate,) = done.json["databases"]
    assert (done.json["status"], certificate["old_release"]) == ("PASSED", "passed"), done.out
    assert (certificate["new_release"], certificate["why"]) == ("passed", {}), done.out
    two, three = certificate["migrations"]
    assert two["held"]["public.items"][0] == "AccessExclusiveLock", two
    assert (two["rewrites"], three["rewrites"]) == ([], ["public.items"])
    assert certificate["before"] != certificate["after"]
    assert (two["lossy"], three["lossy"]) == ([], []), "what the new release writes is no loss"
    assert certificate["written"] == ["public.items"]
    assert "price" not in rehearsed.sql(
        "select string_agg(column_name, chr(44)) from information_schema.columns where table_name = $$items$$"
    ), "the real one is as it was"
    assert rehearsed.sql("select count(*) from pg_database where datname like $$slipway_drill%$$") == "0"
    rehearsed.sql("alter table items add note text")
    refused = app.deploy("1.1.0")
    assert "the schema is not the one that was rehearsed" in refused.err, refused.err
    assert app.deploy("1.1.0", "--check").status == 1
    rehearsed.sql("alter table items drop note")
    check = app.deploy("1.1.0", "--check", "--json").json
    assert [one["estimate"] is not None for one in check["migrations"]] == [True, True]
    done = app.deploy("1.1.0", "--json")
    assert done.status == 0, done.err
    assert [one["id"] for one in done.json["migrations"]] == ["002", "003"]


def test_a_migration_that_breaks_what_runs_is_caught_before_any_host(rehearsed: Database) -> None:
    """It would take the site down, for as long as the rollout lasts."""
    app = rehearsed.app
    bad = {
        "002_bad.up.sql": "alter table items rename column name to title;\n",
        "002_bad.down.sql": "alter table items rename column title to name;\n",
    }
    rehearsed.build("1.1.0", ONE, bad)
    # The backup that a deploy makes has the release before it. With that, what runs was not tried, and bad ones passed.
    assert app.deploy("1.0.0", "--force").status == 0
    early = invoke("rehearse", app.env)
    assert early.status == 2, early.err
    assert "-1.0.0, which runs, so it cannot be tried on the new schema" in early.err
    failed = invoke("rehearse", app.env, "--fresh", "--json")
    assert failed.status == 1, failed.err
    assert failed.json["databases"][0]["old_release"] == "failed"
    assert 'column "name" does not exist' in failed.json["problems"][0], failed.out
    # No rehearsal is required, and one that failed counts.
    refused = app.deploy("1.1.0", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "migrations.refused"), refused.err
    assert "the release that runs does not work with the new schema" in refused.json["error"]["message"]
    assert app.deploy("1.1.0", "--check").status == 1
    overruled = app.deploy("1.1.0", "--overrule=nobody reads it now", "--json")
    assert overruled.status == 0, overruled.err
    assert any("overruled (nobody reads it now)" in line for line in overruled.json["warnings"])


def test_a_new_release_that_does_not_work_with_its_migrations_is_caught(rehearsed: Database, on: On) -> None:
    """The first host that switches would be the first to try it; and what was tried would be left on the host."""
    app = rehearsed.app
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True}}
    shared = [*app.settings.get("shared", []), "uploads"]
    makes = "echo 'select prize from items' >query"
    app.write(
        databases=[{**settings, "migrations": asked}],
        shared=shared,
        hooks={"install": [{"run": makes}], "before_switch": [{"run": "touch before"}]},
    )
    rehearsed.build("1.1.0", ONE, TWO)
    failed = invoke("rehearse", app.env, "--json")
    (certificate,) = failed.json["databases"]
    assert (failed.status, certificate["old_release"], certificate["new_release"]) == (1, "passed", "failed"), (
        failed.out
    )
    (problem,) = failed.json["problems"]
    assert problem.startswith("the new release does not work with the new schema ("), problem
    assert 'column "prize" does not exist' in problem
    assert 'column "prize" does not exist' in app.deploy("1.1.0", "--json").json["error"]["message"]
    app.write(hooks={"install": [{"run": makes.replace("prize", "price") + " && test -L uploads"}]})
    done = invoke("rehearse", app.env, "--json")
    assert done.status == 0, done.err
    assert done.json["databases"][0]["new_release"] == "passed", done.out
    there = on("app1").check_output(f"ls -A {app.home}/releases; ls -A {app.home}/shared {app.state}")
    assert "1.1.0" not in there, "what was tried is gone"
    assert ("uploads" in there, "slipway-drill" in there) == (False, False), there


def test_a_rehearsal_whose_controller_dies_while_it_stages_leaves_nothing_that_matters(
    rehearsed: Database, on: On
) -> None:
    """Half a release that nobody deploys stays on the host, or its lock keeps the next deploy away."""
    app, host = rehearsed.app, on("app1")
    app.write(hooks={"install": [{"run": "sleep 60"}]})
    rehearsed.build("1.1.0", ONE, TWO)
    task = app.start("rehearse")
    wait_until(lambda: host.run(f"pgrep -u slipway-build-{app.name} -x sleep").rc == 0, seconds=60)
    task.kill()
    task.communicate()
    app.write(hooks={})
    done = app.deploy("1.1.0", "--wait=60s", "--json")
    assert done.status == 0, done.err
    left = host.check_output(f"ls -A {app.home}/releases").split()
    assert sorted(name.partition("-")[2] for name in left) == ["1.0.0", "1.1.0"], left
    assert invoke("verify-backups", app.env).status == 0
    assert not host.run(f"ls -d {app.state}/slipway-drill-*").stdout
    assert rehearsed.sql("select count(*) from pg_database where datname like $$slipway_drill%$$") == "0"


def test_a_deploy_rehearses_by_itself_what_no_rehearsal_speaks_for(rehearsed: Database) -> None:
    """Somebody types three commands before each deploy, or overrules what was to protect."""
    app = rehearsed.app
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True, "by_deploy": True}}
    app.write(databases=[{**settings, "migrations": asked}])
    bad = {
        "002_bad.up.sql": "alter table items rename column name to title;\n",
        "002_bad.down.sql": "alter table items rename column title to name;\n",
    }
    rehearsed.build("1.1.0", ONE, bad)
    check = app.deploy("1.1.0", "--check", "--json")
    assert (check.status, check.json["databases"]) == (0, []), check.err
    assert check.json["rehearses"] == [f"{app.name}: they were not rehearsed"]
    refused = app.deploy("1.1.0", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "migrations.refused"), refused.err
    assert "the rehearsal of 1.1.0 failed: the release that runs does not work" in refused.json["error"]["message"]
    assert "== backing up" not in refused.err, "the newest backup was good for it"
    assert rehearsed.states == {"001": "applied"}
    # The backup that a deploy makes has the release before it.
    assert app.deploy("1.0.0", "--force").status == 0
    rehearsed.build("1.2.0", ONE, TWO)
    done = app.deploy("1.2.0", "--json")
    assert done.status == 0, done.err
    assert "== backing up" in done.err
    assert [one["id"] for one in done.json["migrations"]] == ["002"]
    history = invoke("history", app.env, "--json").json["records"]
    assert [one["task"] for one in history[-2:]] == ["rehearse", "deploy"], history


def test_contracts_are_rehearsed_before_they_are_applied(rehearsed: Database) -> None:
    """What is dropped is gone: that the running release needs it was found out in production."""
    app = rehearsed.app
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True}}
    app.write(databases=[{**settings, "migrations": asked}])
    drop = {
        "002_drop.up.sql": "-- slipway: contract\nalter table items drop name;\n",
        "002_drop.down.sql": "alter table items add name text;\n",
    }
    rehearsed.build("1.1.0", ONE, drop)
    assert app.deploy("1.1.0").status == 0
    assert invoke("backup", app.env).status == 0
    refused = invoke("migrate", app.env, "--contract", "--force", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "migrations.refused"), refused.err
    assert "they were not rehearsed" in refused.json["error"]["message"]
    failed = invoke("rehearse", app.env, "--contract", "--json")
    (certificate,) = failed.json["databases"]
    assert (failed.status, failed.json["contract"], certificate["old_release"]) == (1, True, "failed"), failed.out
    assert 'column "name" does not exist' in failed.json["problems"][0], failed.out
    assert 'column "name" does not exist' in invoke("migrate", app.env, "--contract", "--force").err
    overruled = invoke("migrate", app.env, "--contract", "--force", "--overrule=it is idle", "--check", "--json")
    assert any("overruled (it is idle)" in line for line in overruled.json["warnings"]), overruled.err
    rehearsed.program["query"] = b"select id from items"
    rehearsed.build("1.2.0", ONE, drop)
    assert app.deploy("1.2.0").status == 0
    assert invoke("backup", app.env).status == 0
    done = invoke("rehearse", app.env, "--contract", "--json")
    assert done.status == 0, done.err
    (certificate,) = done.json["databases"]
    (migration,) = certificate["migrations"]
    assert (certificate["old_release"], certificate["new_release"], migration["phase"]) == (
        "passed",
        "not tried",
        "contract",
    )
    assert any("the rows of public.items are not as before" in line for line in migration["lossy"]), migration
    assert rehearsed.has("select from information_schema.columns where table_name = 'items' and column_name = 'name'")
    dropped = invoke("migrate", app.env, "--contract", "--force", "--json")
    assert [one["id"] for one in dropped.json["done"]] == ["002"], dropped.err
    back = invoke("migrate", app.env, "--to=001")
    assert (back.status, "taking 002_drop back loses something" in back.err) == (2, True), back.err


def test_a_way_back_that_loses_data_is_named(rehearsed: Database) -> None:
    """Somebody would take it for a way back."""
    app = rehearsed.app
    bad = {
        "002_drop.up.sql": "update items set name = upper(name);\ncreate index by_name on items (name);\n",
        "002_drop.down.sql": "select 1;\n",
    }
    rehearsed.build("1.1.0", ONE, bad)
    settings = app.settings["databases"][0]
    app.write(databases=[{**settings, "checks": ["select bool_or(name = 'one') from items"]}])
    done = invoke("rehearse", app.env, "--json")
    (migration,) = done.json["databases"][0]["migrations"]
    assert any("by_name" in line and line.endswith("is new") for line in migration["lossy"]), done.out
    assert any(line.startswith("the rows of public.items are not as before") for line in migration["lossy"]), done.out
    # What must hold of a backup must hold of the new schema.
    problem = done.json["problems"][-1]
    assert problem.startswith(f"on the new schema, the restored {app.name}: 'select bool_or(name = "), problem
    assert (done.status, problem.endswith("answers 'f', expected true")) == (1, True), problem


def test_a_first_deploy_needs_no_rehearsal_and_the_next_one_a_new_backup(rehearsed: Database) -> None:
    """Nobody could begin: no backup has a table yet. Nor is one from before the last migration good for anything."""
    app = rehearsed.app
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True}}
    app.write(databases=[{**settings, "migrations": asked}])
    rehearsed.build("1.1.0", ONE, TWO)
    rehearsed.sql("drop table items; drop schema slipway cascade")
    first = app.deploy("1.1.0", "--json")
    assert first.status == 0, first.err
    more = {"003_more.up.sql": "create table more (a int)", "003_more.down.sql": "drop table more"}
    rehearsed.build("1.2.0", ONE, TWO, more)
    refused = app.deploy("1.2.0", "--json")
    assert refused.json["error"]["code"] == "migrations.refused", refused.err
    early = invoke("rehearse", app.env)
    assert early.status == 2, early.err
    assert "001_items, 002_price came after it" in early.err
    assert "invoke backup" in early.err
    assert invoke("backup", app.env).status == 0
    rehearsed.sql("create table other (a int)")
    changed = invoke("rehearse", app.env)
    assert changed.status == 1, changed.err
    assert "has another schema now than in the backup" in changed.out
    rehearsed.sql("drop table other")
    assert invoke("rehearse", app.env).status == 0
    done = app.deploy("1.2.0")
    assert done.status == 0, done.err


def test_a_lock_that_a_deploy_does_not_allow_fails_the_rehearsal(rehearsed: Database) -> None:
    """It said PASSED, and the deploy refused what had passed."""
    app = rehearsed.app
    settings = app.settings["databases"][0]
    asked = {**settings["migrations"], "rehearsal": {"required": True, "lock": "500ms", "table_mb": 0}}
    app.write(databases=[{**settings, "migrations": asked}])
    slow = {
        "002_slow.up.sql": "alter table items add price int;\nselect pg_sleep(1);\n",
        "002_slow.down.sql": "alter table items drop price;\n",
    }
    rehearsed.build("1.1.0", ONE, slow)
    failed = invoke("rehearse", app.env, "--json")
    assert (failed.status, failed.json["status"]) == (1, "FAILED"), failed.err
    (problem,) = failed.json["problems"]
    assert problem.startswith("002_slow kept readers and writers of public.items"), problem
    assert problem.endswith("and 0.5 s are allowed")
    assert problem in app.deploy("1.1.0", "--json").json["error"]["message"]
