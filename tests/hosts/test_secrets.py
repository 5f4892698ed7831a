"""Where secrets show: nowhere that others can look. Looked for in every process, file and log while tasks run (E3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.backups import DRILL, make_shop, sql
from tests.hosts.conftest import App, Ran, invoke
from tests.hosts.test_deploy import answer
from tests.hosts.watch import Seen, watching

On = Callable[[str], Host]

HOSTS = ("app1", "db1")
# Each has what JSON, a shell, curl and systemd would write in another way, and a part that all of them leave alone.
SECRETS = {
    "restic_password": "re\"st'ic $HOME \\ Uf7Trestic",
    "token": 'tok"en `id` $x \\ Uf7Ttoken',
    "owner": "ow'ner %s $y \\ Uf7Towner",
}
TRACES = ("Uf7Trestic", "Uf7Ttoken", "Uf7Towner")
# Programs that take a password from their environment, which root alone can read: restic's and PostgreSQL's own way,
# and the shell that speaks to Redis.
BY_ENVIRONMENT = {"restic", "psql", "pg_wrapper", "perl", "timeout", "bash"}
# Says its secret aloud and fails, as applications do.
TALKS = 'cat conf/app.env; echo "no database"; exit 1'


def write(app: App, specs: dict[str, HostSpec], **changes: Any) -> None:
    """Use every secret in every way there is."""
    settings = app.settings
    database = {**settings["databases"][0], "owner": f"{app.name}o", "owner_password": "owner", "checks": []}
    good = f"http://127.0.0.1:{app.port}/VERSION"
    drill = {**settings["backup"]["drill"], "command": f": '{{{{ token }}}}'; {TALKS}"}
    app.write(
        config=[{"template": "app.env.j2", "dest": "conf/app.env"}],
        databases=[database],
        backup={**settings["backup"], "drill": drill},
        health={
            "attempts": 8,
            "interval": "500ms",
            "checks": [
                {"type": "http", "name": "url", "url": f"{good}?{{{{ token | urlencode }}}}"},
                {"type": "http", "name": "header", "url": good, "headers": {"Authorization": "{{ token }}"}},
                {
                    "type": "postgresql",
                    "name": "login",
                    "host": specs["db1"].address,
                    "database": app.name,
                    "user": f"{app.name}o",
                    "password": "owner",
                    "critical": False,
                },
                {"type": "redis", "name": "redis", "port": 1, "password": "token", "critical": False},
                {"type": "command", "name": "aloud", "run": TALKS, "critical": False},
                {"type": "command", "name": "quiet", "run": ": '{{ token }}'"},
            ],
        },
        **changes,
    )
    for group in ("app", "db"):
        variables = app.folder / "inventory" / "group_vars" / f"{group}.yml"
        variables.write_text(f"token: {json.dumps(SECRETS['token'])}\n")


def test_secrets_show_nowhere(app: App, on: On, specs: dict[str, HostSpec]) -> None:
    """A password in a command line, a log or a record is everybody's on that host, for as long as logs are kept."""
    for name, source in app.settings["secrets"].items():
        Path(source["file"]).write_text(SECRETS[name] + "\n")
    owner = app.folder / "secrets" / "owner"
    owner.touch(mode=0o600)
    owner.write_text(SECRETS["owner"] + "\n")
    app.settings["secrets"]["owner"] = {"file": str(owner)}
    templates = app.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "app.env.j2").write_text("TOKEN={{ secrets.token }}\n")
    make_shop(app, on, specs)
    write(app, specs)
    ran: list[Ran] = []

    def run(status: int, *words: str) -> None:
        ran.append(invoke(*words, app.env))
        assert ran[-1].status == status, f"{words}: {ran[-1].out} {ran[-1].err}"

    since = on("app1").check_output("date '+%F %T'")
    with watching(app, on, {name: specs[name].address for name in HOSTS}, TRACES) as watched:
        run(0, "provision")
        app.build("1.1.0", {"bin/drill": DRILL.encode()})
        run(0, "deploy", "--version=1.1.0", "--check")
        run(0, "deploy", "--version=1.1.0")
        write(app, specs, hooks={"after_switch": [{"run": TALKS, "name": "aloud"}]})
        app.build("1.2.0")
        run(1, "deploy", "--version=1.2.0")
        write(app, specs, hooks={})
        run(0, "backup")
        run(1, "verify-backups")
        run(1, "verify-backups", "--json")
        run(0, "health")
        for words in (["health"], ["status"], ["history"], ["inventory"]):
            run(0, *words, "--json")
        run(0, "rollback", "--to=1.0.0")
    assert answer(on, app, "app1") == "1.0.0"

    assert any("no database" in done.out + done.err for done in ran), "nothing was said aloud: this test tests nothing"
    for done in ran:
        assert not [trace for trace in TRACES if trace in done.out + done.err], done.out + done.err
    for name, found in watched.items():
        assert found.rounds > 100, "the sampler did not look"
        told = {one for one in found.seen if one.place == "cmdline" or one.program not in BY_ENVIRONMENT}
        assert not told, f"{name or 'controller'}: {told}"
    assert watched["app1"].programs > 200, "the wrappers were not used"
    assert Seen("environ", "restic", "Uf7Trestic") in watched["app1"].seen, "the watch would not have seen it"

    drilled = f"slipway-{app.name}-drill-release.service"
    for name in HOSTS:
        host = on(name)
        assert_private_temporary(watched[name].temporary)
        for line in host.check_output(f"journalctl -o json --since='{since}'").splitlines():
            entry = json.loads(line)
            # What the application itself says is its own log's: it logs URLs.
            if entry.get("_SYSTEMD_UNIT") not in (drilled, f"{app.name}.service"):
                assert not [trace for trace in TRACES if trace in str(entry.get("MESSAGE"))], entry
        # Last: sudo logs what this very search is for.
        assert_private_files(host, app)
    sql(on, f"drop database if exists {app.name}")


def assert_private_files(host: Host, app: App) -> None:
    """The one file that was asked for holds a secret, and its group alone reads it; all of our state is root's."""
    done = host.run(
        "printf '%%s\\n' %s %s %s | grep -rlaFf - --exclude-dir=journal /run /tmp /var /opt /etc /root /home /srv",
        *TRACES,
    )
    for path in done.stdout.split():
        assert path.startswith(f"{app.home}/releases/"), path
        assert path.endswith("/conf/app.env"), path
        assert host.check_output("stat -c %%a:%%U:%%G %s", path) == "640:root:www-data"
    ours = f"{app.state} /var/backups/slipway/{app.name}"
    assert host.check_output(f"find {ours} -maxdepth 0 ! -perm 700") == ""
    assert host.check_output(f"find {app.state} -type f -perm /077") == ""


def assert_private_temporary(appeared: set[tuple[str, str, int]]) -> None:
    """A file with a name that can be guessed, where everybody can write, is a link to somewhere else by the time it is
    opened."""
    for path, mode, _ in appeared:
        if path.startswith("/tmp/pytest-of-"):
            continue  # the tests' own, of another worker
        assert mode in ("drwx------", "drwx--x--x") or path.startswith(("/tmp/.", "/dev/shm/PostgreSQL.")), path
