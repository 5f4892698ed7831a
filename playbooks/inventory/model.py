"""Define the inventory for the rest of Slipway: hosts, groups and each host's variables."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import AddressValueError, IPv6Address
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playbooks.core.errors import UsageError
from playbooks.inventory.document import Lines, Origin
from playbooks.inventory.fence import Fence
from playbooks.inventory.layers import Layer, merge
from playbooks.inventory.vars_files import VarsFiles

if TYPE_CHECKING:
    from playbooks.inventory.resolve import ResolvedVars, Resolver

# Names that Ansible sets itself; `ansible-inventory --list` leaves them out (ansible-core 2.19, INTERNAL_STATIC_VARS).
RESERVED = frozenset(
    [
        "ansible_async_path",
        "ansible_collection_name",
        "ansible_config_file",
        "ansible_dependent_role_names",
        "ansible_diff_mode",
        "ansible_facts",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_role_names",
        "ansible_playbook_python",
        "ansible_role_name",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "groups",
        "group_names",
        "hostvars",
        "playbook_dir",
        "play_hosts",
        "role_name",
        "role_names",
        "role_path",
        "role_uuid",
    ]
)
_PLACE = ("inventory_dir", "inventory_file")
_IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")


@dataclass(frozen=True)
class Host:
    """A host.

    Args:
        name: its inventory name.
        groups: the groups it is in, directly or through their parents, sorted, without "all" (Ansible's group_names).
        file: the inventory file that names it first.
        layer: the variables written at its entry in inventory files.
    """

    name: str
    groups: tuple[str, ...]
    file: Path
    layer: Layer = field(repr=False)


@dataclass(frozen=True)
class Group:
    """A group.

    Args:
        name: its name.
        depth: steps from "all", by the longest way; deeper groups cover shallower ones.
        priority: ansible_group_priority; among groups of one depth the higher covers the lower.
        children: the groups directly in it.
        direct_hosts: the hosts directly in it.
        hosts: all its hosts, including its children's, in Ansible's order.
        layer: the variables written at its entry in inventory files.
    """

    name: str
    depth: int
    priority: int
    children: tuple[str, ...]
    direct_hosts: tuple[str, ...]
    hosts: tuple[str, ...]
    layer: Layer = field(repr=False)


@dataclass(frozen=True)
class Inventory:
    """Hosts, groups and variables of one environment; nothing in it changes once it is loaded.

    Args:
        source: the folder or file it was read from.
        base_folders: the folders with group_vars/ and host_vars/; later ones cover earlier ones.
        playbook_dir: the folder in which Ansible would run.
        hosts: the hosts in Ansible's order.
        groups: the groups in Ansible's order, with "all" and "ungrouped".
        warnings: sentences about probable mistakes.
        merges: whether mappings with the same name are merged (Ansible's hash_behaviour).
        cover: changes a host's written variables; see `covered`.
    """

    source: Path
    base_folders: tuple[Path, ...]
    playbook_dir: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, Group]
    warnings: Sequence[str]
    lines: Lines = field(repr=False)
    vars_files: VarsFiles = field(repr=False)
    merges: bool = False
    cover: Callable[[Layer], Layer] | None = field(default=None, repr=False)
    _layers: dict[str, Layer] = field(default_factory=dict, repr=False, init=False)
    _shared: dict[tuple[str, ...], Layer] = field(default_factory=dict, repr=False, init=False)

    @property
    def fence(self) -> Fence:
        """Return which files may be read for it."""
        return self.vars_files.fence

    @property
    def folder(self) -> Path:
        """Return the folder of the inventory."""
        return self.source if self.source.is_dir() else self.source.parent

    def vars_for(self, host: str) -> dict[str, Any]:
        """Return a host's variables as `ansible-inventory --list` shows them: merged, not templated, not decrypted.

        Raises:
            UsageError: the host does not exist.
            ConfigError: a completely encrypted file cannot be decrypted.
        """
        return {key: value for key, value in self.layer(host).values.items() if key not in RESERVED}

    def layer(self, host: str) -> Layer:
        """Return a host's variables with their origins, by Ansible's precedence."""
        known = self.host(host)
        if host not in self._layers:
            own = [self._merge(layers) for layers in self._own_files(host)]
            layer = self._merge([self._group_layer(known.groups), known.layer, *own])
            self._layers[host] = layer if self.cover is None else self.cover(layer)
        return self._layers[host]

    @cached_property
    def _host_vars(self) -> tuple[Path, ...]:
        return tuple(base / "host_vars" for base in self.base_folders)

    def _own_files(self, host: str) -> list[list[Layer]]:
        """Return the variables in a host's own files, by folder."""
        found = (self.vars_files.layers(folder, host) for folder in self._host_vars)
        return [layers for layers in found if layers]

    def written(self, host: str, key: str) -> list[tuple[Origin, object]]:
        """Return every place that sets a host's variable, with its value there; the last one counts.

        Args:
            host: the host.
            key: the variable.
        """
        known = self.host(host)
        everyone, groups = self._in_order(known.groups)
        files = [("group_vars", group.name) for some in (everyone, groups) for group in some]
        layers = [
            *(group.layer for group in [*everyone, *groups]),
            *(
                one
                for where, name in files
                for base in self.base_folders
                for one in self.vars_files.layers(base / where, name)
            ),
            known.layer,
            *chain.from_iterable(self._own_files(host)),
        ]
        return [(layer.origins[key], layer.values[key]) for layer in layers if key in layer.values]

    def covered(self, cover: Callable[[Layer], Layer]) -> Inventory:
        """Return the inventory with changed variables on every host; templates see them too.

        Args:
            cover: changes a host's written variables; the same input must give the same result.
        """
        return replace(self, cover=cover)

    def replaced_mappings(self, host: str) -> list[str]:
        """Return a host's variables that are mappings in several places, whose value depends on hash_behaviour."""
        keys = [key for key, value in self.layer(host).values.items() if isinstance(value, Mapping)]
        return sorted(
            key for key in keys if sum(isinstance(value, Mapping) for _, value in self.written(host, key)) > 1
        )

    def host(self, name: str) -> Host:
        """Return a host by its name.

        Raises:
            UsageError: the host does not exist.
        """
        try:
            return self.hosts[name]
        except KeyError:
            raise UsageError(f"There is no host {name!r} in {Origin(self.source)}.") from None

    @cached_property
    def _members(self) -> dict[str, list[str]]:
        return {name: list(group.hosts) for name, group in self.groups.items()}

    def _group_layer(self, names: tuple[str, ...]) -> Layer:
        """Apply Ansible's VARIABLE_PRECEDENCE: inventory files, group_vars/all, the other groups' group_vars/."""
        if names not in self._shared:
            everyone, groups = self._in_order(names)
            from_files = [
                self._merge(
                    layer for group in some for layer in self.vars_files.layers(base / "group_vars", group.name)
                )
                for some in (everyone, groups)
                for base in self.base_folders
            ]
            written = self._merge(group.layer for group in groups)
            self._shared[names] = self._merge([everyone[0].layer, written, *from_files])
        return self._shared[names]

    def _in_order(self, names: tuple[str, ...]) -> tuple[list[Group], list[Group]]:
        """Return "all" and these groups in order; later ones cover earlier ones."""
        groups = [self.groups[name] for name in names]
        return [self.groups["all"]], sorted(groups, key=lambda group: (group.depth, group.priority, group.name))

    def _merge(self, layers: Iterable[Layer]) -> Layer:
        return merge(layers, self.lines if self.merges else None)

    def origin(self, host: str, key: str, *path: str | int) -> str:
        """Return where a value is written: `inventory/staging/group_vars/all.yml:12`; "" if there is no such variable.

        Args:
            host: the variable's host.
            key: the variable.
            path: the keys and indices inside it, as far as known.
        """
        layer = self.layer(host)
        origin = layer.origins.get(key)
        if origin is None:
            return ""
        value = layer.values[key]
        for step in path:
            origin = self.lines.of(value, step) or origin
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                break
        return str(origin)

    def own_place(self, host: str) -> dict[str, Any]:
        """Return inventory_dir and inventory_file from the host's own variables, which win, as in Ansible."""
        layers = chain([self.host(host).layer], *self._own_files(host))
        return {key: one.values[key] for one in layers for key in _PLACE if key in one.values}

    def magic_vars(self, host: str) -> dict[str, Any]:
        """Return the variables that Ansible sets itself, except `hostvars`, which resolved_vars() gives."""
        known = self.host(host)
        return {
            "inventory_hostname": host,
            "inventory_hostname_short": host if _is_ip(host) else host.split(".")[0],
            "inventory_file": str(known.file),
            "inventory_dir": str(known.file.parent),
            "playbook_dir": str(self.playbook_dir),
            "ansible_playbook_python": sys.executable,
            "group_names": list(known.groups),
            "groups": self._members,
        } | self.own_place(host)

    @cached_property
    def _resolver(self) -> Resolver:
        from playbooks.inventory.resolve import Resolver

        return Resolver(self)

    def resolved_vars(self, host: str) -> ResolvedVars:
        """Return a host's variables. Templates are resolved and vault values decrypted on access.

        Raises:
            UsageError: the host does not exist.
        """
        self.host(host)
        return self._resolver.vars_of(host)

    def render(self, host: str, template: str, file: Path, extra: Mapping[str, Any] | None = None) -> str:
        """Render a template file's text as Ansible's template module does, with the host's variables.

        Args:
            host: whose variables to use.
            template: the text.
            file: the template's file, for messages.
            extra: more variables, used as they are; they cover the host's.

        Raises:
            ConfigError: the template cannot be read, or uses an undefined name.
        """
        return self._resolver.render(host, template, file, extra or {})


def _is_ip(name: str) -> bool:
    if _IPV4.fullmatch(name):
        return True
    if ":" not in name:
        return False
    try:
        IPv6Address(name)
    except AddressValueError:
        return False
    return True
