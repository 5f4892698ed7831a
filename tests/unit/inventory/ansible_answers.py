"""Asks ansible-core what it makes of inventories. Run as a program: reads questions, prints answers, both JSON.

One process answers for all cases, as importing ansible-core costs more than every answer together.
"""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime
from typing import Any


def normal(value: Any) -> Any:
    """A value as JSON can hold it, with its type still to be told. The tests use it for both sides."""
    if isinstance(value, dict):
        return {"dict": [[normal(key), normal(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [normal(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(map(str, value))}
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, date):
        return {"datetime" if isinstance(value, datetime) else "date": value.isoformat()}
    if isinstance(value, float):
        return {"float": repr(float(value))}
    if isinstance(value, (str, int)) or value is None:
        return (
            value if value is None or isinstance(value, bool) else str(value) if isinstance(value, str) else int(value)
        )
    raise TypeError(f"{type(value)} is not expected in an inventory")


def _raw(value: Any) -> Any:
    """Ansible's values without their tags; encrypted ones as their ciphertext."""
    from ansible.parsing.vault import EncryptedString

    if isinstance(value, EncryptedString):
        return {"__vault__": "".join(value._ciphertext.split())}
    if isinstance(value, dict):
        return {_raw(key): _raw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_raw(item) for item in value]
    return value


def _order_is_defined(group: Any) -> bool:
    """Whether Ansible lists a group's hosts in one order: below the first level it walks sets of groups."""
    level = list(group.child_groups)
    while level:
        below: list[Any] = []
        for child in level:
            below += [grandchild for grandchild in child.child_groups if grandchild not in below]
        if sum(1 for child in level if child.child_groups) > 1:
            return False
        level = below
    return True


def _secrets(questions: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    from ansible.parsing.vault import VaultSecret

    return [(label, VaultSecret(secret.encode())) for question in questions for label, secret in question["passwords"]]


def answer(question: dict[str, Any]) -> dict[str, Any]:
    from ansible import constants as C
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    os.chdir(question["playbook_dir"])
    loader = DataLoader()
    loader.set_basedir(question["playbook_dir"])
    loader.set_vault_secrets(_secrets([question]))
    inventory = InventoryManager(loader, sources=[question["source"]])
    manager = VariableManager(loader, inventory)
    HostVars(inventory, manager, loader)
    hosts = {}
    for name, host in inventory.hosts.items():
        raw = manager.get_vars(host=host, include_hostvars=False, stage="all")
        shown = {key: value for key, value in raw.items() if key not in C.INTERNAL_STATIC_VARS}
        hosts[name] = {
            "vars": normal(_raw(shown)),
            "group_names": raw["group_names"],
            "short": raw["inventory_hostname_short"],
            "dir": raw["inventory_dir"],
            "file": raw["inventory_file"],
            "resolved": _resolved(manager, loader, host, shown) if question["resolve"] else {},
        }
    return {
        "hosts": hosts,
        "groups": {
            name: {
                "hosts": [host.name for host in group.get_hosts()],
                "direct": [host.name for host in group.hosts],
                "children": [child.name for child in group.child_groups],
                "depth": group.depth,
                "priority": group.priority,
                "ordered": _order_is_defined(group),
            }
            for name, group in inventory.groups.items()
        },
        "patterns": {pattern: _pattern(inventory, pattern) for pattern in question["patterns"]},
        "limits": {pattern: _limit(inventory, pattern) for pattern in question["patterns"]},
    }


def _resolved(manager: Any, loader: Any, host: Any, shown: dict[str, Any]) -> dict[str, Any]:
    from ansible.errors import AnsibleError
    from ansible.template import Templar
    from ansible.utils.vars import transform_to_native_types

    variables = manager.get_vars(host=host)
    variables["hostvars"] = manager._hostvars
    templar = Templar(loader, variables=variables)
    found: dict[str, Any] = {}
    for key, value in shown.items():
        try:
            found[str(key)] = {"value": normal(transform_to_native_types(templar.template(value), redact=False))}
        except AnsibleError as error:
            found[str(key)] = {"error": str(error)}
    return found


def _pattern(inventory: Any, pattern: str) -> list[str] | None:
    from ansible.errors import AnsibleError

    try:
        return [host.name for host in inventory.get_hosts(pattern)]
    except AnsibleError:
        return None


def _limit(inventory: Any, pattern: str) -> list[str] | None:
    from ansible.errors import AnsibleError

    try:
        inventory.subset(pattern)
        return [host.name for host in inventory.get_hosts("all")]
    except AnsibleError:
        return None
    finally:
        inventory.subset(None)


def main() -> None:
    """Read a list of questions, print the list of answers."""
    questions = json.load(sys.stdin)
    answers_to = os.dup(1)
    os.dup2(2, 1)  # Ansible's warnings go to standard output
    from ansible.parsing.vault import VaultSecretsContext
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([])
    VaultSecretsContext.initialize(VaultSecretsContext(_secrets(questions)))
    answers = [answer(question) for question in questions]
    with os.fdopen(answers_to, "w") as stream:
        json.dump(answers, stream)


if __name__ == "__main__":
    main()
