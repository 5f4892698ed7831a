"""Every inventory in cases/ means to Slipway what it means to ansible-core 2.19."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from playbooks.core.errors import ConfigError, UsageError
from playbooks.inventory import Inventory, VaultValue, limit, load_inventory, select
from tests.unit.inventory.ansible_answers import normal
from tests.unit.inventory.conftest import CASES, ENVIRON, patterns_of, source_of, vault_environ

ALL_CASES = sorted(path.name for path in CASES.iterdir())
ALL_PATTERNS = [(case, pattern) for case in ALL_CASES for pattern in patterns_of(case)]
# Asked of the command itself, which is slow; the rest is asked of its Python API.
BY_COMMAND = ("docs-example", "kubespray", "precedence")


def load(case: str) -> Inventory:
    return load_inventory(str(source_of(case)), CASES / case, environ=vault_environ(case))


def raw(value: Any) -> Any:
    if isinstance(value, VaultValue):
        return {"__vault__": "".join(value.ciphertext.split())}
    if isinstance(value, dict):
        return {key: raw(item) for key, item in value.items()}
    return [raw(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", ALL_CASES)
def test_hosts_and_groups(case: str, ansible_says: Mapping[str, Any]) -> None:
    """Fails if a host or group is missing, in the wrong group, or in another order than Ansible's."""
    theirs = ansible_says[case]
    ours = load(case)
    assert list(ours.hosts) == list(theirs["hosts"])
    assert list(ours.groups) == list(theirs["groups"])
    for name, group in theirs["groups"].items():
        mine = ours.groups[name]
        assert (mine.depth, mine.priority) == (group["depth"], group["priority"]), name
        assert list(mine.direct_hosts) == group["direct"], name
        assert list(mine.children) == group["children"], name
        order = list if group["ordered"] else sorted
        assert order(mine.hosts) == order(group["hosts"]), name


@pytest.mark.parametrize("case", ALL_CASES)
def test_variables(case: str, ansible_says: Mapping[str, Any]) -> None:
    """Fails if precedence, a value, its type or a magic variable differs from Ansible's."""
    ours = load(case)
    for name, theirs in ansible_says[case]["hosts"].items():
        mine = {key: normal(raw(value)) for key, value in ours.vars_for(name).items()}
        # keys that are no text: Ansible keeps them until it prints JSON
        expected = {key if isinstance(key, str) else json.dumps(key): value for key, value in theirs["vars"]["dict"]}
        assert mine == expected, name
        magic = ours.magic_vars(name)
        assert magic["group_names"] == theirs["group_names"]
        assert magic["inventory_hostname_short"] == theirs["short"]
        assert magic["inventory_dir"] == theirs["dir"]
        assert magic["inventory_file"] == theirs["file"]


@pytest.mark.parametrize("case", ALL_CASES)
def test_templated_values(case: str, ansible_says: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a Jinja2 value resolves to another value or type than with Ansible, or fails where that works."""
    for key, value in ENVIRON.items():
        monkeypatch.setenv(key, value)
    ours = load(case)
    differences = []
    for name, theirs in ansible_says[case]["hosts"].items():
        mine = ours.resolved_vars(name)
        for key, answer in theirs["resolved"].items():
            try:
                found: Any = {"value": normal(mine[{"True": "true"}.get(key, key)])}
            except ConfigError as error:
                found = {"error": str(error)}
            if found.get("value", "error") != answer.get("value", "error"):
                differences.append(f"{name} {key} {ours.vars_for(name).get(key)!r}: ours {found}, Ansible's {answer}")
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize(("case", "pattern"), ALL_PATTERNS)
def test_patterns(case: str, pattern: str, ansible_says: Mapping[str, Any]) -> None:
    """Fails if a pattern, or --limit with it, picks other hosts or another order than Ansible's."""
    ours = load(case)
    theirs = ansible_says[case]
    ordered = all(group["ordered"] for group in theirs["groups"].values())
    order = list if ordered else sorted
    for answer, choose in ((theirs["patterns"][pattern], select), (theirs["limits"][pattern], limit)):
        if answer:
            assert order(choose(ours, pattern)) == order(answer)
        else:
            with pytest.raises(UsageError):
                choose(ours, pattern)


@pytest.mark.parametrize("case", BY_COMMAND)
def test_the_command_itself(case: str) -> None:
    """Fails if `ansible-inventory --list`, as a person types it, shows other hosts or variables."""
    command = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run(
        [command, "-i", source_of(case), "--list"],
        capture_output=True,
        text=True,
        check=True,
        cwd=CASES / case,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
    )
    shown = json.loads(done.stdout)
    ours = load(case)
    hostvars = shown["_meta"]["hostvars"]
    assert {name: ours.vars_for(name) for name in ours.hosts if ours.vars_for(name)} == hostvars
    for name, group in shown.items():
        if name not in ("_meta", "all"):
            assert list(ours.groups[name].direct_hosts) == group.get("hosts", [])
            assert list(ours.groups[name].children) == group.get("children", [])
