"""Artifacts, settings, secrets, the way back and what is told: everything that is decided without a host."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from playbooks.adapters.secrets.sources import Secrets
from playbooks.backups.making import require_secrets
from playbooks.core.errors import ConfigError, UsageError
from playbooks.core.invisible import visible
from playbooks.core.names import stamp
from playbooks.core.requests import RollbackRequest
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.environments.templates import Templates
from playbooks.fleet.address import read_address
from playbooks.fleet.lock_owner import LockOwner
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.render import later_than, new_release, render
from playbooks.restore import newest_backup
from playbooks.rollback import validate_request
from playbooks.rollout.migrated import hooks_left
from playbooks.rollout.planning.rollback_target import choose_release, choose_releases, refuse_changed_backup
from playbooks.settings.load import read_settings
from playbooks.settings.model import FileSecret
from playbooks.settings.reference import reference
from playbooks.steps.facts import Facts, LastSwitch, ReleaseOnHost
from tests.fuzz.vaults import encrypted

PROJECT = Path(__file__).resolve().parent.parent.parent
UNIT = {"name": "web", "unit": {"Service": {"ExecStart": "/opt/app/current/run"}}}


def environment(folder: Path, **settings: Any) -> Environment:
    variables = {"app": "app", "artifact": f"{folder}/app-{{version}}.tar.gz", **settings}
    (folder / "inventory" / "group_vars").mkdir(parents=True, exist_ok=True)
    (folder / "inventory" / "hosts.yml").write_text("web:\n  hosts:\n    web[1:2]:\n")
    text = yaml.safe_dump({f"slipway_{key}": value for key, value in variables.items()})
    (folder / "inventory" / "group_vars" / "all.yml").write_text(text)
    return load_environment(str(folder / "inventory"), PROJECT)


def test_the_inventories_that_come_with_it_are_right() -> None:
    """An example that does not load is the first thing a new user meets."""
    for name in ("development", "staging", "production", "lab"):
        assert load_environment(name, PROJECT).targets


def test_the_inventories_that_come_with_it_run_one_application() -> None:
    """Each can be copied to anywhere by itself, so none has a link to the others."""
    files = [PROJECT / "inventory" / name for name in ("development", "staging", "production")]
    assert len({(file / "group_vars/all/00-application.yml").read_text() for file in files}) == 1
    assert not [path for path in (PROJECT / "inventory").rglob("*") if path.is_symlink()]


def test_settings_reference_is_what_the_models_say() -> None:
    """A page that lags behind sends people to settings that are not there. Mend: script/settings-docs."""
    assert (PROJECT / "docs" / "settings.md").read_text() == reference()


def test_newest_version_is_by_number_and_no_prerelease(tmp_path: Path) -> None:
    """1.10 sorted as text comes before 1.9; a release candidate deployed by itself is a surprise."""
    env = environment(tmp_path)
    for version in ("1.9.0", "1.10.0", "2.0.0-rc1"):
        (tmp_path / f"app-{version}.tar.gz").write_bytes(b"x")
    assert find_artifact(env).version == "1.10.0"
    assert find_artifact(env, version="2.0.0-rc1").version == "2.0.0-rc1"


def test_artifacts_are_where_the_inventory_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inventory that lies anywhere brings its artifacts along; a path that is typed begins where one is."""
    env = environment(tmp_path, artifact="dist/app-{version}.tar.gz")
    with pytest.raises(UsageError) as told:
        find_artifact(env, version="1.0.0")
    for place in (tmp_path / "inventory", PROJECT):
        assert str(place / "dist/app-1.0.0.tar.gz") in told.value.message
    assert "group_vars/all.yml:" in str(told.value.hint)
    for place, version in ((tmp_path / "inventory/dist", "1.0.0"), (tmp_path / "typed", "9.0.0")):
        place.mkdir()
        (place / f"app-{version}.tar.gz").write_bytes(b"x")
    assert find_artifact(env).path == tmp_path / "inventory/dist/app-1.0.0.tar.gz"
    monkeypatch.chdir(tmp_path)
    assert find_artifact(env, artifact="typed/app-9.0.0.tar.gz").version == "9.0.0"


def test_artifact_mistakes_name_what_there_is(tmp_path: Path) -> None:
    """ "Not found" alone leaves a person to guess what would be."""
    env = environment(tmp_path)
    with pytest.raises(UsageError, match="no version can be chosen"):
        find_artifact(env)
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"versions there are: 1\.0\.0"):
        find_artifact(env, version="1.0.1")
    with pytest.raises(UsageError, match="is no version"):
        find_artifact(env, version="../1.0")
    (tmp_path / "app-1.0.0.tar.gz.sha256").write_text("a" * 64)
    with pytest.raises(UsageError, match=hashlib.sha256(b"x").hexdigest()):
        find_artifact(env, version="1.0.0")
    with pytest.raises(UsageError, match="no known format"):
        find_artifact(env, artifact=str(PROJECT / "README.md"))
    with pytest.raises(UsageError, match="not by ftp://") as told:
        find_artifact(env, artifact="ftp://me:key@example.org/app-1.0.0.tar.gz")
    assert "key" not in str(told.value)


def test_settings_mistakes_are_sentences_with_place_key_found_and_expected() -> None:
    """A validator's own words ("extra_forbidden", a URL) help nobody at 3 a.m."""
    given = {
        "slipway_app": "Shop",
        "slipway_heatlh": {},
        "slipway_services": [{"name": "web@"}],
        "slipway_health": {"checks": [{"type": "http", "url": "http://x", "timeout": "soon"}]},
        "slipway_balancer": {"hosts": "edge", "tls": {"certifcate": "/c", "key": "/k", "certificate": "/c"}},
        "slipway_path": "relative",
        "other": 1,
    }
    settings, problems = read_settings(given, lambda key, *_: f"all.yml:{len(key)}")
    assert settings is None
    text = "\n".join(problems)
    assert "all.yml:11: slipway_app: found 'Shop'" in text
    assert "slipway_heatlh is not a setting; did you mean slipway_health?" in text
    assert "slipway_balancer.tls.certifcate is not a setting; did you mean certificate?" in text
    assert "slipway_services[0]" in text
    assert "slipway_health.checks[0].timeout: found 'soon'; expected a duration" in text
    assert "slipway_path: found 'relative'; expected an absolute path" in text
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"keep_releases": 0}, "slipway_keep_releases: found 0; expected 1 or more"),
        ({"health": {"attempts": 0}}, "slipway_health.attempts: found 0; expected 1 or more"),
        (
            {"warm_up": {"times": 5000, "urls": ["http://x"]}},
            "slipway_warm_up.times: found 5000; expected 1000 at the most",
        ),
        ({"forks": "many"}, "slipway_forks: found 'many'; expected a whole number"),
        ({"rollout": {"tolerate": "two"}}, "slipway_rollout.tolerate: found 'two'; expected a number of hosts"),
        (
            {"health": {"checks": [{"type": "command", "run": "x", "command": 5}]}},
            "slipway_health.checks[0].command is",
        ),
        ({"services": [{"name": "x", "unit": 5}]}, "slipway_services[0].unit: found 5; expected keys with values"),
        ({"slots": {"blue": 1}}, "slipway_slots: expected exactly two"),
        ({"secrets": {"db": "hunter2"}}, "slipway_secrets.db: expected {file: PATH}"),
    ],
)
def test_a_mistake_is_told_once_and_in_words(given: dict[str, object], told: str) -> None:
    """Limits were once lost on the way, a union told its innards, and a secret in the wrong place was printed."""
    variables = {"slipway_app": "x", **{f"slipway_{key}": value for key, value in given.items()}}
    settings, problems = read_settings(variables, lambda *_: "all.yml:1")
    assert settings is None
    assert len(problems) == 1
    assert problems[0].removeprefix("all.yml:1: ").startswith(told)
    assert "hunter2" not in problems[0]


def test_settings_that_must_not_differ_between_hosts(tmp_path: Path) -> None:
    """Two hosts that disagree on the application would be one deploy of two things."""
    environment(tmp_path, services=[UNIT])
    (tmp_path / "inventory" / "host_vars").mkdir()
    (tmp_path / "inventory" / "host_vars" / "web2.yml").write_text("slipway_app: other\n")
    with pytest.raises(ConfigError, match="slipway_app differs between web1"):
        load_environment(str(tmp_path / "inventory"), PROJECT)


def test_secrets_are_fetched_once_refused_when_open_and_struck_out(tmp_path: Path) -> None:
    """A secret that others can read, or that shows in a diff, is none."""
    file = tmp_path / "password"
    file.write_text("hunter22\n")
    file.chmod(0o644)
    secrets = Secrets({"db": FileSecret(file=str(file))}, tmp_path)
    with pytest.raises(ConfigError, match="can be read by others"):
        secrets["db"]
    assert "hunter22" not in secrets.mask("what an application says: hunter22")
    file.chmod(0o600)
    assert secrets["db"] == "hunter22"
    file.unlink()
    assert secrets["db"] == "hunter22"
    assert "hunter22" not in secrets.mask("-password=hunter22 +x")
    with pytest.raises(ConfigError, match="slipway_secrets has: db"):
        secrets["nope"]


def test_a_secret_counts_from_the_inventory_as_an_artifact_does(tmp_path: Path) -> None:
    """It counted from the checkout alone, and what was in secrets/ was an inventory: a host called like a password."""
    env = environment(tmp_path, secrets={"db": {"file": "secrets/db"}})
    with pytest.raises(ConfigError) as caught:
        env.secrets["db"]
    places = [folder / "secrets" / "db" for folder in (env.folder, PROJECT)]
    assert caught.value.problems == [f"secret 'db': there is no file {places[0]}, nor {places[1]}"]
    places[0].parent.mkdir()
    places[0].write_text("hunter22\n")
    places[0].chmod(0o600)
    again = environment(tmp_path, secrets={"db": {"file": "secrets/db"}})
    assert again.secrets["db"] == "hunter22"
    assert (list(again.inventory.hosts), again.inventory.warnings) == (["web1", "web2"], env.inventory.warnings)


def test_stock_unit_and_digest(tmp_path: Path) -> None:
    """The digest decides whether the same version is deployed again: it must change with what is rendered, only."""
    env = environment(tmp_path, services=[UNIT])
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    templates = Templates(env.inventory, [PROJECT / "templates"])

    def rendered(target: int, of: Environment) -> Any:
        return render(of, of.targets[target], new_release(find_artifact(of)), templates)

    first = rendered(0, env)
    unit = first.units["web.service"].decode()
    assert "User=app\n" in unit
    assert "WorkingDirectory=/opt/app/current\n" in unit
    assert "ExecStart=/opt/app/current/run\n" in unit
    assert "WantedBy=multi-user.target\n" in unit
    assert rendered(1, env).digest == first.digest
    changed = {**UNIT, "unit": {"Service": {"ExecStart": "/opt/app/current/run", "LimitNOFILE": 5}}}
    assert rendered(0, environment(tmp_path, services=[changed])).digest != first.digest


@pytest.mark.parametrize("key", ["template", "socket_template", "drop_ins"])
def test_a_unit_has_no_secret_in_it(tmp_path: Path, key: str) -> None:
    """systemctl show tells a unit's environment to every user of a host, and its file is open to all."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/open.j2").write_text("[Service]\nEnvironment=TOKEN={{ secrets.token }}\n")
    given = {"drop_ins": {"open.conf": "open.j2"}}.get(key, "open.j2")
    service = {**UNIT, "socket": "127.0.0.1:80", key: given}
    source = {"token": {"env": "HOME"}}
    env = environment(tmp_path, services=[service], secrets=source)
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    templates = Templates(env.inventory, [tmp_path / "templates", PROJECT / "templates"])
    with pytest.raises(ConfigError, match="the unit of web has secret 'token' in it"):
        render(env, env.targets[0], new_release(find_artifact(env)), templates)


def test_a_socket_is_a_unit_beside_its_service(tmp_path: Path) -> None:
    """A service that does not wait for its socket would listen by itself, and its socket could not be opened."""
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    web = {"name": "web@", "instances": [8001, 8002], "socket": "0.0.0.0:%i", "unit": UNIT["unit"]}
    env = environment(tmp_path, services=[web, {**UNIT, "name": "api", "socket": [8080, "/run/api.sock"]}])
    templates = Templates(env.inventory, [PROJECT / "templates"])
    made = render(env, env.targets[0], new_release(find_artifact(env)), templates)
    assert made.start[:4] == ("web@8001.socket", "web@8002.socket", "web@8001.service", "web@8002.service")
    assert b"ListenStream=0.0.0.0:%i\n" in made.units["web@.socket"]
    assert b"Requires=web@%i.socket\n" in made.units["web@.service.d/00-slipway-socket.conf"]
    assert b"ListenStream=8080\nListenStream=/run/api.sock\n" in made.units["api.socket"]
    assert b"Restart=always\n" in made.units["api.service"]
    with pytest.raises(ConfigError, match="Restart cannot be no"):
        environment(tmp_path, services=[{**web, "unit": {"Service": {"ExecStart": "/bin/x", "Restart": "no"}}}])
    with pytest.raises(ConfigError, match="socket"):
        environment(tmp_path, services=[{**web, "socket": "0.0.0.0:80\nExecStart=/bin/x"}])


def test_ansible_connection_variables() -> None:
    """An inventory that Ansible connects with must connect here to the same place."""
    address = read_address(
        "web1",
        {
            "ansible_host": "10.0.0.1",
            "ansible_port": "2222",
            "ansible_user": "me",
            "ansible_ssh_common_args": "-o ProxyJump=bastion -o 'UserKnownHostsFile=/a /b' -oCompression=no -i /k",
        },
        connect_timeout=1.0,
    )
    assert (address.hostname, address.port, address.user, address.become) == ("10.0.0.1", 2222, "me", True)
    stated = ("-o", 'Port="2222"', "-o", 'User="me"')
    named = ("-o", "ProxyJump=bastion", "-o", "UserKnownHostsFile=/a /b", "-o", "Compression=no", "-i", "/k")
    assert address.ssh_arguments == stated + named
    assert not read_address("web1", {"ansible_user": "root"}, connect_timeout=1.0).become
    with pytest.raises(ConfigError, match=r"ansible_port is no number(.|\n)*") as caught:
        read_address("web1", {"ansible_port": "x", "ansible_connection": "winrm"}, connect_timeout=1.0)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("way", ["ansible.builtin.ssh", "ansible.legacy.ssh", "ansible.builtin.paramiko_ssh", "ssh"])
def test_plugins_by_their_long_names(way: str) -> None:
    """Fails if the name that Ansible's own documentation uses for a plugin is refused."""
    variables = {"ansible_connection": way, "ansible_become_method": "ansible.builtin.sudo"}
    assert read_address("web1", variables, connect_timeout=1.0).become


def test_hosts_that_are_not_the_applications(tmp_path: Path) -> None:
    """Fails if this machine or a network device stops an environment that leaves it out, or nobody says how to."""
    hosts = {
        "web": {"hosts": {"web1": None}, "vars": {"slipway_app": "shop"}},
        "net": {"hosts": {"sw1": None}, "vars": {"ansible_connection": "network_cli", "slipway_app": "shop"}},
        "all": {"hosts": {"localhost": {"ansible_connection": "local"}}},
    }
    source = tmp_path / "inventory"
    (source / "group_vars").mkdir(parents=True)
    (source / "hosts.yml").write_text(json.dumps(hosts))
    with pytest.raises(ConfigError) as caught:
        load_environment(str(source), tmp_path)
    device, bare = caught.value.problems
    assert "ansible_connection of sw1 is 'network_cli'" in device
    assert "for localhost" in bare
    assert "slipway_hosts says which hosts are the application's, now 'all'" in str(caught.value.hint)
    assert "'all:!sw1:!localhost'" in str(caught.value.hint)
    (source / "group_vars/all.yml").write_text("slipway_hosts: '{{ chosen }}'\n")
    (source / "group_vars/web.yml").write_text("chosen: 'all:!sw1:!localhost'\n")
    assert [target.name for target in load_environment(str(source), tmp_path).targets] == ["web1"]


def facts(current: str | None, releases: list[tuple[str, str, str | None]], backups: list[dict[str, Any]]) -> Facts:
    found = {
        name: ReleaseOnHost(name, state, before, {"version": name.partition("-")[2]})  # type: ignore[arg-type]
        for name, state, before in releases
    }
    since = 0 if current else None
    return Facts("web1", "", 252, "running", 0, 0, 0, (), {}, current, since, found, (), tuple(backups), None, None)


def test_restore_takes_the_newest_backup_that_every_host_has() -> None:
    """One that is being made just now is on two of three hosts, and two of three were restored without a word."""
    older, newer = {"id": "20261129T120000Z"}, {"id": "20261129T130000Z"}
    ahead = {"id": "29991231T000000Z"}
    hosts = {"a": facts(None, [], [older, newer, ahead]), "b": facts(None, [], [older]), "c": facts(None, [], [])}
    assert newest_backup(hosts) == (older["id"], newer["id"])
    assert newest_backup({"a": hosts["a"]}) == (newer["id"], newer["id"])
    assert newest_backup({**hosts, "d": facts(None, [], [newer])}) == (newer["id"], newer["id"]), "none is everywhere"
    assert newest_backup({"c": hosts["c"]}) == ("", "")


def test_a_way_back_names_the_hooks_of_every_release_that_it_leaves() -> None:
    """Whoever goes back two releases has two migrations in the database."""
    releases = {
        f"{number}-{number}.0": ReleaseOnHost(f"{number}-{number}.0", "proven", None, about)
        for number, about in ((1, {"before_switch": ["first"]}), (2, {"before_switch": ["second"]}), (3, {}), (4, {}))
    }
    hostile = {"5-5.0": ReleaseOnHost("5-5.0", "proven", None, {"before_switch": "rm", "version": "5.0"})}
    host = replace(facts("5-5.0", [], []), releases={**releases, **hostile})
    assert hooks_left([host], {"web1": "1-1.0"}) == {"2.0": ("second",)}
    assert hooks_left([host], {"web1": "3-3.0"}) == {}
    assert hooks_left([host], {"web1": None}) == {}


def test_a_rollback_that_makes_no_sense_reaches_no_host(tmp_path: Path) -> None:
    """--with-database took an application without databases back by its code alone, and said nothing."""
    env = environment(tmp_path, services=[UNIT])
    with pytest.raises(UsageError, match="has no database in slipway_databases"):
        validate_request(env, RollbackRequest(with_database=True))
    with pytest.raises(UsageError, match="--batch=x"):
        validate_request(env, RollbackRequest(batch="x"))
    with pytest.raises(UsageError, match="goes with --with-database only"):
        validate_request(env, RollbackRequest(overrule="they know"))
    databases = [{"name": "shop", "via": "web1"}]
    env = environment(tmp_path, services=[UNIT], databases=databases, backup={"enabled": False})
    with pytest.raises(UsageError, match="backups are off"):
        validate_request(env, RollbackRequest(with_database=True))


def test_a_rehearsal_is_not_asked_for_where_there_are_no_backups(tmp_path: Path) -> None:
    """The deploy says: rehearse it; and the rehearsal: there is nothing to rehearse on."""
    asks = {"folder": "db", "rehearsal": {"required": True}}
    shop = {"name": "shop", "via": "web1", "owner": "shop", "owner_password": "db", "migrations": asks}
    settings: dict[str, Any] = {"services": [UNIT], "databases": [shop], "secrets": {"db": {"env": "DB"}}}
    assert environment(tmp_path / "on", **settings).settings.databases
    with pytest.raises(ConfigError, match="shop asks for rehearsals, which are held on the newest backup"):
        environment(tmp_path / "off", **settings, backup={"enabled": False})


def test_a_deploy_rehearses_only_what_it_asks_for(tmp_path: Path) -> None:
    """by_deploy alone did nothing, and somebody relied on it."""
    asks = {"folder": "db", "rehearsal": {"by_deploy": True}}
    shop = {"name": "shop", "via": "web1", "owner": "shop", "owner_password": "db", "migrations": asks}
    with pytest.raises(ConfigError, match="by_deploy needs required: true"):
        environment(tmp_path, services=[UNIT], databases=[shop], secrets={"db": {"env": "DB"}})


COMMANDS = {"create": "c", "list": "l", "restore": "r", "delete": "d"}


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ({"host": "db.example", "backup": {"method": "pgbackrest", "stanza": "main"}}, "on the server's own host"),
        ({"backup": {"method": "pgbackrest"}}, "stanza"),
        ({"backup": {"method": "pgbackrest", "stanza": "--delta"}}, "stanza"),
        ({"backup": {"method": "barman"}}, "method"),
        ({"backup": {"method": "command", **{kind: COMMANDS[kind] for kind in ("create", "list")}}}, "restore"),
        ({"backup": {"method": "dump", "stanza": "main"}}, "stanza"),
        ({"backup": {"method": "command", **COMMANDS, "secrets": {"TOKEN": "db"}}}, "secrets go with user: root"),
        (
            {
                "backup": {"method": "command", **COMMANDS},
                "owner": "shop",
                "owner_password": "db",
                "migrations": {"folder": "db", "rehearsal": {"required": True}},
            },
            "rehearsal.required needs backup.method dump",
        ),
    ],
)
def test_a_way_to_back_up_that_cannot_work_is_refused(tmp_path: Path, database: dict[str, Any], said: str) -> None:
    """The first deploy at night would tell of it, or a rehearsal that has nothing to rehearse on."""
    databases = [{"name": "shop", "via": "web1", **database}]
    with pytest.raises(ConfigError, match=said):
        environment(tmp_path, services=[UNIT], databases=databases, secrets={"db": {"env": "DB"}})


def test_a_secret_of_a_command_is_fetched_before_a_host_is_reached(tmp_path: Path) -> None:
    """A missing token would show when the snapshot is made, on every host but this machine's."""
    way = {"method": "command", **COMMANDS, "user": "root", "secrets": {"TOKEN": "cloud"}}
    databases = [{"name": "shop", "via": "web1", "backup": way}]
    secrets = {"restic_password": {"env": "HOME"}, "cloud": {"env": "NOT_THERE"}}
    env = environment(tmp_path, services=[UNIT], databases=databases, secrets=secrets)
    with pytest.raises(ConfigError, match="cloud"):
        require_secrets(env)


def test_a_backup_whose_release_is_not_as_it_was_deployed_is_no_way_back() -> None:
    """An older one was taken in its place; and one without a release was said not to be there, and then listed."""
    bare = {"id": "b0", "version": "none", "release": None, "created": "2026-01-01T00:00:00Z"}
    fixed = {"id": "b1", "version": "1.0", "release": "1-1.0", "changed": ["app.py"], "created": "2026-01-02T00:00:00Z"}
    hosts = {"a": facts("1-1.0", [("1-1.0", "proven", "-")], [bare, fixed]), "b": facts(None, [], [])}
    for to in ("b0", "none"):
        with pytest.raises(UsageError, match="backup b0 has no release in it"):
            choose_release(hosts["a"], to)
    assert choose_release(hosts["a"], "b1") == "1-1.0"
    with pytest.raises(UsageError, match=r"on a app\.py"):
        refuse_changed_backup(hosts, ["a"], "b1", with_database=False)
    (told,) = refuse_changed_backup(hosts, ["a"], "b1", with_database=True)
    assert told.endswith("hosts go to 1-1.0 as it was deployed, databases to that backup")
    assert refuse_changed_backup(hosts, ["b"], "b1", with_database=False) == []
    assert refuse_changed_backup(hosts, ["a"], "1.0", with_database=False) == []


def test_rollback_goes_to_what_ran_before_and_not_to_what_is_newest() -> None:
    """The newest backup is of what runs; the newest other folder may be one that failed."""
    host = facts("3-1.2", [("1-1.0", "proven", None), ("2-1.1", "failed", "1-1.0"), ("3-1.2", "proven", "1-1.0")], [])
    assert choose_releases({"web1": host}, None) == {"web1": "1-1.0"}
    assert choose_release(host, "1.0") == "1-1.0"
    assert choose_release(host, "2-1.1") == "2-1.1"
    gone = facts(
        "3-1.2", [("3-1.2", "proven", None)], [{"id": "b1", "release": "1-1.0", "version": "1.0", "created": "1"}]
    )
    assert choose_releases({"web1": gone}, None) == {"web1": "1-1.0"}
    assert [choose_release(gone, to) for to in ("b1", "1.0", "1.2")] == ["1-1.0", "1-1.0", "3-1.2"]
    with pytest.raises(UsageError, match=r"web1 has the releases 3-1\.2, and the backups b1"):
        choose_release(gone, "7.0")
    with pytest.raises(UsageError, match="nothing runs on web1"):
        choose_releases({"web1": facts(None, [], [])}, None)


def test_rollback_of_a_mixed_fleet_undoes_the_last_deploy_only() -> None:
    """A host that a halted deploy never reached must not go back one version further than the others."""
    new = facts("2-1.1", [("1-1.0", "proven", None), ("2-1.1", "staged", "1-1.0")], [])
    old = facts("1-1.0", [("0-0.9", "proven", None), ("1-1.0", "proven", "0-0.9")], [])
    assert choose_releases({"web1": new, "web2": old}, None) == {"web1": "1-1.0", "web2": "1-1.0"}


def test_rollback_of_a_fleet_that_has_grown() -> None:
    """One host that is new must not keep all the others on a release that is bad; nor one that nothing runs on yet."""
    grown = facts("2-1.1", [("1-1.0", "proven", None), ("2-1.1", "proven", "1-1.0")], [])
    # It had an older one once, and was taken off.
    once = {"id": "b1", "release": "1-1.0", "version": "1.0", "created": "1"}
    new, coming = facts("2-1.1", [("2-1.1", "proven", "-")], [once]), facts(None, [], [])
    assert choose_releases({"a": grown, "b": new, "c": coming}, None) == {"a": "1-1.0", "b": None}
    with pytest.raises(UsageError, match=r"1\.1 is the first release on web1") as caught:
        choose_releases({"b": new, "c": coming}, None)
    assert str(caught.value.hint).startswith("name it with --to; web1 has the releases 2-1.1, and the backups b1")
    with pytest.raises(UsageError) as caught:
        choose_releases({"b": replace(new, backups=())}, None)
    assert "no other release is on web1, nor in its backups" in str(caught.value.hint), "not --to what runs"
    with pytest.raises(UsageError, match="nothing runs on web1"):
        choose_releases({"c": coming}, None)
    assert choose_releases({"a": grown, "b": new}, "1.0") == {"a": "1-1.0", "b": "1-1.0"}
    with pytest.raises(UsageError, match="has no release") as caught:
        choose_releases({"a": grown, "b": replace(new, backups=())}, "1.0")
    assert "--limit='all:!b' takes the others back" in str(caught.value.hint)


def test_rollback_after_an_interruption_moves_only_who_is_still_to_move() -> None:
    """Hosts that their guards took back would go back once more, to a version that nobody has thought of for weeks."""
    releases = [("0-0.9", "proven", None), ("1-1.0", "proven", "0-0.9"), ("2-1.1", "staged", "1-1.0")]
    new, old = facts("2-1.1", releases, []), facts("1-1.0", releases, [])
    died = LockOwner("ann@laptop", "deploy 1.1", "", "2-1.1", "deploy", "1.1")
    assert choose_releases({"a": new, "b": old}, None, died) == {"a": "1-1.0", "b": "1-1.0"}
    # Where it was the first, its guard has left nothing.
    assert choose_releases({"a": new, "b": facts(None, [], [])}, None, died) == {"a": "1-1.0"}
    fresh = facts("2-1.1", [("2-1.1", "staged", None)], [])
    assert choose_releases({"a": new, "b": fresh}, None, died) == {"a": "1-1.0", "b": None}
    # Its rollback was interrupted too, and is gone on with under the same id.
    again = LockOwner("bob@desk", "rollback", "", "3-rollback", "rollback", "", undoes="2-1.1")
    assert choose_releases({"a": new, "b": old}, None, again) == {"a": "1-1.0", "b": "1-1.0"}
    # A rollback of a deploy that had ended well: hosts that it had moved are known by its id.
    plain = LockOwner("bob@desk", "rollback", "", "3-rollback", "rollback")
    moved = replace(old, last_switch=LastSwitch("3-rollback", "2-1.1", "1-1.0"))
    assert choose_releases({"a": new, "b": moved}, None, plain) == {"a": "1-1.0", "b": "1-1.0"}
    # Who names where to go is not second-guessed.
    assert choose_releases({"a": new, "b": old}, "0.9", died) == {"a": "0-0.9", "b": "0-0.9"}


def test_a_release_sorts_after_those_of_a_clock_that_is_ahead(tmp_path: Path) -> None:
    """Newest is told by id: with a laptop an hour behind, rollback and pruning would take the wrong one for it."""
    env = environment(tmp_path)
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    release = new_release(find_artifact(env))
    assert later_than(release, ["20200101T000000Z-0.9"]) == release
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    following = f"{stamp(ahead + timedelta(seconds=1))}-1.0.0"
    assert later_than(release, [f"{stamp(ahead)}-0.9"]).id == following
    assert later_than(release, ["nonsense-of-somebody", "99999999T999999Z-1"]) == release
    assert later_than(release, ["nonsense-of-somebody", f"{stamp(ahead)}-0.9"]).id == following
    assert later_than(release, [release.id]).id > release.id, "two deploys within a second"


def test_a_release_from_the_future_moves_no_other_id(tmp_path: Path) -> None:
    """Every later id would be made after it, for good: one host's lie for all of them."""
    env = environment(tmp_path)
    (tmp_path / "app-1.0.0.tar.gz").write_bytes(b"x")
    release = new_release(find_artifact(env))
    week = datetime.now(UTC) + timedelta(days=7)
    for lie in ("99991231T235959Z-9", "99991231T235958Z-9", "29991231T235959Z-0.9", f"{stamp(week)}-1"):
        assert later_than(release, [lie]) == release


def test_text_from_hosts_cannot_steer_a_terminal() -> None:
    """A hostile host could otherwise clear the screen and write its own "deployed"."""
    assert "\x1b" not in visible("\x1b[2Jdone\r\n\x07")
    assert visible("ok – ü") == "ok – ü"
    assert visible("\x9b31m") == "<U+009B>31m"


def test_hosts_may_not_differ_in_what_is_read_off_the_first_one(tmp_path: Path) -> None:
    """Backups that are off on the second host only were made, or left out, by what the first one says."""
    folder = tmp_path / "inventory"
    (folder / "host_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {hosts: {web1: {}, web2: {}}, vars: {slipway_app: shop}}\n")
    (folder / "host_vars" / "web2.yml").write_text("slipway_backup:\n  paths: [/srv/x]\n  enabled: false\n")
    with pytest.raises(ConfigError) as refused:
        load_environment(str(folder), tmp_path)
    assert refused.value.problems == [
        f"slipway_backup.enabled differs between web1 (by default) and web2 ({folder}/host_vars/web2.yml:3); "
        "it must be the same for every host"
    ]


def test_what_comes_out_of_a_vault_shows_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed deploy shows the unit's log, and with it the password that its configuration got from a vault."""
    folder = tmp_path / "inventory"
    (folder / "group_vars/all").mkdir(parents=True)
    (tmp_path / "password").write_text("sesame")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    one = encrypted("inline-secret-1", "sesame").decode()
    whole = encrypted("db: {password: whole-secret-1, tls: 'yes'}\nport: 5432\n", "sesame").decode()
    (folder / "hosts.yml").write_text("all: {hosts: {web1: {}}}\n")
    (folder / "group_vars/all/main.yml").write_text(f"slipway_app: shop\ntoken: !vault {json.dumps(one)}\n")
    (folder / "group_vars/all/vault.yml").write_text(whole)
    env = load_environment(str(folder), tmp_path)
    log = "token=inline-secret-1 db=whole-secret-1 tls=yes port=5432"
    for name in ("token", "db"):
        assert env.targets[0].variables[name]
    masked = env.secrets.mask(log)
    assert "secret-1" not in masked
    assert masked.endswith("tls=yes port=5432")
