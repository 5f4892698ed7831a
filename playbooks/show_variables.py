"""Show hosts, groups and variables of an inventory, even one without settings of Slipway. It reaches no host.

Its documents have the format of `ansible-inventory --list` and `--host`, so the same programs can read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from playbooks.adapters.secrets.masking import MASK
from playbooks.inventory import Inventory, VaultValue, limit
from playbooks.inventory.document import UnsafeText

# Inventories may have these in plain text, so they are not shown.
_PASSWORDS = frozenset(
    [
        *("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        *("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
    ]
)


@dataclass(frozen=True)
class Variables:
    """The variables of an inventory.

    Args:
        groups: the hosts of each group and its children, by name, in inventory order.
        hosts: each host's variables as written, with unrendered templates and secrets struck out.
        origins: where each variable is written.
        document: the document for ``--json``.
        missing: which settings to write where before Slipway can deploy; "" if none are missing.
        full: whether to show variables.
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
    """Show all hosts and groups.

    Args:
        inventory: the inventory.
        pattern: a host pattern, as for --limit.
        missing, full: see `Variables`.

    Raises:
        UsageError: the pattern matches no host.
        ConfigError: an encrypted file cannot be opened.
    """
    names = list(inventory.hosts) if pattern is None else limit(inventory, pattern)
    hosts = {name: _variables(inventory, name) for name in names}
    chosen = set(names)
    document: dict[str, Any] = {
        "_meta": {"hostvars": {name: found for name, found in hosts.items() if found}, "profile": "inventory_legacy"}
    }
    for name, group in inventory.groups.items():
        # Hosts of "all" are also in "ungrouped" or in another group.
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
    """Show one host.

    Args:
        inventory: the inventory.
        name: the host's name.

    Raises:
        UsageError: the host does not exist.
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
    """Convert a value as ansible-inventory does."""
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
