"""Load an inventory: read every file, and then work out the groups."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from playbooks.core.errors import ConfigError
from playbooks.inventory.ansible_cfg import merges_mappings
from playbooks.inventory.document import Lines
from playbooks.inventory.fence import NOT_READ, TRUSTED, Fence
from playbooks.inventory.groups import Draft, GroupDraft
from playbooks.inventory.model import Group, Host, Inventory
from playbooks.inventory.source import find_source, inventory_files, read_inventory_file
from playbooks.inventory.vars_files import VarsFiles
from playbooks.inventory.vault import Vault


def load_inventory(
    env: str, project_root: Path, *, environ: Mapping[str, str] | None = None, fence: Fence = TRUSTED
) -> Inventory:
    """Load an Ansible YAML inventory.

    Args:
        env: a name under `<project_root>/inventory/`, or the path of an inventory folder or file.
        project_root: the project's folder, Ansible's playbook_dir: group_vars/ and host_vars/ there count too.
        environ: the variables for the vault's password and hash_behaviour; os.environ if None.
        fence: the files that may be read.

    Raises:
        UsageError: the environment does not exist.
        ConfigError: the inventory is wrong; the message has all mistakes.
    """
    source = find_source(env, project_root)
    environ = os.environ if environ is None else environ
    vault = Vault(environ, None if fence.trusts else NOT_READ)
    warnings: list[str] = []
    draft = Draft(Lines(), warnings, merges=fence.trusts and merges_mappings(environ, warnings))
    for file in inventory_files(source, fence):
        read_inventory_file(draft, file, vault, fence, source=source)
    vars_files = VarsFiles(draft.lines, warnings, vault, fence)
    base_folders = dict.fromkeys((source if source.is_dir() else source.parent, project_root.absolute()))
    problems = draft.problems
    for base in base_folders:
        problems += vars_files.read(base / "group_vars", list(draft.groups))
        problems += vars_files.read(base / "host_vars", list(draft.hosts))
    if problems:
        raise ConfigError(problems)
    _adopt_orphans(draft)
    _sort_out_ungrouped(draft)
    for name in draft.groups.keys() & draft.hosts.keys():
        warnings.append(
            f"{name!r} is both a group and a host; variables written at the host go to the group, as in Ansible."
        )
    return Inventory(
        source,
        tuple(base_folders),
        project_root.absolute(),
        _hosts(draft),
        _groups(draft),
        warnings,
        draft.lines,
        vars_files,
        draft.merges,
    )


def _parents(draft: Draft) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {name: [] for name in draft.groups}
    for group in draft.groups.values():
        for child in group.children:
            parents[child].append(group.name)
    return parents


def _adopt_orphans(draft: Draft) -> None:
    """Make every group without a parent a child of "all".

    Raises:
        ConfigError: "all" or "ungrouped" is inside another group.
    """
    parents = _parents(draft)
    if odd := [name for name in parents["ungrouped"] if name != "all"]:
        # Ansible takes such hosts out of every group, so that they are there and no pattern finds them
        raise ConfigError(
            [f"The group {odd[0]!r} has 'ungrouped' as its child; hosts that have a group cannot be ungrouped."]
        )
    if above := parents["all"]:
        raise ConfigError(
            [f"The group {above[0]!r} has 'all' as its child; 'all' holds every group and can be in none."]
        )
    for name in draft.groups:
        if name != "all" and not parents[name]:
            draft.groups["all"].children[name] = None


def _sort_out_ungrouped(draft: Draft) -> None:
    """Put a host into "ungrouped" exactly if it is in no other group than "all"."""
    ungrouped = draft.groups["ungrouped"].hosts
    grouped: set[str] = set()
    for group in draft.groups.values():
        if group.name not in ("all", "ungrouped"):
            grouped.update(group.hosts)
    for name in draft.hosts:
        if name in grouped:
            ungrouped.pop(name, None)
        else:
            ungrouped[name] = None


def _topological(draft: Draft) -> list[str]:
    """Return the names of all groups, parents before children."""
    waiting = {name: len(above) for name, above in _parents(draft).items()}
    order = [name for name, count in waiting.items() if count == 0]
    for name in order:
        for child in draft.groups[name].children:
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    return order


def _hosts(draft: Draft) -> dict[str, Host]:
    parents = _parents(draft)
    above: dict[str, set[str]] = {}
    for name in _topological(draft):
        above[name] = {name}.union(*(above[parent] for parent in parents[name]))
    members: dict[str, set[str]] = {name: set() for name in draft.hosts}
    for group in draft.groups.values():
        for name in group.hosts:
            members[name] |= above[group.name]
    return {
        host.name: Host(host.name, tuple(sorted(members[host.name] - {"all"})), host.file, host.layer)
        for host in draft.hosts.values()
    }


def _groups(draft: Draft) -> dict[str, Group]:
    depths = dict.fromkeys(draft.groups, 0)
    for name in _topological(draft):
        for child in draft.groups[name].children:
            depths[child] = max(depths[child], depths[name] + 1)
    return {name: _group(draft, group, depths[name]) for name, group in draft.groups.items()}


def _group(draft: Draft, group: GroupDraft, depth: int) -> Group:
    hosts = dict.fromkeys(host for member in _downwards(draft, group.name) for host in draft.groups[member].hosts)
    return Group(
        group.name, depth, group.priority, tuple(group.children), tuple(group.hosts), tuple(hosts), group.layer
    )


def _downwards(draft: Draft, top: str) -> Iterator[str]:
    """Return a group and all groups in it, level by level, as Ansible orders hosts.

    Below the second level Ansible's order changes from run to run; this is the order of the files.
    """
    seen = dict.fromkeys([top])
    level = [top]
    while level:
        yield from level
        below = dict.fromkeys(child for name in level for child in draft.groups[name].children)
        level = [name for name in below if name not in seen]
        seen.update(below)
