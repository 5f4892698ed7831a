"""What is read off one host and counts for all of them is a field that is marked so.

`Environment.settings` is the first host's. A field that is read there without its mark would let that one host decide
for the fleet: its `backup.enabled: false` once switched off everybody's backups.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.backups.making import require_secrets
from playbooks.cli.running import has_unit
from playbooks.core.errors import ConfigError
from playbooks.environments.load import load_environment
from playbooks.settings.fleet_wide import fleet_wide
from playbooks.settings.model import Settings

PROJECT = Path(__file__).resolve().parent.parent.parent
FILES = [*(PROJECT / "playbooks").rglob("*.py"), PROJECT / "tasks.py"]
ENVIRONMENTS = {"env", "environment", "_env", "_environment"}
FIELDS = set(Settings.model_fields)


def dotted(node: ast.expr) -> list[str]:
    """Names of an attribute's path: self._env.settings.app; empty where it begins with something else than a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def read_off(path: list[str], aliases: dict[str, list[str]]) -> list[str] | None:
    """Which setting of the first host a path reads, as its parts; None if it reads none."""
    if path[:1] == ["self"]:
        path = path[1:]
    if path and path[0] in aliases:
        return [*aliases[path[0]], *path[1:]]
    if len(path) > 1 and path[0] in ENVIRONMENTS and path[1] == "settings":
        return path[2:]
    return None


def settings_read(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Every reading of the first host's settings, with its line; through names that a function gives them, too."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for scope in [tree, *functions]:
        aliases: dict[str, list[str]] = {}
        given: set[int] = set()
        inner = {id(each) for node in functions if node is not scope for each in ast.walk(node)} - (
            {id(each) for each in ast.walk(scope)} if scope is not tree else set()
        )
        nodes = [node for node in ast.walk(scope) if id(node) not in inner]
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                found = read_off(dotted(node.value), {})
                if found is not None and not set(found) - FIELDS:
                    aliases[node.targets[0].id] = found
                    given |= {id(node.value)} if not found else set()
        within = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if isinstance(node, ast.Attribute | ast.Name) and id(node) not in within | given:
                found = read_off(dotted(node), aliases) if isinstance(getattr(node, "ctx", None), ast.Load) else None
                if found is not None:
                    yield node.lineno, found


def is_marked(path: list[str]) -> bool:
    return any(".".join(path[:length]) in fleet_wide() for length in range(1, len(path) + 1))


def test_what_is_read_off_the_first_host_is_marked() -> None:
    """Otherwise its value there is taken for everybody's, whatever the other hosts say."""
    found = {
        (f"{file.relative_to(PROJECT)}:{line}", ".".join(path) or "all of them")
        for file in FILES
        for line, path in settings_read(ast.parse(file.read_text()))
    }
    assert len(found) > 100
    unmarked = {one for one in found if not is_marked(one[1].split("."))}
    assert unmarked == set()


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("def f(env):\n    return env.settings.user", ["user"]),
        ("def f(self):\n    settings = self._env.settings\n    return settings.backup.keep", ["backup", "keep"]),
        ("def f(env):\n    kept = env.settings.backup\n    g(kept)", ["backup"]),
        ("def f(env):\n    g(env.settings)", []),
    ],
)
def test_the_test_finds_what_is_read(code: str, read: list[str]) -> None:
    """Otherwise the test above proves nothing."""
    found = [path for _, path in settings_read(ast.parse(code))]
    assert read in found
    assert not is_marked(read)


def test_each_hosts_backups_have_their_secrets_before_any_host_is_reached(tmp_path: Path) -> None:
    """A repository's password that only the second host has would be missed when the first one is backed up already."""
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all: {hosts: {web1: {}, web2: {}}, vars: {slipway_app: shop}}\n")
    (tmp_path / "host_vars" / "web2.yml").write_text("slipway_backup: {password: other, environment: {KEY: key}}\n")
    env = load_environment(str(tmp_path), PROJECT)
    with pytest.raises(ConfigError) as refused:
        require_secrets(env)
    assert all(
        any(f"'{name}'" in one for one in refused.value.problems) for name in ("restic_password", "other", "key")
    )


def test_a_unit_is_an_applications_whichever_host_has_it(tmp_path: Path) -> None:
    """Of several applications, `logs --unit` leaves out those that lack it: not one whose second host runs it."""
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all: {hosts: {web1: {}, web2: {}}, vars: {slipway_app: shop}}\n")
    service = "{name: worker, unit: {Service: {ExecStart: /bin/true}}}"
    (tmp_path / "host_vars" / "web2.yml").write_text(f"slipway_services: [{service}]\n")
    env = load_environment(str(tmp_path), PROJECT)
    assert has_unit(env, "worker.service")
    assert not has_unit(env, "web")
