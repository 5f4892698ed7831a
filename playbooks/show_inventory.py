"""Show hosts, groups and resolved settings as Slipway sees them. It reaches no host and fetches no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from playbooks.adapters.secrets.masking import MASK
from playbooks.core.answer import Answer
from playbooks.environments.environment import Environment
from playbooks.environments.not_read import not_read
from playbooks.environments.targets import Target
from playbooks.inventory.document import Origin
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX


@dataclass(frozen=True)
class HostView:
    """One host of the application.

    Args:
        groups: Ansible's group_names.
        address: user@host:port, as far as the inventory has it.
        settings: every setting with defaults; values that contain a secret are struck out.
        origins: where settings are written, for those that are.
    """

    host: str
    groups: tuple[str, ...]
    address: str
    settings: dict[str, Any]
    origins: dict[str, str]


@dataclass(frozen=True)
class InventoryView(Answer):
    """The view of an environment.

    Args:
        groups: the hosts of each group, by name.
        hosts: the application's hosts.
        not_read: what an untrusted inventory names and Slipway did not read, as sentences.
    """

    schema: ClassVar[str] = "slipway.inventory/1"
    groups: dict[str, list[str]]
    hosts: tuple[HostView, ...]
    not_read: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document, in which hosts share equal values without copies, because fleets may be large."""
        return {
            "environment": self.environment,
            "groups": self.groups,
            "hosts": [vars(host) for host in self.hosts],
            "not_read": self.not_read,
            "exit_status": int(self.exit_status),
        }


def show_inventory(env: Environment) -> InventoryView:
    """Show an inventory's resolved settings."""
    views = _Views(env)
    return InventoryView(
        environment=env.name,
        groups={name: list(group.hosts) for name, group in env.inventory.groups.items()},
        hosts=tuple(views.of(target) for target in env.targets),
        not_read=() if env.inventory.fence.trusts else not_read(env),
    )


class _Views:
    """Builds the views of hosts, and shares equal values between them.

    Args:
        env: the environment.
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
        """Return every setting, and where it is written."""
        inventory = self._env.inventory
        variables = inventory.resolved_vars(target.name)
        written = inventory.layer(target.name).origins
        keys = [key for key in type(target.settings).model_fields if PREFIX + key in written]
        secret = tuple(key for key in keys if variables.is_secret(PREFIX + key))
        # Settings and origins live as long as this object, so an id identifies one of them.
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
    """Return a key that is equal only for values shown alike. The environment keeps them, so ids are unique."""
    if isinstance(value, dict):
        return tuple((key, _identity(one)) for key, one in value.items())
    if isinstance(value, list):
        return tuple(_identity(one) for one in value)
    return id(value) if isinstance(value, BaseModel) else (type(value), value)
