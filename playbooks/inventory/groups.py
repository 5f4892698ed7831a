"""Collect hosts and groups from the inventory's files, in Ansible's YAML format."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playbooks.inventory.document import Lines, Origin
from playbooks.inventory.layers import Layer, note_layer
from playbooks.inventory.ranges import RangeError, expand

MAX_ALL_HOSTS = 50_000
SECTIONS = ("vars", "children", "hosts")


@dataclass
class GroupDraft:
    """A group that is being read."""

    name: str
    priority: int = 1
    layer: Layer = field(default_factory=Layer)
    hosts: dict[str, None] = field(default_factory=dict)  # an ordered set
    children: dict[str, None] = field(default_factory=dict)


@dataclass
class HostDraft:
    """A host that is being read."""

    name: str
    file: Path
    layer: Layer = field(default_factory=Layer)


@dataclass
class Draft:
    """Everything read so far. Problems and warnings are sentences; `merges` is as in Inventory."""

    lines: Lines
    warnings: list[str]
    problems: list[str] = field(default_factory=list)
    groups: dict[str, GroupDraft] = field(default_factory=dict)
    hosts: dict[str, HostDraft] = field(default_factory=dict)
    merges: bool = False

    @property
    def merging(self) -> Lines | None:
        """Return the argument for `merge`."""
        return self.lines if self.merges else None

    def __post_init__(self) -> None:
        self.group("all").children["ungrouped"] = None
        self.group("ungrouped")

    def group(self, name: str) -> GroupDraft:
        return self.groups.setdefault(name, GroupDraft(name))


def read_groups(draft: Draft, data: Mapping[Any, Any], file: Path) -> None:
    """Add a file's groups. Mistakes are added to the draft's problems, and reading continues."""
    for name, body in data.items():
        where = draft.lines.of(data, name) or Origin(file)
        if body is not None and not isinstance(body, Mapping):
            draft.warnings.append(f"{where}: {name!r} is no group, as it is {_kind(body)}; it is left out.")
            continue
        _read_group(draft, name, body, where, file)


def _read_group(draft: Draft, name: object, body: Mapping[Any, Any] | None, where: Origin, file: Path) -> bool:
    if not isinstance(name, str) or not name:
        draft.problems.append(f"{where}: {name!r} cannot be the name of a group; expected text, so put it in quotes.")
        return False
    group = draft.group(name)
    for key, section in (body or {}).items():
        place = draft.lines.of(body, key) or Origin(file)
        _read_section(draft, group, key, section, place, file)
    return True


def _read_section(draft: Draft, group: GroupDraft, key: object, section: object, where: Origin, file: Path) -> None:
    if key in SECTIONS and isinstance(section, str):
        section = {section: None}
    if section is None:
        return
    if key not in SECTIONS:
        near = difflib.get_close_matches(str(key), SECTIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; only vars, children and hosts are read"
        draft.warnings.append(f"{where}: {key!r} in group {group.name!r} is left out{hint}")
        return
    if not isinstance(section, Mapping):
        example = "web1:" if key == "hosts" else "web:" if key == "children" else "port: 80"
        expected = f"expected a mapping, each entry with a colon, as in '{example}'"
        draft.problems.append(f"{where}: {key} of group {group.name!r} is {_kind(section)}; {expected}.")
        return
    reader = {"vars": _read_vars, "children": _read_children, "hosts": _read_hosts}[key]
    reader(draft, group, section, file)


def _read_vars(draft: Draft, group: GroupDraft, section: Mapping[Any, Any], file: Path) -> None:
    for key, value in section.items():
        _set(draft, group.name, key, value, draft.lines.of(section, key) or Origin(file))


def _set(draft: Draft, entity: str, key: object, value: object, origin: Origin) -> None:
    """Set a variable of a group or host; if both have the name, Ansible gives it to the group."""
    if entity not in draft.groups:
        note_layer(draft.hosts[entity].layer, key, value, origin, draft.merging)
        return
    group = draft.groups[entity]
    if key != "ansible_group_priority":
        note_layer(group.layer, key, value, origin, draft.merging)
        return
    try:
        group.priority = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        draft.problems.append(f"{origin}: ansible_group_priority is {value!r}; expected a whole number.")


def _read_children(draft: Draft, group: GroupDraft, section: Mapping[Any, Any], file: Path) -> None:
    for name, body in section.items():
        where = draft.lines.of(section, name) or Origin(file)
        if body is not None and not isinstance(body, Mapping):
            draft.problems.append(
                f"{where}: the group {name!r} is {_kind(body)}; expected vars, children and hosts, or nothing."
            )
            continue
        if not _read_group(draft, name, body, where, file) or name in group.children:
            continue
        if path := _way_down(draft, name, group.name):
            loop = " → ".join([group.name, *path])
            draft.problems.append(
                f"{where}: the group {name!r} cannot be a child of {group.name!r}, it would hold itself: {loop}."
            )
            continue
        group.children[name] = None


def _way_down(draft: Draft, top: str, wanted: str) -> list[str]:
    """Return the path from a group down to another, both included; empty if there is none."""
    came_from: dict[str, str | None] = {top: None}
    waiting = [top]
    while waiting:
        name = waiting.pop()
        if name == wanted:
            path: list[str] = []
            at: str | None = name
            while at is not None:
                path.insert(0, at)
                at = came_from[at]
            return path
        for child in draft.groups[name].children:
            if child not in came_from:
                came_from[child] = name
                waiting.append(child)
    return []


def _read_hosts(draft: Draft, group: GroupDraft, section: Mapping[Any, Any], file: Path) -> None:
    for entry, variables in section.items():
        where = draft.lines.of(section, entry) or Origin(file)
        if not isinstance(entry, str) or not entry:
            draft.problems.append(
                f"{where}: {entry!r} cannot be the name of a host; expected text, so put it in quotes."
            )
            continue
        if variables and not isinstance(variables, Mapping):
            draft.problems.append(
                f"{where}: the variables of host {entry!r} are {_kind(variables)}; expected a mapping."
            )
            continue
        try:
            names, port = expand(entry)
        except RangeError as error:
            draft.problems.append(f"{where}: the host entry {entry!r} cannot be read: {error}.")
            continue
        if len(draft.hosts) + len(names) > MAX_ALL_HOSTS:
            draft.problems.append(f"{where}: the inventory has more than {MAX_ALL_HOSTS:,} hosts.")
            return
        if not names:
            draft.warnings.append(f"{where}: the range in {entry!r} holds no host, as it begins after its end.")
        for name in names:
            _add_host(draft, group, name, port, variables or {}, file, where)


def _add_host(
    draft: Draft,
    group: GroupDraft,
    name: str,
    port: int | None,
    variables: Mapping[Any, Any],
    file: Path,
    where: Origin,
) -> None:
    if name not in draft.hosts:
        host = draft.hosts[name] = HostDraft(name, file)
        if port:
            note_layer(host.layer, "ansible_port", port, where)
    group.hosts[name] = None
    for key, value in variables.items():
        _set(draft, name, key, value, draft.lines.of(variables, key) or where)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    return f"the value {value!r}" if isinstance(value, (str, int, float)) and len(repr(value)) < 40 else "a value"
