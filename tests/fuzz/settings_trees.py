"""Hostile settings: any tree that an inventory can hold becomes settings that can be used, or sentences."""

# ruff: noqa: E501  lists of words

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from playbooks.core.errors import ConfigError
from playbooks.inventory.document import Lines, parse
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX, read_settings
from tests.fuzz.mutate import NUMBERS, TEXTS
from tests.fuzz.target import Violation, unprintable
from tests.fuzz.yaml_text import SCALARS, flow

_FILE = Path("all.yml")
_DURATIONS = (
    "30s",
    "1",
    "2",
    "7",
    "500ms",
    "0",
    "1e9",
    "9" * 400 + "d",
    "٣s",
    "1 s",
    "-1s",
    "s",
    "",
    "1.5.5s",
    "99999999999999d",
)
_TEXTS = (
    "shop", "web1", "/opt/shop", "config/app.env", "{app}", "/opt/{app}/../..", "/", "//", "/opt/\u0000", "a@", "@", "-rf",
    "unit.service.j2", "http", "tcp", "unit", "command", "redis", "postgresql", "haproxy", "rolling", "0640", "640", "50%",
    "101%", "0", "a" * 300, ".slipway/x", "a//b", "./a", "..", "x.service", "root", "$(id)", "a b", "a;b", "a\u2028b",
)  # fmt: skip
_VALID: dict[str, Any] = {
    "app": "shop",
    "services": [{"name": "shop@", "instances": [8001, 8002], "unit": {"Service": {"ExecStart": "/bin/true"}}}],
    "config": [{"template": "app.env.j2", "dest": "config/app.env", "mode": "0640"}],
    "shared": ["data"],
    "hooks": {"install": [{"run": "make", "timeout": "5m"}]},
    "health": {
        "interval": "1s",
        "checks": [
            {"type": "http", "url": "http://127.0.0.1:8000/", "headers": {"Host": "shop"}},
            {"type": "tcp", "port": 8000},
            {"type": "postgresql", "password": "db"},
        ],
    },
    "databases": [{"name": "shop", "via": "db", "checks": ["select true"]}],
    "backup": {"paths": ["/srv/shop"], "keep": {"within": "30d"}, "drill": {"command": "bin/run", "timeout": "10s"}},
    "rollout": {"batch": "25%", "tolerate": 1},
    "secrets": {"db": {"file": "~/db"}, "x": {"env": "X"}, "y": {"command": ["pass", "y"]}},
}


class SettingsTrees:
    """An input is a YAML mapping, as group_vars/all.yml would hold it."""

    def __init__(self) -> None:
        self._keys = tuple(sorted({name for model in _models(Settings) for name in model.model_fields}))

    def make(self, rng: random.Random) -> bytes:
        """Valid settings with nonsense in some places, or a tree of nothing else."""
        tree = json.loads(json.dumps(_VALID))
        if rng.random() < 0.2:
            tree = dict.fromkeys(rng.sample(list(Settings.model_fields), rng.randint(1, 6)))
        for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
            self._spoil(rng, tree)
        lines = [f"{PREFIX}{name}: {_written(value)}" for name, value in tree.items()]
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    def _spoil(self, rng: random.Random, tree: Any) -> None:
        """Put nonsense in one place of a tree."""
        at = tree
        while True:
            places = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not places or rng.random() < 0.15:
                places = [rng.choice(self._keys)] if isinstance(at, dict) else []
            if not places:
                return
            place = rng.choice(places)
            below = at.get(place) if isinstance(at, dict) else at[place]
            if not isinstance(below, (dict, list)) or rng.random() < 0.3:
                at[place] = _Raw(self._nonsense(rng))
                return
            at = below

    def _nonsense(self, rng: random.Random) -> str:
        kind = rng.random()
        if kind < 0.3:
            return rng.choice((*SCALARS, *NUMBERS))
        if kind < 0.7:
            return json.dumps(rng.choice((*_DURATIONS, *_TEXTS, *TEXTS)))
        if kind < 0.75:
            return "[" + ", ".join([rng.choice((*SCALARS, "shop"))] * rng.choice((5, 5, 5, 5, 5, 5, 5, 5, 300))) + "]"
        return flow(rng, self._keys)

    def read(self, data: bytes) -> bool:
        """Validate the tree, then ask for everything that the playbooks ask of settings.

        Raises:
            Violation: what was accepted cannot be used, or what was refused has no sentence.
        """
        try:
            tree = parse(data.decode("utf-8", "replace"), _FILE, lines := Lines(), [])
        except ConfigError:
            return False
        if not isinstance(tree, dict):
            return False
        variables = {key: value for key, value in tree.items() if isinstance(key, str)}
        settings, mistakes = read_settings(variables, lambda key, *_: str(lines.of(tree, key) or ""))
        for sentence in mistakes:
            if flaw := unprintable(sentence):
                raise Violation(flaw)
        if settings is None:
            if not mistakes or not all(sentence.strip() for sentence in mistakes):
                raise Violation("refused without a sentence")
            return False
        _usable(settings)
        return True


class _Raw(str):
    """YAML as it is written."""


def _written(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value)


def _usable(settings: Settings) -> None:
    """What steps make of settings: arguments of scripts, paths, time limits.

    Raises:
        Violation: something cannot be one.
    """
    for path in (settings.home, settings.state):
        if not path.startswith("/") or ".." in path.split("/"):
            raise Violation(f"{path!r} is no path below /")
    _ = [unit for service in settings.services for unit in service.units]
    _ = [check.label for check in settings.health.checks]
    for seconds in (
        settings.health.patience,
        settings.timeouts.command + sum(h.timeout for h in settings.hooks.install),
    ):
        f"{seconds:.0f} {seconds * 1000:.0f}"
    for value in _values(settings):
        if isinstance(value, float) and not math.isfinite(value):
            raise Violation(f"{value} is no number of seconds")
        if isinstance(value, str) and any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
            raise Violation(f"{value!r} has a control character")
        if isinstance(value, str) and (flaw := unprintable(value)):
            raise Violation(flaw)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise Violation(f"a whole number of {value.bit_length()} bits: no shell can count with it")


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.items():
            yield from _values(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _values(one)
    else:
        yield value


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        yield from _inside(field.annotation)


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _models(annotation)
    for argument in getattr(annotation, "__args__", ()):
        yield from _inside(argument)
