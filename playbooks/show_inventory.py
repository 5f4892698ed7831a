"""Hosts, groups and resolved settings as Slipway sees them. Reaches no host and fetches no secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playbooks.adapters.striking import MASK
from playbooks.answer import Answer
from playbooks.environment import Environment, Target
from playbooks.not_read import not_read
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

    groups: dict[str, list[str]]
    hosts: tuple[HostView, ...]
    not_read: tuple[str, ...] = ()


def show_inventory(env: Environment) -> InventoryView:
    """Show what an inventory comes to."""
    return InventoryView(
        environment=env.name,
        groups={name: list(group.hosts) for name, group in env.inventory.groups.items()},
        hosts=tuple(_host(env, target) for target in env.targets),
        not_read=() if env.inventory.fence.trusts else not_read(env),
    )


def _host(env: Environment, target: Target) -> HostView:
    address = target.address
    variables = env.inventory.resolved_vars(target.name)
    settings = target.settings.model_dump(mode="json")
    origins = {}
    for key in settings:
        origins[key] = env.inventory.origin(target.name, PREFIX + key)
        if origins[key] and variables.is_secret(PREFIX + key):
            settings[key] = MASK
    return HostView(
        host=target.name,
        groups=env.inventory.host(target.name).groups,
        address=f"{address.user or ''}@{address.hostname}:{address.port or 22}".removeprefix("@"),
        settings=settings,
        origins={key: origin for key, origin in origins.items() if origin},
    )
