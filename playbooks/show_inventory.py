"""Hosts, groups and resolved settings as Slipway sees them. Reaches no host and fetches no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from playbooks.adapters.secrets.masking import MASK
from playbooks.core.answer import Answer
from playbooks.environments.environment import Environment, Target
from playbooks.environments.not_read import not_read
from playbooks.inventory.document import Origin
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX


@dataclass(frozen=True)
class HostView:
    """One host of the application.

    Args:
        groups: Ansible's group_names.
        address: user@host:port, as far as the inventory says.
        settings: every setting, defaults filled in; values that are secret or made of one are struck out.
        origins: where a setting was written, for those that were.
    """

    host: str
    groups: tuple[str, ...]
    address: str
    settings: dict[str, Any]
    origins: dict[str, str]


@dataclass(frozen=True)
class InventoryView(Answer):
    """An environment.

    Args:
        groups: their hosts, by name.
        hosts: the application's.
        not_read: what an untrusted inventory names and was left alone, as sentences.
    """

    schema: ClassVar[str] = "slipway.inventory/1"
    groups: dict[str, list[str]]
    hosts: tuple[HostView, ...]
    not_read: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON document, in which hosts share what is the same: nothing is copied, a fleet may be large."""
        return {
            "environment": self.environment,
            "groups": self.groups,
            "hosts": [vars(host) for host in self.hosts],
            "not_read": self.not_read,
            "exit_status": int(self.exit_status),
        }


def show_inventory(env: Environment) -> InventoryView:
    """Show what an inventory comes to."""
    views = _Views(env)
    return InventoryView(
        environment=env.name,
        groups={name: list(group.hosts) for name, group in env.inventory.groups.items()},
        hosts=tuple(views.of(target) for target in env.targets),
        not_read=() if env.inventory.fence.trusts else not_read(env),
    )


class _Views:
    """Hosts to be shown. What they have in common is made once, and shared.

    Args:
        env: where they are.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._made: dict[tuple[object, ...], tuple[dict[str, Any], dict[str, str]]] = {}
        self._shown: dict[tuple[str, object], Any] = {}
        self._places: dict[int, str] = {}

    def of(self, target: Target) -> HostView:
        address = target.address
        settings, origins = self._settings(target)
        return HostView(
            host=target.name,
            groups=self._env.inventory.host(target.name).groups,
            address=f"{address.user or ''}@{address.hostname}:{address.port or 22}".removeprefix("@"),
            settings=settings,
            origins=origins,
        )

    def _settings(self, target: Target) -> tuple[dict[str, Any], dict[str, str]]:
        """Every setting, and where it was written."""
        inventory = self._env.inventory
        variables = inventory.resolved_vars(target.name)
        written = inventory.layer(target.name).origins
        keys = [key for key in type(target.settings).model_fields if PREFIX + key in written]
        secret = tuple(key for key in keys if variables.is_secret(PREFIX + key))
        # Both the settings and where they were written live as long as this, so an id stands for one of them.
        same = (id(target.settings), secret, *(id(written[PREFIX + key]) for key in keys))
        if same not in self._made:
            settings = {key: self._show(target.settings, key, value) for key, value in target.settings}
            settings.update(dict.fromkeys(secret, MASK))
            self._made[same] = (settings, {key: self._place(written[PREFIX + key]) for key in keys})
        return self._made[same]

    def _show(self, settings: Settings, key: str, value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
        same = (key, _identity(value))
        if same not in self._shown:
            self._shown[same] = settings.model_dump(mode="json", include={key})[key]
        return self._shown[same]

    def _place(self, origin: Origin) -> str:
        if id(origin) not in self._places:
            self._places[id(origin)] = str(origin)
        return self._places[id(origin)]


def _identity(value: object) -> object:
    """What two values share only if they are shown alike. The environment keeps them, so their ids stay their own."""
    if isinstance(value, dict):
        return tuple((key, _identity(one)) for key, one in value.items())
    if isinstance(value, list):
        return tuple(_identity(one) for one in value)
    return id(value) if isinstance(value, BaseModel) else (type(value), value)
