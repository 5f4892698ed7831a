"""Templates of the inventory decide what a file says, and nothing else: whatever they try ends in a sentence."""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from playbooks.core.artifact import Artifact
from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.releases.render import new_release
from playbooks.releases.renderings import render_all
from playbooks.schedule import render_cron, render_timer
from playbooks.traffic.balancer_host import balancer_files

PROJECT = Path(__file__).resolve().parent.parent.parent
MAKES_ENVIRONMENTS = {"playbooks/inventory/jinja.py", "playbooks/report/page.py"}
RELEASE = new_release(Artifact("1.0.0", "x", None, "none", "0" * 64, 0))
TOUCH = "touch {marker}"
# Runs TOUCH when it is unpickled.
PICKLE = r"cposix\nsystem\n(S'" + TOUCH + r"'\ntR."

ATTACKS = {
    "globals of a class": "{{ cycler.__init__.__globals__.os.popen('" + TOUCH + "').read() }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr": "{{ cycler | attr('__init__') | attr('__globals__') }}",
    "map": "{{ [cycler] | map(attribute='__init__.__globals__') | first }}",
    "format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "format, later": "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
    "format, by a filter": "{{ (['{0.__class__}'] | map('attr', 'format') | first)(1) }}",
    "a model's pickle": "{{ service.parse_raw('" + PICKLE + "'.encode(), proto='pickle', allow_pickle=True) }}",
    "a model's file": "{{ service.parse_file('/etc/passwd') }}",
    "a model's class": "{{ service.model_construct }}{{ service.model_fields }}",
    "masking turned off": "{{ secrets.strike('o') }}",
    "secrets' insides": "{{ secrets._sources }}",
    "a function's globals": "{{ systemd.__globals__ }}{{ lookup.__globals__ }}",
    "a module by a function": "{{ now.__module__ }}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "a class method": "{{ dict.fromkeys(range(9)) }}",
    "a generator's frame": "{{ ([1] | map('string')).gi_frame }}",
    "include": "{% include '/etc/passwd' %}",
    "include above": "{% include '../../../../etc/passwd' %}",
    "import": "{% import 'shop/shop.env.j2' as other %}",
    "extends": "{% extends 'unit.service.j2' %}",
    "changing a list": "{{ groups.all.append('x') }}",
    "changing a dict": "{{ slipway.update(app='x') }}",
}


def environment(folder: Path, template: str, **settings: Any) -> Environment:
    """An inventory whose every template is this one."""
    place = folder / "some"
    (place / "templates").mkdir(parents=True)
    for name in ("evil.j2", "cron.j2", "verify.service.j2", "verify.timer.j2"):
        (place / "templates" / name).write_text("# evil\n" + template.replace("{marker}", str(folder / "marker")))
    values = {
        "app": "shop",
        "config": [{"template": "evil.j2", "dest": "a.env"}],
        "services": [{"name": "web", "template": "evil.j2"}],
        "balancer": {"hosts": "web1", "template": "evil.j2", "page": "evil.j2"},
        "secrets": {"some": {"command": ["touch", str(folder / "secret")]}},
        **settings,
    }
    variables = {f"slipway_{key}": value for key, value in values.items()}
    (place / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"web1": None}, "vars": variables}}))
    return load_environment(str(place), PROJECT)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_template_cannot_act(tmp_path: Path, attack: str) -> None:
    """Each gave a template something to act with, or could have: code, files, Slipway's own objects."""
    env = environment(tmp_path, ATTACKS[attack])
    uses: list[Callable[[], object]] = [
        lambda: render_all(env, RELEASE),
        lambda: balancer_files(env, "web1"),
        lambda: render_cron(env, "1 1 * * *", tmp_path / "log", {}, user="root"),
        lambda: render_timer(env, "daily", tmp_path / "log", {}),
    ]
    for use in uses:
        with pytest.raises(ConfigError) as told:
            use()
        assert any(f"{name}:2" in str(told.value) for name in ("evil.j2", "cron.j2", "verify.service.j2")), told.value
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize("path", ["../evil.j2", "/etc/passwd", "a/../../evil.j2", "..", "."])
@pytest.mark.parametrize("key", ["config", "services", "balancer", "page", "drop_ins"])
def test_a_template_is_below_templates(tmp_path: Path, key: str, path: str) -> None:
    """Fails if a setting names any file of the controller as a template, and a host is sent it."""
    unit = {"Service": {"ExecStart": "/bin/true"}}
    settings: dict[str, Any] = {
        "config": {"config": [{"template": path, "dest": "a.env"}]},
        "services": {"services": [{"name": "web", "template": path}]},
        "drop_ins": {"services": [{"name": "web", "unit": unit, "drop_ins": {"10-a.conf": path}}]},
        "balancer": {"balancer": {"hosts": "web1", "template": path}},
        "page": {"balancer": {"hosts": "web1", "page": path}},
    }
    with pytest.raises(ConfigError, match=r"hosts\.yml:\d+: slipway_.*expected a path below templates/"):
        environment(tmp_path, "", **settings[key])


def test_a_pattern_in_the_inventory_names_no_file(tmp_path: Path) -> None:
    """Fails if an inventory can have a file's lines shown: a line that names no host is told."""
    secret = tmp_path / "secret.txt"
    secret.write_text("do-not-tell\n")
    with pytest.raises(UsageError) as told:
        environment(tmp_path, "", hosts=f"@{secret}")
    assert "do-not-tell" not in str(told.value)


def test_a_secret_in_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """Fails if an inventory can hang every task: secrets in files are read to strike them out."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    secrets = environment(tmp_path, "", secrets={"some": {"file": str(tmp_path / "fifo")}}).secrets
    signal.alarm(10)  # ends a wait with the whole test run
    try:
        assert secrets.mask("text") == "text"
        with pytest.raises(ConfigError, match="no plain file"):
            _ = secrets["some"]
    finally:
        signal.alarm(0)


def test_all_templates_have_one_sandbox() -> None:
    """Fails if somebody makes another Jinja environment: it would have none of this one's rules."""
    makers = set()
    for file in [*(PROJECT / "playbooks").rglob("*.py"), *(PROJECT / "lab").rglob("*.py"), PROJECT / "tasks.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            # `import jinja2` gives all of it.
            if "jinja2" in names or any(name.endswith("Environment") for name in names if module.startswith("jinja2")):
                makers.add(str(file.relative_to(PROJECT)))
    assert makers == MAKES_ENVIRONMENTS
