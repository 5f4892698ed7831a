"""Alembic, Django and dbmate as they are, on a real PostgreSQL: each run by a deploy, before any host switches (C1)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.conftest import App, invoke, wait_until
from tests.hosts.test_migrations import HOLDS, SLEEPS, Database

On = Callable[[str], Host]
SHOWS_LIMITS = "current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')"


def packages(*names: str) -> dict[str, bytes]:
    """Return the Python files of installed packages, for an artifact's folder lib."""
    return {
        f"lib/{path}": Path(str(path.locate())).read_bytes()
        for name in names
        for path in distribution(name).files or ()
        if path.suffix == ".py" or path.name == "METADATA" or path.match("django/conf/locale/en/*/*.mo")
        if path.parts[0] != ".."
    }


def alembic(*migrations: str) -> dict[str, bytes]:
    """Return a release's files with migrations by Alembic: 001, 002, …; each is the body of its upgrade()."""
    files = packages("alembic", "sqlalchemy", "mako", "markupsafe", "typing_extensions", "psycopg")
    files["alembic.ini"] = b"[alembic]\nscript_location = migrations\n"
    files["migrations/env.py"] = (
        b"import os\nfrom alembic import context\nfrom sqlalchemy import create_engine\n"
        b"with create_engine(os.environ['DATABASE_URL']).connect() as connection:\n"
        b"    context.configure(connection=connection, transaction_per_migration=True)\n"
        b"    with context.begin_transaction():\n        context.run_migrations()\n"
    )
    for number, body in enumerate(migrations, start=1):
        before = repr(f"{number - 1:03}") if number > 1 else None
        files[f"migrations/versions/{number:03}.py"] = (
            f"'''step {number}'''\nfrom alembic import op\nrevision = '{number:03}'\ndown_revision = {before}\n"
            f"def upgrade():\n    {body}\n"
            f"def downgrade():\n    op.execute('drop table made{number}')\n"
        ).encode()
    return files


def django(*migrations: str) -> dict[str, bytes]:
    """Return a release's files with migrations of an app shop by Django; each is one operation."""
    files = packages("django", "asgiref", "sqlparse", "typing_extensions", "psycopg")
    files["manage.py"] = (
        b"import sys\nfrom django.core import management\nmanagement.execute_from_command_line(sys.argv)\n"
    )
    files["settings.py"] = (
        b"import os\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['shop']\nUSE_TZ = True\nDATABASES = {'default': {"
        b"'ENGINE': 'django.db.backends.postgresql', 'HOST': os.environ['PGHOST'], 'NAME': os.environ['PGDATABASE'], "
        b"'USER': os.environ['PGUSER'], 'PASSWORD': os.environ['PGPASSWORD']}}\n"
    )
    files["shop/__init__.py"] = files["shop/models.py"] = files["shop/migrations/__init__.py"] = b""
    for number, operation in enumerate(migrations, start=1):
        before = f"('shop', '{number - 1:04}_step')" if number > 1 else ""
        files[f"shop/migrations/{number:04}_step.py"] = (
            "from django.db import migrations\nclass Migration(migrations.Migration):\n"
            f"    dependencies = [{before}]\n    operations = [{operation}]\n"
        ).encode()
    return files


def dbmate(*migrations: str) -> dict[str, bytes]:
    """Return a release's files with migrations by dbmate; each is the text of its up."""
    files = {"bin/dbmate": (Path(sys.executable).parent / "dbmate").read_bytes()}
    for number, up in enumerate(migrations, start=1):
        text = f"-- migrate:up\n{up};\n-- migrate:down\ndrop table made{number};\n"
        files[f"db/migrations/{number:03}_step.sql"] = text.encode()
    return files


@dataclass
class Tooled:
    """An application whose own tool migrates its database."""

    database: Database
    settings: dict[str, Any]
    place: Path

    @property
    def app(self) -> App:
        return self.database.app

    def use(self, **migrations: Any) -> None:
        """Let this tool migrate, with the application's configuration as its environment."""
        whole = {"environment_file": "conf/app.env", "patience": "2s", **migrations}
        self.app.write(databases=[{**self.settings, "migrations": whole}])

    def configure(self, *lines: str) -> None:
        """Set the application's configuration."""
        (self.place / "app.env.j2").write_text("".join(f"{line}\n" for line in lines))

    def tables(self) -> list[str]:
        return self.database.sql(
            "select tablename from pg_tables where tablename like $$made%$$ order by tablename"
        ).split()

    def versions(self) -> set[str]:
        """What the hosts run."""
        return {host["version"] for host in invoke("status", self.app.env, "--json").json["hosts"]}


@pytest.fixture
def tooled(app: App, on: On, specs: Mapping[str, HostSpec], tmp_path: Path) -> Iterator[Tooled]:
    """An application on two hosts with a database of its own, whose server they reach."""
    place = tmp_path / "inventory" / "templates"
    place.mkdir(parents=True)
    settings = {"name": app.name, "via": "db", "owner": f"{app.name}o", "owner_password": "owner"}
    app.write(
        hosts="app1:app2",
        databases=[settings],
        secrets={**app.settings["secrets"], "owner": {"command": ["printf", "Uf7plain"]}},
        config=[{"template": "app.env.j2", "dest": "conf/app.env"}],
    )
    made = Tooled(Database(app, on("db1")), {**settings, "host": specs["db1"].address}, place)
    made.configure("")
    done = invoke("provision", app.env)
    assert done.status == 0, done.err
    yield made
    made.database.sql(f'drop database if exists "{app.name}" with (force)', "postgres")


def url(tooled: Tooled, scheme: str) -> str:
    """Return a line of configuration, with a secret in it."""
    name = tooled.app.name
    return f"DATABASE_URL={scheme}://{name}o:{{{{ secrets.owner }}}}@{tooled.settings['host']}/{name}?sslmode=disable"


def test_alembic_migrates_before_any_host_switches(tooled: Tooled) -> None:
    """The new release meets the old schema."""
    app = tooled.app
    tooled.configure(url(tooled, "postgresql+psycopg"), "PGOPTIONS=-c work_mem=5MB")
    tooled.use(tool="alembic", program="python3 -m alembic", environment={"PYTHONPATH": "lib"}, lock_timeout="700ms")
    one = f'op.execute("create table made1 as select {SHOWS_LIMITS} as limits, $$x$$ || current_setting($$work_mem$$)")'
    app.build("1.0.0", alembic(one))
    check = app.deploy("1.0.0", "--check", "--json")
    assert [tool["command"] for tool in check.json["tools"]] == ["python3 -m alembic upgrade head"], check.err
    assert "app1 runs 'python3 -m alembic upgrade head'" in app.deploy("1.0.0", "--check").out
    assert tooled.tables() == []
    first = app.deploy("1.0.0", "--json")
    assert first.status == 0, first.err
    (ran,) = first.json["tools"]
    assert (ran["moved"], ran["before"]["applied"], ran["after"]["applied"]) == (["001 step 1"], 0, 1)
    # Units of other tests may have failed there.
    warnings = [line for line in first.json["warnings"] if "the host is degraded" not in line]
    assert (ran["host"], ran["locked"], warnings) == ("app1", True, [])
    assert tooled.database.sql("select * from made1") == "700ms 1h|x5MB", (
        "libpq has the limits, and the rest of PGOPTIONS"
    )
    app.build("1.1.0", alembic(one, "op.execute('create table made2 (a int)')"))
    second = app.deploy("1.1.0", "--json")
    assert second.json["tools"][0]["moved"] == ["002 step 2"], second.err
    shown = invoke("migrations", app.env, "--json").json
    assert shown["tools"][0]["applied"] == ["001 step 1", "002 step 2"]
    assert "nothing" not in invoke("migrations", app.env).out
    refused = invoke("migrate", app.env, "--to=003", "--yes")
    assert (refused.status, "no such migration" in refused.err) == (2, True), refused.err
    back = invoke("migrate", app.env, "--to=001", "--yes", "--json")
    assert back.json["tools"][0]["moved"] == ["002 step 2"], back.err
    assert tooled.tables() == ["made1"]
    assert invoke("migrations", app.env, "--json").json["tools"][0]["pending"] == ["002 step 2"]
    again = invoke("migrate", app.env, "--yes", "--json")
    assert (again.status, tooled.tables()) == (0, ["made1", "made2"]), again.err
    record = next(one for one in invoke("history", app.env, "--json").json["records"] if one["task"] == "deploy")
    assert record["tools"][0]["tool"] == "alembic"


def test_django_that_fails_ends_the_deploy_with_its_last_lines(tooled: Tooled) -> None:
    """Half of the hosts would run with a schema that is not there."""
    app = tooled.app
    tooled.configure(
        *(f"PGHOST={tooled.settings['host']}", f"PGDATABASE={app.name}", f"PGUSER={app.name}o"),
        *("PGPASSWORD={{ secrets.owner }}", "DJANGO_SETTINGS_MODULE=settings"),
    )
    tooled.use(tool="django", environment={"PYTHONPATH": "lib"})
    one = "migrations.RunSQL('create table made1 (a int)', 'drop table made1')"
    app.build("1.0.0", django(one))
    first = app.deploy("1.0.0", "--json")
    assert first.status == 0, first.err
    assert first.json["tools"][0]["moved"] == ["shop.0001_step"]
    app.build("1.1.0", django(one, "migrations.RunSQL('create table made2 as select 1/0 as a')"))
    failed = app.deploy("1.1.0", "--json")
    assert (failed.status, failed.json["error"]["code"]) == (1, "step.migration-tool"), failed.err
    said = failed.json["error"]["message"]
    assert "'python3 manage.py migrate --no-input' ended with status 1: " in said
    assert "division by zero" in said
    assert "is as before: 1 applied, shop.0001_step the last; 1 pending" in said
    assert any("Traceback" in line or "django" in line for line in failed.json["error"]["log"])
    assert tooled.versions() == {"1.0.0"}
    assert "Uf7plain" not in failed.out + failed.err
    app.build("1.2.0", django(one, "migrations.RunSQL('create table made2 (a int)', 'drop table made2')"))
    fixed = app.deploy("1.2.0")
    assert (fixed.status, tooled.tables()) == (0, ["made1", "made2"]), fixed.err
    back = invoke("migrate", app.env, "--to=shop.0001_step", "--yes", "--json")
    assert (back.status, tooled.tables()) == (0, ["made1"]), back.err


def test_dbmate_waits_while_somebody_else_migrates(tooled: Tooled) -> None:
    """Two machines would run the same migration at once."""
    app = tooled.app
    tooled.configure(url(tooled, "postgres"))
    tooled.use(tool="dbmate", program="bin/dbmate")
    app.build("1.0.0", dbmate(f"create table made1 as select {SHOWS_LIMITS}", "create table made2 (a int)"))
    secrets = app.settings["secrets"]
    app.write(secrets={**secrets, "owner": {"command": ["printf", "wrong"]}})
    refused = app.deploy("1.0.0", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "step.database"), refused.err
    assert "password authentication failed" in refused.json["error"]["message"]
    app.write(secrets=secrets)
    tooled.database.host.run(HOLDS.format(app.name, "select pg_advisory_lock(1936484720, 1), pg_sleep(60)"))
    wait_until(lambda: tooled.database.has("select from pg_locks where locktype = 'advisory'"))
    busy = app.deploy("1.0.0", "--json")
    assert (busy.status, busy.json["error"]["code"]) == (1, "step.migration-busy"), busy.err
    assert "s by its user postgres, who does not migrate it" in busy.json["error"]["message"]
    tooled.database.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
    done = app.deploy("1.0.0", "--json")
    assert (done.status, tooled.tables()) == (0, ["made1", "made2"]), done.err
    assert done.json["tools"][0]["moved"] == ["001_step.sql", "002_step.sql"]
    assert tooled.database.sql("select * from made1") == "1s 1h", "its driver reads PGOPTIONS, as libpq does"
    assert not tooled.database.has("select from pg_locks where locktype = 'advisory'")
    back = invoke("migrate", app.env, "--to=001_step.sql", "--yes", "--json")
    assert (back.status, tooled.tables()) == (0, ["made1"]), back.err
    back = invoke("migrate", app.env, "--to=none", "--yes")
    assert (back.status, tooled.tables()) == (0, []), back.err
    refused = invoke("rehearse", app.env)
    assert (refused.status, "a rehearsal can only run SQL files" in refused.err) == (2, True), refused.err


def test_a_tool_of_ones_own_outlives_a_dead_controller(tooled: Tooled) -> None:
    """The next deploy would begin the same migration while the first one runs."""
    app = tooled.app
    server = f"psql -XAtq -h {tooled.settings['host']} -U {app.name}o {app.name}"
    tooled.configure("PGPASSWORD={{ secrets.owner }}")
    tooled.use(
        commands={
            "up": f"id -un; echo \"$RELEASE\"; {server} -c 'select pg_sleep(5)' && {server} -f up.sql",
            "status": f"{server} -f status.sql",
        },
        patience="60s",
    )
    files = {
        "up.sql": b"create table if not exists made1 as select session_user;\n",
        "status.sql": b"select count(*) from pg_tables where tablename = 'made1'\n",
    }
    app.build("1.0.0", files)
    task = app.start("deploy", "--version=1.0.0")
    wait_until(lambda: tooled.database.has(SLEEPS))
    task.kill()
    task.communicate()
    held = app.deploy("1.0.0", "--json")
    assert (held.status, held.json["error"]["code"]) == (4, "lock.held"), held.err
    again = app.deploy("1.0.0", "--json", "--wait=120s")
    assert again.status == 0, again.err
    (ran,) = again.json["tools"]
    assert (ran["before"]["said"], ran["after"]["said"], ran["moved"]) == (["1"], ["1"], [])
    assert tooled.database.sql("select * from made1") == f"{app.name}o"
    none = invoke("migrate", app.env, "--to=1", "--yes")
    assert (none.status, "no command that goes back" in none.err) == (2, True), none.err
    del tooled.settings["host"]
    tooled.use(commands={"up": "true", "status": "echo fine"})
    check = app.deploy("1.0.0", "--force", "--check", "--json")
    assert check.json["tools"][0]["unlocked"].endswith("names no address at which app1 reaches the server"), check.err
    lone = invoke("migrate", app.env, "--yes", "--json")
    assert (lone.status, lone.json["tools"][0]["locked"]) == (0, False), lone.err
    assert any("under the locks of the hosts alone" in line for line in lone.json["warnings"])
    bad = {"up": "id -un; exit 3", "status": "true"}
    tooled.use(commands=bad)
    failed = invoke("migrate", app.env, "--yes", "--json")
    assert failed.status == 1
    assert "'id -un; exit 3' ended with status 3: www-data" in json.loads(failed.out)["error"]["message"]
    app.write(timeouts={"total": "55s"})
    tooled.use(commands={"up": "sleep 200", "status": "true"})
    app.build("1.1.0")
    late = app.deploy("1.1.0", "--json")
    assert late.json["error"]["code"] == "step.migration-tool", late.err
    assert "'sleep 200' did not end within" in late.json["error"]["message"], "somebody still listens"
    assert tooled.versions() == {"1.0.0"}
