"""Inventories that nobody wrote: random groups, ranges, files, priorities and patterns, compared with ansible-core."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from playbooks.core.errors import UsageError
from playbooks.inventory import load_inventory, select
from tests.unit.inventory.ansible_answers import normal
from tests.unit.inventory.conftest import ask_ansible, question

COUNT = 60
NAMES = ["web", "db", "app", "eu", "us", "prod", "test", "k8s-node", "cache", "edge"]
HOSTS = ["h1", "h2", "h[1:3]", "n[08:11]", "x-[a:c]", "y[1:2]-[a:b].example.com", "10.0.0.[1:2]", "z:2222", "localhost"]
KEYS = ["a", "b", "c", "d"]


def _variables(rng: random.Random) -> dict[str, Any]:
    values: list[Any] = [
        1,
        "two",
        "{{ a | default('-') }}{{ b }}",
        None,
        True,
        [1, 2],
        {"k": "{{ inventory_hostname }}"},
        "{{ group_names }}",
    ]
    return {key: rng.choice(values) for key in rng.sample(KEYS, rng.randint(0, 3))}


def _group(rng: random.Random, index: int, depth: int) -> dict[str, Any] | None:
    """A group's body; children come later in NAMES than their parent, so that there is no loop."""
    body: dict[str, Any] = {}
    sections = ["vars", "hosts", "children"]
    rng.shuffle(sections)
    for section in sections[: rng.randint(0, 3)]:
        if section == "vars":
            body["vars"] = _variables(rng)
            if rng.random() < 0.3:
                body["vars"]["ansible_group_priority"] = rng.choice([1, 5, "10", 50])
        elif section == "hosts":
            body["hosts"] = {host: rng.choice([None, _variables(rng)]) for host in rng.sample(HOSTS, rng.randint(0, 4))}
        elif depth < 3 and index + 1 < len(NAMES):
            later = rng.sample(range(index + 1, len(NAMES)), min(rng.randint(1, 3), len(NAMES) - index - 1))
            body["children"] = {NAMES[at]: _group(rng, at, depth + 1) for at in later}
    return body or None


def _write(rng: random.Random, folder: Path) -> Path:
    source = folder / "inventory"
    (source / "group_vars").mkdir(parents=True)
    (source / "host_vars").mkdir()
    for name in rng.sample(["10-a.yml", "20-b.yaml", "30-c", "40-d.json"], rng.randint(1, 3)):
        indices = rng.sample(range(len(NAMES)), rng.randint(1, 4))
        data: dict[str, Any] = {NAMES[at]: _group(rng, at, 0) for at in indices}
        if rng.random() < 0.5:
            data["all"] = {"hosts": {rng.choice(HOSTS): None}, "vars": _variables(rng)}
        text = json.dumps(data) if name.endswith("json") else yaml.safe_dump(data, sort_keys=False)
        (source / name).write_text(text)
    for where, names in (
        ("group_vars", [*NAMES, "all", "ungrouped"]),
        ("host_vars", ["h1", "n09", "x-b", "z", "localhost"]),
    ):
        for name in rng.sample(names, 3):
            if rng.random() < 0.5:
                (source / where / f"{name}.yml").write_text(yaml.safe_dump(_variables(rng)))
            else:
                (source / where / name).mkdir()
                for part in ("1.yml", "2.json"):
                    (source / where / name / part).write_text(json.dumps(_variables(rng)))
    return source


def _patterns(rng: random.Random) -> list[str]:
    atoms = [
        *NAMES,
        "h*",
        "~[hn].*",
        "all",
        "ungrouped",
        "x-a",
        "web[0]",
        "all[-1]",
        "db[1:2]",
        "*[1:]",
        "e?",
        "10.0.0.1",
    ]
    return [
        rng.choice(atoms) + "".join(rng.choice([":", ":&", ":!"]) + rng.choice(atoms) for _ in range(rng.randint(0, 3)))
        for _ in range(12)
    ]


def _check(source: Path, theirs: Mapping[str, Any]) -> None:
    ours = load_inventory(str(source), source.parent)
    ordered = all(group["ordered"] for group in theirs["groups"].values())
    order = list if ordered else sorted
    assert list(ours.hosts) == list(theirs["hosts"])
    assert list(ours.groups) == list(theirs["groups"])
    for name, group in theirs["groups"].items():
        mine = ours.groups[name]
        found = (mine.depth, mine.priority, list(mine.direct_hosts), list(mine.children), order(mine.hosts))
        assert found == (
            group["depth"],
            group["priority"],
            group["direct"],
            group["children"],
            order(group["hosts"]),
        ), name
    for name, host in theirs["hosts"].items():
        assert {key: normal(value) for key, value in ours.vars_for(name).items()} == dict(host["vars"]["dict"]), name
        assert list(ours.hosts[name].groups) == host["group_names"]
    for pattern, answer in theirs["patterns"].items():
        if "[" in pattern and not ordered:
            continue  # which host is the first changes from run to run of Ansible
        try:
            chosen = select(ours, pattern)
        except UsageError:
            continue  # stricter than Ansible, which only warns of a part that matches nothing
        assert order(chosen) == order(answer or []), pattern


def test_generated_inventories(tmp_path: Path) -> None:
    """Fails if some mix of groups, files, ranges, priorities and patterns means something else than with Ansible."""
    sources = [_write(random.Random(seed), tmp_path / str(seed)) for seed in range(COUNT)]  # noqa: S311
    questions = [
        question(source, source.parent, _patterns(random.Random(seed)), resolve=False)  # noqa: S311
        for seed, source in enumerate(sources)
    ]
    for source, theirs in zip(sources, ask_ansible(questions), strict=True):
        _check(source, theirs)
