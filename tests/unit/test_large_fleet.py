"""Thousands of hosts with the same settings cost little more than one."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from playbooks.core.errors import ConfigError
from playbooks.environments import targets
from playbooks.environments.load import load_environment
from playbooks.report import output
from playbooks.settings import Settings
from playbooks.settings import load as settings_load
from playbooks.show_inventory import show_inventory

HOSTS = 400


def write(folder: Path, **extra: str) -> Path:
    source = folder / "inventory"
    (source / "group_vars").mkdir(parents=True, exist_ok=True)
    hosts = {f"web{number}": {"ansible_host": f"10.0.0.{number}"} for number in range(HOSTS)}
    (source / "hosts.yml").write_text(json.dumps({"web": {"hosts": hosts}}))
    lines = {"slipway_app": "shop", "slipway_artifact": '"/srv/{version}.tar.gz"', **extra}
    (source / "group_vars/all.yml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return source


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was validated."""
    seen: list[object] = []

    def counting(*arguments: Any) -> Any:
        seen.append(arguments[0])
        return settings_load.read_settings(*arguments)

    monkeypatch.setattr(targets, "read_settings", counting)
    return seen


def test_settings_are_validated_once_for_each_value(tmp_path: Path, validated: list[object]) -> None:
    """Fails if every host's settings are validated anew, or hosts get the settings of others."""
    weight = "\"{{ 7 if inventory_hostname in ('web1', 'web2') else 9 }}\""
    env = load_environment(str(write(tmp_path, slipway_weight=weight)), tmp_path)
    assert [target.settings.weight for target in env.targets] == [9, 7, 7] + [9] * (HOSTS - 3)
    assert len(validated) == 2
    view = show_inventory(env).to_json()
    assert [host["settings"]["weight"] for host in view["hosts"]] == [9, 7, 7] + [9] * (HOSTS - 3)
    assert len({id(host["settings"]) for host in view["hosts"]}) == 2
    assert [host["host"] for host in view["hosts"]] == [f"web{number}" for number in range(HOSTS)]


def test_hosts_that_differ_share_what_they_have_in_common(tmp_path: Path) -> None:
    """Fails if one setting of a host's own makes all others be read anew, or hosts share what differs."""
    port = '"{{ 8000 + inventory_hostname[3:] | int }}"'
    env = load_environment(str(write(tmp_path, slipway_port=port, slipway_limits="{systemd: 250}")), tmp_path)
    settings = [target.settings for target in env.targets]
    assert [one.port for one in settings] == list(range(8000, 8000 + HOSTS))
    assert len({(id(one.limits), id(one.health), id(one.rollout)) for one in settings}) == 1
    views = [host["settings"] for host in show_inventory(env).to_json()["hosts"]]
    assert len({(id(view["limits"]), id(view["health"]), id(view["rollout"])) for view in views}) == 1
    for one, view in zip(settings, views, strict=True):
        given = {"app": "shop", "artifact": "/srv/{version}.tar.gz", "port": one.port, "limits": {"systemd": 250}}
        alone = Settings.model_validate(given)
        assert (one, one.model_fields_set) == (alone, set(given))
        assert view == alone.model_dump(mode="json")


def test_a_mistake_in_a_shared_section_is_told_as_it_is_written(tmp_path: Path) -> None:
    """Fails if a host that differs is told of a section as another one's was read, or is let through."""
    disk = "{disk_used: \"{{ 120 if inventory_hostname == 'web7' else 90 }}\"}"
    port = '"{{ 8000 + inventory_hostname[3:] | int }}"'
    with pytest.raises(ConfigError) as caught:
        load_environment(str(write(tmp_path, slipway_port=port, slipway_limits=disk)), tmp_path)
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        "slipway_limits.disk_used: found 120; expected 100 at the most"
    ]


def test_a_mistake_is_found_once(tmp_path: Path, validated: list[object]) -> None:
    """Fails if a mistake that all hosts have takes as long as there are hosts, or is not told."""
    with pytest.raises(ConfigError, match="slipway_weight") as caught:
        load_environment(str(write(tmp_path, slipway_weight="much")), tmp_path)
    assert len(caught.value.problems) == 1
    assert len(validated) == 1


def test_a_number_and_its_text_are_not_the_same(tmp_path: Path) -> None:
    """Fails if values that look the same where they are printed, such as 1 and '1', are taken for one."""
    value = "\"{{ 1 if inventory_hostname == 'web1' else '1' }}\""
    with pytest.raises(ConfigError, match="slipway_user: found 1;"):
        load_environment(str(write(tmp_path, slipway_user=value)), tmp_path)


def _document(rng: random.Random, parts: list[Any], depth: int = 0) -> Any:
    if depth < 4 and rng.random() < 0.7:
        if parts and rng.random() < 0.3:
            return rng.choice(parts)
        items = [_document(rng, parts, depth + 1) for _ in range(rng.randint(0, 4))]
        made: Any = rng.choice([items, tuple(items), {f"k\u202e{at}": item for at, item in enumerate(items)}])
        parts.append(made)
        return made
    return rng.choice([1, 1.0, True, None, "s3cret here", "ä\n\u202e\x85", "", 0, False])


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_pieces_are_the_whole(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a document in pieces is another one than json.dumps makes, or a secret is left in a shared part."""
    monkeypatch.setattr(output, "_strike", lambda text: text.replace("s3cret", "***"))
    for seed in range(200):
        rng = random.Random(seed)  # noqa: S311
        parts: list[Any] = []
        document: dict[str, Any] = {"a": _document(rng, parts), "s3cret": _document(rng, parts), "n": {None: 1}}
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", stream)
        output.answer_json(document)
        stream.flush()
        assert stream.buffer.getvalue().decode(encoding) == output.json_text(document) + "\n"
        assert "s3cret" not in output.json_text(document)
