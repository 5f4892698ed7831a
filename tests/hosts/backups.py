"""Make an application with every kind of data, for tests of backups, drills and restores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.conftest import App, Ran, invoke

On = Callable[[str], Host]
# The drilled release asks the scratch database before it answers, and writes where the real one keeps its data.
DRILL = """#!/bin/sh
set -eu
psql -Atqc 'select count(*) from items' "$DATABASE_URL" >"$RELEASE/data/drilled"
sqlite3 "$RELEASE/data/notes.db" 'select count(*) from notes' >>"$RELEASE/data/drilled"
echo "$RELEASE $(id -un)" >>"$RELEASE/data/drilled"
cd "$RELEASE/data"
exec python3 -m http.server "$PORT"
"""


def sql(on: On, statement: str, database: str = "postgres") -> str:
    """Run SQL on the lab's database server, as its superuser."""
    done = on("db1").run("cd /; runuser -u postgres -- psql -XAtqv ON_ERROR_STOP=1 -d %s -c %s", database, statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def make_shop(app: App, on: On, specs: dict[str, HostSpec], *, host: str = "app1") -> App:
    """Deploy 1.0.0 of an application with a database on db, SQLite, shared and other data on one host."""
    name, database = app.name, specs["db1"].address
    # An interrupted test leaves these.
    sql(on, f"drop database if exists {name}")
    sql(on, f"drop role if exists {name}")
    sql(on, f"create role {name} login password 'quite-secret'")
    sql(on, f"create database {name} owner {name}")
    sql(on, f"revoke all on database {name} from public; alter database {name} set timezone = 'Asia/Tokyo'")
    sql(on, f"set role {name}; create table items as select i as id from generate_series(1, 500) i", name)  # noqa: S608
    notes = "pragma journal_mode = wal; create table notes (t); insert into notes values (1), (2)"
    media, data = f"/srv/{name}/media", f"{app.home}/shared/data"
    on(host).check_output(
        f"mkdir -p {media} {data} && echo cat >{media}/cat.txt && cd {data} && sqlite3 notes.db '{notes}' &&"
        f" echo up >upload.txt && chown -R www-data: . && chmod 755 {app.home} {app.home}/shared"
    )
    app.write(
        hosts=host,
        shared=["data"],
        databases=[{"name": name, "via": "db", "checks": ["select count(*) >= 500 from items"]}],
        backup={
            "paths": [f"/srv/{name}/media"],
            "sqlite": [f"{app.home}/shared/data/notes.db"],
            "drill": {
                "command": "exec $RELEASE/bin/drill",
                "environment": {"DATABASE_URL": f"postgresql://{name}:quite-secret@{database}/{{database}}"},
                "url": "http://127.0.0.1:{port}/drilled",
                "timeout": "10s",
            },
        },
    )
    app.build("1.0.0", {"bin/drill": DRILL.encode()})
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    return app


@pytest.fixture
def shop(app: App, on: On, specs: dict[str, HostSpec]) -> App:
    return make_shop(app, on, specs)


@pytest.fixture(scope="module")
def repositories(on: On) -> Iterator[None]:
    """Remove a test's repositories after it, to save disk space."""
    yield
    for name in ("app1", "db1"):
        on(name).run("rm -rf /var/backups/slipway/t*")


def back_up(app: App) -> list[dict[str, Any]]:
    """Make a backup, and return its records."""
    made = invoke("backup", app.env, "--json")
    assert made.status == 0, made.err
    return list(made.json["backups"])


def verify(app: App) -> Ran:
    return invoke("verify-backups", app.env, "--json")


def reasons(ran: Ran) -> dict[str, str]:
    """Return all hosts' reasons in one text."""
    return {host["host"]: " / ".join([*host["reasons"], *host["log"]]) for host in ran.json["hosts"]}


def verdict(on: On, app: App, host: str) -> dict[str, Any]:
    """Return the drill's result that preflight reads on a host."""
    document: dict[str, Any] = json.loads(on(host).file(f"{app.state}/verified.json").content_string)
    return document


def secret(app: App, name: str) -> Path:
    return app.folder / "secrets" / name
