"""hash_behaviour = merge: mappings of one name are merged as ansible-core merges them, where it says so."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from playbooks.core.errors import ConfigError
from playbooks.inventory import load_inventory
from tests.unit.inventory import test_generated
from tests.unit.inventory.ansible_answers import normal
from tests.unit.inventory.conftest import ask_ansible, question

COUNT = 40


def _tree(rng: random.Random, depth: int = 0) -> Any:
    """A value that is sometimes a mapping and sometimes not, as only then the order of merging shows."""
    if depth < 3 and rng.random() < 0.75:
        return {key: _tree(rng, depth + 1) for key in rng.sample("xyz", rng.randint(0, 3))}
    return rng.choice([1, "two", None, [1, {"x": 2}], [], "{{ inventory_hostname }}"])


def test_random_inventories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if merging gives another value, or another order of keys, than with ansible-core."""
    monkeypatch.setattr(
        test_generated, "_variables", lambda rng: {key: _tree(rng) for key in rng.sample("abcd", rng.randint(0, 4))}
    )
    sources = []
    for seed in range(COUNT):
        folder = tmp_path / str(seed)
        sources.append(test_generated._write(random.Random(seed), folder))  # noqa: S311
    theirs = ask_ansible(
        [question(source, source.parent, [], resolve=False) for source in sources], ANSIBLE_HASH_BEHAVIOUR="merge"
    )
    merged = 0
    for source, answer in zip(sources, theirs, strict=True):
        environ = {"ANSIBLE_HASH_BEHAVIOUR": "merge"}
        ours = load_inventory(str(source), source.parent, environ=environ)
        plain = load_inventory(str(source), source.parent, environ={"ANSIBLE_HASH_BEHAVIOUR": "replace"})
        for name, host in answer["hosts"].items():
            mine = {key: normal(value) for key, value in ours.vars_for(name).items()}
            assert mine == dict(host["vars"]["dict"]), (source, name)
            merged += ours.vars_for(name) != plain.vars_for(name)
    assert merged > COUNT


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An inventory whose host has {a: 1, b: 2} where mappings are merged, else {b: 2}."""
    (tmp_path / "inventory/group_vars").mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("web: {hosts: {h1: }}")
    (tmp_path / "inventory/group_vars/all.yml").write_text("m:\n  a: 1\n")
    (tmp_path / "inventory/group_vars/web.yml").write_text("m:\n  b: 2\n")
    return tmp_path / "inventory"


MERGE = "[defaults]\nhash_behaviour = merge ; as before\n"
# What there is: files by their names, and environment variables; {} is the test's folder.
PLACES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "variable": ({}, {"ANSIBLE_HASH_BEHAVIOUR": "merge"}),
    "variable covers file": ({"work/ansible.cfg": MERGE}, {"ANSIBLE_HASH_BEHAVIOUR": "replace"}),
    "named": ({"some.ini": MERGE, "work/ansible.cfg": "[defaults]\n"}, {"ANSIBLE_CONFIG": "{}/some.ini"}),
    "named folder": ({"etc/ansible.cfg": MERGE}, {"ANSIBLE_CONFIG": "{}/etc"}),
    "named and not there": ({"work/ansible.cfg": MERGE}, {"ANSIBLE_CONFIG": "{}/none"}),
    "here": ({"work/ansible.cfg": MERGE}, {}),
    "here, in quotes": ({"work/ansible.cfg": "[defaults]\nHash_Behaviour: 'merge'\n"}, {}),
    "here, another section": ({"work/ansible.cfg": "[other]\nhash_behaviour = merge\n"}, {}),
    "here covers home": ({"work/ansible.cfg": "[defaults]\n", ".ansible.cfg": MERGE}, {}),
    "home": ({".ansible.cfg": MERGE}, {}),
    "everybody's folder": ({"public/ansible.cfg": MERGE}, {}),
}


@pytest.mark.parametrize("place", PLACES)
def test_which_ansible_cfg_counts(place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if Slipway reads another ansible.cfg than Ansible does."""
    files, variables = PLACES[place]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    work = tmp_path / ("public" if place.startswith("everybody") else "work")
    work.mkdir(exist_ok=True)
    work.chmod(0o777 if work.name == "public" else 0o755)
    environ = {name: value.format(tmp_path) for name, value in variables.items()}
    asked = subprocess.run(
        [sys.executable, "-c", "from ansible import constants as C; print(C.DEFAULT_HASH_BEHAVIOUR)"],
        cwd=work,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    inventory = load_inventory(str(source), tmp_path, environ=environ)
    assert inventory.merges == (asked.stdout.strip() == "merge")
    assert inventory.vars_for("h1") == {"m": {"a": 1, "b": 2} if inventory.merges else {"b": 2}}
    assert bool(inventory.warnings) == (work.name == "public")


def test_lines_and_mistakes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a merged value no longer says where each part was written, or a misspelt setting counts for nothing."""
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory(str(source), tmp_path, environ={"ANSIBLE_HASH_BEHAVIOUR": "merge"})
    assert inventory.origin("h1", "m", "a") == "inventory/group_vars/all.yml:2"
    assert inventory.origin("h1", "m", "b") == "inventory/group_vars/web.yml:2"
    (tmp_path / "ansible.cfg").write_text("[defaults]\nhash_behaviour = merged\n")
    with pytest.raises(ConfigError, match=r"ansible\.cfg: hash_behaviour is 'merged'; expected merge or replace"):
        load_inventory(str(source), tmp_path, environ={})


def test_a_part_that_was_encrypted_stays_a_secret(tmp_path: Path) -> None:
    """Fails if a secret that was merged with plain values is shown."""
    from tests.unit.inventory.conftest import CASES, vault_environ

    folder = tmp_path / "inventory"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "host_vars").mkdir()
    secret = next(
        path for path in (CASES / "vault").rglob("*.yml") if path.read_text().startswith("$ANSIBLE_VAULT;1.1")
    )
    (folder / "group_vars/all/vault.yml").write_text(secret.read_text())
    (folder / "hosts.yml").write_text("web: {hosts: {h1: {plain: x}}}")
    environ = {**vault_environ("vault"), "ANSIBLE_HASH_BEHAVIOUR": "merge"}
    before = load_inventory(str(folder), tmp_path, environ=environ).resolved_vars("h1")
    tree = next(key for key in before if isinstance(before[key], dict) and before.is_secret(key))
    (folder / "host_vars/h1.yml").write_text(yaml.safe_dump({tree: {"plain": 1}}))
    after = load_inventory(str(folder), tmp_path, environ=environ).resolved_vars("h1")
    assert json.dumps(after[tree]) == json.dumps({**before[tree], "plain": 1})
    assert after.is_secret(tree)
