"""Hosts, groups and variables as the inventory has them, with or without settings of Slipway. Reaches no host.

Its documents are those of `ansible-inventory --list` and `--host`, so what reads these reads ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from playbooks.adapters.secrets.masking import MASK
from playbooks.inventory import Inventory, VaultValue, limit
from playbooks.inventory.document import UnsafeText

# They are written in plain text at times; a person who looks at variables does not look for them.
_PASSWORDS = frozenset(
    [
        *("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        *("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
    ]
)


@dataclass(frozen=True)
class Variables:
    """What an inventory holds.

    Args:
        groups: the hosts of each, by name; in inventory order, and their children's too.
        hosts: each host's variables as they are written: templates are not filled in, secrets are struck out.
        origins: where each was written.
        document: what ``--json`` prints.
        missing: what is to be written where before Slipway can deploy; "" where nothing is missing.
        full: whether variables are to be shown.
    """

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Mapping[str, Any]]
    origins: Mapping[str, Mapping[str, str]]
    document: Mapping[str, Any]
    missing: str = ""
    full: bool = True


def show_variables(
    inventory: Inventory, *, pattern: str | None = None, missing: str = "", full: bool = True
) -> Variables:
    """All hosts and groups.

    Args:
        inventory: them.
        pattern: narrows the hosts, as --limit.
        missing, full: see `Variables`.

    Raises:
        UsageError: the pattern matches nothing.
        ConfigError: an encrypted file cannot be opened.
    """
    names = list(inventory.hosts) if pattern is None else limit(inventory, pattern)
    hosts = {name: _variables(inventory, name) for name in names}
    chosen = set(names)
    document: dict[str, Any] = {
        "_meta": {"hostvars": {name: found for name, found in hosts.items() if found}, "profile": "inventory_legacy"}
    }
    for name, group in inventory.groups.items():
        # Hosts of "all" are in "ungrouped", or in a group of their own.
        own = [host for host in group.direct_hosts if host in chosen and name != "all"]
        parts = {"hosts": own, "children": list(group.children)}
        if shown := {key: part for key, part in parts.items() if part}:
            document[name] = shown
    return Variables(
        groups={name: [host for host in group.hosts if host in chosen] for name, group in inventory.groups.items()},
        hosts=hosts,
        origins=_origins(inventory, names) if full else {},
        document=document,
        missing=missing,
        full=full,
    )


def show_host(inventory: Inventory, name: str) -> Variables:
    """One host.

    Args:
        inventory: where it is.
        name: its name.

    Raises:
        UsageError: there is no such host.
        ConfigError: an encrypted file cannot be opened.
    """
    groups = {group: [name] for group in inventory.host(name).groups}
    found = _variables(inventory, name)
    return Variables(groups, {name: found}, _origins(inventory, [name]), found)


def _variables(inventory: Inventory, name: str) -> dict[str, Any]:
    encrypted = inventory.layer(name).encrypted
    return {
        key: MASK if key in encrypted or (key in _PASSWORDS and isinstance(value, str)) else _as_json(value)
        for key, value in inventory.vars_for(name).items()
    }


def _origins(inventory: Inventory, names: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: {key: inventory.origin(name, key) for key in inventory.vars_for(name)} for name in names}


def _as_json(value: object) -> Any:  # noqa: ANN401  a variable's value is anything
    """A value as ansible-inventory writes it."""
    if isinstance(value, VaultValue):
        return {"__ansible_vault": value.ciphertext}
    if isinstance(value, UnsafeText):
        return {"__ansible_unsafe": str(value)}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, set, frozenset)):
        return [_as_json(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
