"""Several applications in one inventory: each has settings of its own, and none takes what is another's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import tasks
from playbooks.adapters.timers import Places
from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment, load_environments
from playbooks.environments.templates import Templates
from playbooks.fleet.progress import Silent
from playbooks.schedule import schedule, unschedule
from playbooks.settings.reference import reference
from tests.fuzz.vaults import encrypted
from tests.schemas import check_answer

PROJECT = Path(__file__).resolve().parent.parent.parent
HOSTS = "app:\n  hosts:\n    web[1:2]:\nedge:\n  hosts:\n    edge1:\n"
SERVICE = {"name": "{{ slipway_app }}", "unit": {"Service": {"ExecStart": "/run --port={{ slipway_balancer.port }}"}}}
PLAIN = {"name": "it", "unit": {"Service": {"ExecStart": "/run"}}}
SHARED = {
    "slipway_hosts": "app",
    "slipway_artifact": "dist/{{ slipway_app }}-{version}.tar.gz",
    "slipway_services": [SERVICE],
    "slipway_balancer": {"hosts": "edge", "health_path": "/up"},
    "slipway_secrets": {"restic_password": {"env": "RESTIC"}, "token": {"file": "/token"}},
}
TWO: dict[str, Any] = {
    "shop": {"balancer": {"port": 8001, "listen": [80]}, "secrets": {"token": {"env": "TOKEN"}}},
    "blog": {"slipway_balancer": {"port": 8002, "listen": [81]}, "hosts": "web2"},
}


def write(folder: Path, applications: Any = None, **files: Any) -> str:
    """An inventory with these applications, and further files of group_vars/all/ by name."""
    place = folder / "inventory" / "group_vars" / "all"
    place.mkdir(parents=True, exist_ok=True)
    (folder / "inventory" / "hosts.yml").write_text(HOSTS)
    main = {**SHARED, "slipway_applications": applications or TWO}
    for name, content in {"main": main, **files}.items():
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        (place / f"{name}.yml").write_text(text)
    return str(folder / "inventory")


def load(folder: Path, applications: Any = None, **files: Any) -> dict[str, Environment]:
    found = load_environments(write(folder, applications, **files), PROJECT)
    return {env.settings.app: env for env in found}


def refused(folder: Path, applications: Any = None, **files: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, applications, **files)
    return [problem.replace(f"{folder}/inventory/", "") for problem in error.value.problems]


def test_each_has_its_own_settings_over_the_shared_ones(tmp_path: Path) -> None:
    """What is shared and names the application means each in its turn; of a section only what is said is replaced."""
    found = load(tmp_path)
    shop, blog = found["shop"], found["blog"]
    assert [target.name for target in shop.targets] == ["web1", "web2"]
    assert [target.name for target in blog.targets] == ["web2"]
    for env, port, listen in ((shop, 8001, [80]), (blog, 8002, [81])):
        name, balancer = env.settings.app, env.settings.balancer
        assert balancer is not None
        assert (balancer.port, balancer.listen, balancer.hosts, balancer.health_path) == (port, listen, "edge", "/up")
        assert env.settings.artifact == f"dist/{name}-{{version}}.tar.gz"
        assert (env.settings.home, env.settings.state) == (f"/opt/{name}", f"/var/lib/slipway/{name}")
        unit = env.settings.services[0]
        assert (unit.name, unit.unit["Service"]["ExecStart"]) == (name, f"/run --port={port}")
        assert env.flag.endswith(f" --app={name}")
        assert env.signing is not shop.signing or env is shop
    assert {type(one).__name__ for one in shop.settings.secrets.values()} == {"EnvSecret"}
    assert type(blog.settings.secrets["token"]).__name__ == "FileSecret"


def test_templates_see_the_application(tmp_path: Path) -> None:
    """A unit rendered with a neighbour's port would be started on it."""
    found = load(tmp_path)
    place = tmp_path / "inventory" / "templates"
    place.mkdir()
    (place / "env.j2").write_text("{{ slipway_app }} {{ slipway_balancer.port }} {{ hostvars.web1.slipway_app }}")
    rendered = [Templates.of(env).render("env.j2", {}, host="web2") for env in found.values()]
    assert rendered == [b"shop 8001 shop", b"blog 8002 " + rendered[1].split()[-1]]


def test_an_application_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    """Mappings of one name replace each other, as in Ansible; a variable that holds one application does not."""
    apps = {"shop": "{{ shop }}", "blog": TWO["blog"]}
    found = load(tmp_path, apps, shop={"shop": {"balancer": {"port": "{{ shop_port }}"}}, "shop_port": 9001})
    balancer = found["shop"].settings.balancer
    assert balancer is not None and (balancer.port, balancer.hosts) == (9001, "edge")
    origin = found["shop"].inventory.origin("web1", "slipway_balancer", "port")
    assert origin.endswith("group_vars/all/shop.yml:3")
    problems = refused(tmp_path, apps, shop={"shop": {"balancer": {"port": 1, "prot": 2}, "prt": 3}})
    assert set(problems) == {
        "shop: group_vars/all/shop.yml:5: slipway_prt is not a setting; did you mean slipway_port?",
        "shop: group_vars/all/shop.yml:4: slipway_balancer.prot is not a setting; did you mean port?",
    }


@pytest.mark.parametrize(
    ("applications", "said"),
    [
        ([], "slipway_applications: expected names of applications with their settings"),
        ({"Shop": {}}, "found 'Shop'; expected a name of small letters"),
        ({"shop": 5}, "slipway_applications.shop: expected settings"),
        ({"shop": {"app": "blog"}}, "slipway_applications.shop.app: an application's name is its key, shop"),
        ({"shop": {"port": 1, "slipway_port": 2}}, "slipway_applications.shop.slipway_port: port is there as well"),
        ({"shop": {"balancer": "{{ 'x' ~ 'y' }}"}}, "slipway_balancer is a section"),
    ],
)
def test_what_is_no_application_is_refused_with_its_place(tmp_path: Path, applications: Any, said: str) -> None:
    """A mapping that is silently left out is an application that is silently not there."""
    place = write(tmp_path, {"x": {}})
    main = Path(place) / "group_vars" / "all" / "main.yml"
    text = main.read_text().replace("slipway_applications:\n  x: {}\n", "")
    main.write_text(f"{text}slipway_applications: {json.dumps(applications)}\n")
    with pytest.raises(ConfigError) as error:
        load_environments(place, PROJECT)
    assert any("group_vars/all/main.yml:" in problem and said in problem for problem in error.value.problems)


def test_an_application_that_another_file_covers_is_missed(tmp_path: Path) -> None:
    """A file for each application, and all but the last one would be gone without a word."""
    (problem,) = refused(tmp_path, None, other={"slipway_applications": dict.fromkeys(["news"], SHARED)})
    assert problem.startswith("group_vars/all/other.yml:1: slipway_applications covers what group_vars/all/main.yml:")
    assert "shop, blog would be lost" in problem
    hosts = tmp_path / "inventory" / "host_vars"
    hosts.mkdir()
    (hosts / "web2.yml").write_text(yaml.safe_dump({"slipway_applications": {**TWO, "shop": {"weight": 2}}}))
    (tmp_path / "inventory" / "group_vars" / "all" / "other.yml").unlink()
    (problem,) = refused(tmp_path)
    assert "host_vars/web2.yml:8: slipway_applications.shop covers what" in problem
    assert "balancer, secrets would be lost" in problem


CLASHES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"path": "/srv/it"}, {"path": "/srv/it"}, "shop and blog both have the folder /srv/it on web2"),
    ({"path": "/srv/it"}, {"path": "/srv/it/in"}, "the folder /srv/it of shop and the folder /srv/it/in of blog"),
    (
        {"services": [{**SERVICE, "name": "w"}]},
        {"services": [{**SERVICE, "name": "w"}]},
        "both have the unit w.service",
    ),
    ({"port": 9000}, {"slots": {"a": 9000, "b": 9001}, "services": [{**SERVICE, "name": "b@"}]}, "port 9000 on web2"),
    ({"balancer": {"listen": [443]}}, {"balancer": {"listen": [443], "port": 1}}, "both have port 443 on edge1"),
    ({"balancer": {"backend": "b"}}, {"balancer": {"backend": "b", "listen": [9]}}, "both have the backend b on edge1"),
    (
        {"balancer": {"names": ["shop.example"]}},
        {"balancer": {"names": ["blog.example", "shop.example"], "listen": [80]}},
        "both have the host name shop.example on edge1",
    ),
    ({"balancer": {"names": ["shop.example"]}}, {"balancer": {"listen": [80]}}, "both have port 80 on edge1"),
    ({"user": "www"}, {"user": "www"}, "both have the user www on web2"),
    (
        {"databases": [{"name": "d", "via": "edge1"}]},
        {"databases": [{"name": "d", "via": "edge1"}]},
        "both have the database d on edge1",
    ),
]


@pytest.mark.parametrize(("shop", "blog", "said"), CLASHES)
def test_what_would_take_from_a_neighbour_is_refused(
    tmp_path: Path, shop: dict[str, Any], blog: dict[str, Any], said: str
) -> None:
    """Found on a host it is an outage of the other one; both places are told, and whichever is asked for."""
    config = [{"template": "x.j2", "dest": "x"}]
    apps = {
        "shop": {**TWO["shop"], "config": config, **shop},
        "blog": {**TWO["blog"], "config": config, **blog},
    }
    for name, change in (("shop", shop), ("blog", blog)):
        if "balancer" in change:
            own = TWO[name].get("balancer") or TWO[name]["slipway_balancer"]
            apps[name] = {**TWO[name], "config": config, "balancer": {**own, **change["balancer"]}}
            apps[name].pop("slipway_balancer", None)
    problems = refused(tmp_path, apps)
    assert any(said in problem for problem in problems), problems
    assert all(problem.count("group_vars/all/main.yml:") == 2 for problem in problems), problems
    with pytest.raises(ConfigError):
        load_environment(str(tmp_path / "inventory"), PROJECT, app="blog")


def test_host_names_let_applications_share_ports(tmp_path: Path) -> None:
    """One port for all of them is what a balancer with one address has."""
    own = {name: {"balancer": {**next(iter(TWO[name].values())), "listen": [80]}} for name in TWO}
    for name, settings in own.items():
        settings["balancer"]["names"] = [f"{name}.example"]
    assert set(load(tmp_path, own)) == {"shop", "blog"}


def test_neighbours_on_other_hosts_may_have_the_same(tmp_path: Path) -> None:
    """Two fleets in one inventory have nothing to do with each other."""
    same = {"path": "/srv/it", "port": 8000, "services": [PLAIN], "balancer": None}
    assert load(tmp_path, {"shop": {**same, "hosts": "web1"}, "blog": {**same, "hosts": "web2"}})


def test_two_names_of_one_machine_are_one(tmp_path: Path) -> None:
    """An application for each of them would be two on one port."""
    same = {"services": [PLAIN], "balancer": {"port": 8000}}
    apps = {"shop": {**same, "hosts": "web1"}, "blog": {**same, "hosts": "web2"}}
    problems = refused(tmp_path, apps, address={"ansible_host": "10.0.0.1"})
    assert any("port 8000" in problem for problem in problems)


def test_who_has_several_is_asked_which(tmp_path: Path) -> None:
    """A deploy of the wrong application is worse than none."""
    place = write(tmp_path)
    with pytest.raises(UsageError, match="2 applications: shop, blog; which one is meant") as asked:
        load_environment(place, PROJECT)
    assert asked.value.hint == "say it: --app=shop"
    # Though no other has a host there: which one is meant is not for --limit to say.
    with pytest.raises(UsageError, match="which one is meant"):
        load_environment(place, PROJECT, limit="web1")
    with pytest.raises(UsageError, match=r"there is no application 'bolg'.*shop, blog"):
        load_environment(place, PROJECT, app="bolg")
    with pytest.raises(UsageError, match="blog: --limit=web1 leaves no host"):
        load_environment(place, PROJECT, app="blog", limit="web1")
    assert [env.settings.app for env in load_environments(place, PROJECT, limit="web1")] == ["shop"]
    (tmp_path / "one").mkdir()
    only = load_environment(write(tmp_path / "one", {"shop": TWO["shop"]}), PROJECT)
    assert (only.settings.app, only.flag) == ("shop", f"--env={tmp_path}/one/inventory")


def test_an_inventory_of_one_application_is_as_it_was() -> None:
    """Nobody who has one application has to know of several."""
    env = load_environment("lab", PROJECT, app="shop")
    assert (env.flag, env.applications, env.title) == ("--env=lab", (), "lab")
    with pytest.raises(UsageError, match=r"no application 'blog' in lab; there is: shop"):
        load_environment("lab", PROJECT, app="blog")


def test_what_comes_out_of_a_vault_is_struck_out_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One application's secret must not show in another's log."""
    (tmp_path / "password").write_text("pw\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    apps = {"shop": {**TWO["shop"], "artifact": "{{ hidden }}/x"}, "blog": TWO["blog"]}
    cipher = encrypted("hunter2-hunter2", "pw").decode()
    found = load(tmp_path, apps, vault=f"hidden: !vault {json.dumps(cipher)}\n")
    assert found["shop"].settings.artifact == "hunter2-hunter2/x"
    assert all("hunter2" not in env.secrets.mask("hunter2-hunter2") for env in found.values())


def test_each_has_a_schedule_of_its_own(tmp_path: Path) -> None:
    """One entry for both would prove one's backups only."""
    where = Places(tmp_path / "cron.d", tmp_path / "units", tmp_path / "state", ("false",))
    places = {}
    for name, env in load(tmp_path).items():
        places[name] = Path(schedule(env, Silent(), at="03:17", timer=False, where=where).place)
        assert f"--app={name} >>" in places[name].read_text()
    assert len(set(places.values())) == 2
    unschedule(load(tmp_path)["shop"], Silent(), where=where)
    assert not places["shop"].exists() and places["blog"].exists()


def test_every_task_takes_it() -> None:
    """A task without the flag could not be used where there are several."""
    lacking = []
    for name in tasks.namespace.task_names:
        flags = {argument.name for argument in tasks.namespace[name].get_arguments()}
        if "env" in flags and "app" not in flags:
            lacking.append(name)
    assert lacking == []


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROJECT / ".venv/bin/invoke"), *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    check_answer(words, done.stdout)
    return done


def test_what_only_looks_shows_all_of_them(tmp_path: Path) -> None:
    """Who asks how things are means all of it; the document has the same shape whatever --limit leaves."""
    place = write(tmp_path)
    shown = json.loads(run("inventory", f"--env={place}", "--json").stdout)
    assert list(shown["applications"]) == ["shop", "blog"]
    assert shown["applications"]["blog"]["hosts"][0]["settings"]["balancer"]["port"] == 8002
    limited = json.loads(run("inventory", f"--env={place}", "--json", "--limit=web1").stdout)
    assert list(limited["applications"]) == ["shop"]
    one = json.loads(run("inventory", f"--env={place}", "--json", "--app=blog", "--untrusted-inventory").stdout)
    assert [host["host"] for host in one["hosts"]] == ["web2"]
    text = run("inventory", f"--env={place}").stdout
    assert text.startswith("shop:\n") and "\n\nblog:\n" in text
    ran = run("deploy", f"--env={place}", "--version=1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "2 applications: shop, blog" in ran.stderr


def test_the_reference_has_it() -> None:
    """A setting that is not in the list of settings is looked for in vain."""
    assert "`slipway_applications`" in reference()
