"""Which files an inventory consists of, and which of them are not YAML inventories at all."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from playbooks.errors import ConfigError, UsageError
from playbooks.fleet.inventory.document import Origin, parse, read_text
from playbooks.fleet.inventory.fence import FLAG, Fence
from playbooks.fleet.inventory.groups import Draft, read_groups
from playbooks.fleet.inventory.vault import Vault, VaultError, is_encrypted
from playbooks.surroundings import here, own_path

# What Ansible leaves out of a folder: INVENTORY_IGNORE_EXTS and IGNORED_ALWAYS of ansible-core 2.19.
_LEFT_OUT = re.compile(
    r"^\.|^(?:host_vars|group_vars|vars_plugins)$|(?:\.pyc|\.pyo|\.swp|\.bak|~|\.rpm|\.md|\.txt|\.rst|\.orig|\.cfg|\.retry)$"
)
_YAML = ("", ".yml", ".yaml", ".json")
_MAX_FOLDERS = 20

_INI_SECTION = re.compile(r"\[[^:\]\s]+(?::(?:vars|children|hosts))?\](?:\s*#.*)?$")


def find_source(env: str, project_root: Path) -> Path:
    """The inventory folder or file that `--env` names.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    if not env or "\0" in env:
        raise UsageError("--env is empty.", hint=_known(project_root))
    path = Path(os.path.normpath(own_path(env) if own_path(env).is_absolute() else here() / own_path(env)))
    is_path = "/" in env or env in (".", "..")
    if not is_path:
        for named in (project_root / "inventory" / (env + extension) for extension in ("", ".yml", ".yaml")):
            if _exists(named):
                return named.absolute()
    if (is_path or path.suffix) and _exists(path):
        return path
    names = environments(project_root)
    near = get_close_matches(env, names, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else f" To mean the folder, write ./{env}" if _exists(path) else ""
    raise UsageError(f"There is no environment {env!r}.{meant}", hint=_known(project_root))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def environments(project_root: Path) -> list[str]:
    """The names below inventory/; ``shared`` is none: it has what environments link to."""
    folder = project_root / "inventory"
    if not folder.is_dir():
        return []
    entries = [entry for entry in folder.iterdir() if not _LEFT_OUT.search(entry.name) and entry.name != "shared"]
    return sorted(
        {entry.stem if entry.suffix in (".yml", ".yaml") else entry.name for entry in entries if _is_source(entry)}
    )


def _is_source(entry: Path) -> bool:
    return entry.is_dir() or entry.suffix in (".yml", ".yaml")


def _known(project_root: Path) -> str:
    names = environments(project_root)
    if not names:
        return f"{project_root / 'inventory'} holds no environment yet; --env also takes the path of an inventory"
    return f"environments: {', '.join(names)}; --env also takes the path of an inventory"


def inventory_files(source: Path, fence: Fence) -> Iterator[Path]:
    """Every file that Ansible would read as an inventory, in its order.

    Raises:
        ConfigError: a folder cannot be read, holds itself or is outside of the fence.
    """
    fence.check(source)
    return _walk(source, _MAX_FOLDERS, fence) if source.is_dir() else iter([source])


def _walk(folder: Path, depth: int, fence: Fence) -> Iterator[Path]:
    if depth == 0:
        raise ConfigError(
            [f"{Origin(folder)} is more than {_MAX_FOLDERS} folders deep; does a symlink lead back into it?"]
        )
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  names are needed, not paths
    except OSError as error:
        raise ConfigError([f"{Origin(folder)} cannot be read: {error.strerror or error}."]) from None
    for name in names:
        if _LEFT_OUT.search(name):
            continue
        path = folder / name
        fence.check(path)
        if path.is_dir():
            yield from _walk(path, depth - 1, fence)
        else:
            yield path


def read_inventory_file(draft: Draft, file: Path, vault: Vault, fence: Fence) -> None:
    """Add one file to the draft; what is wrong with it is added to the draft's problems."""
    try:
        data = _load(draft, file, vault, fence)
    except ConfigError as error:
        draft.problems += error.problems
        return
    if data is not None:
        read_groups(draft, data, file)


def _load(draft: Draft, file: Path, vault: Vault, fence: Fence) -> Mapping[Any, Any] | None:
    if not file.is_file():
        raise ConfigError([f"{Origin(file)} is {'no plain file' if file.exists() else 'a broken symlink'}."])
    text = read_text(file)
    if is_encrypted(text) and not fence.trusts:
        raise ConfigError([f"{Origin(file)} is encrypted; {FLAG} does not open it, so its hosts are unknown."])
    text = _decrypted(text, file, vault)
    if text.startswith("#!") and os.access(file, os.X_OK):
        raise ConfigError([_convert(file, "is a script")])
    if file.suffix == ".toml":
        raise ConfigError([_convert(file, "is TOML")])
    if file.suffix not in _YAML:
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format")])
        draft.warnings.append(f"{Origin(file)} is no inventory and is left out; Ansible cannot read it either.")
        return None
    return _mapping(draft, text, file)


def _mapping(draft: Draft, text: str, file: Path) -> Mapping[Any, Any] | None:
    try:
        data = parse(text, file, draft.lines, draft.warnings)
    except ConfigError:
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format")]) from None
        raise
    if data is None or data == {}:
        return None
    if not isinstance(data, Mapping):
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format")])
        raise ConfigError(
            [f"{Origin(file)} holds a {type(data).__name__}; expected groups, as in 'web: {{hosts: {{web1: }}}}'."]
        )
    if plugin := data.get("plugin"):
        where = draft.lines.of(data, "plugin") or Origin(file)
        raise ConfigError([_convert(where, f"is a configuration for Ansible's inventory plugin {plugin!r}")])
    return data


def _decrypted(text: str, file: Path, vault: Vault) -> str:
    if not is_encrypted(text):
        return text
    try:
        return vault.decrypt(text)
    except VaultError as error:
        raise ConfigError([f"{Origin(file)}: {error}."]) from None


def _convert(file: Path | Origin, what: str) -> str:
    origin = file if isinstance(file, Origin) else Origin(file)
    command = f"ansible-inventory -i {shlex.quote(str(origin.file))} --list --yaml --export > hosts.yml"
    return f"{origin} {what}, which is not read here; convert it: {command}"


def is_ini(text: str, file: Path) -> bool:
    """Whether Ansible's INI reader would take a text: sections, and lines of a host with `key=value` pairs.

    A file that is called YAML or JSON needs a section or a pair to count; without them it is broken YAML.
    """
    sure = file.suffix not in (".yml", ".yaml", ".json")
    found = in_vars = False
    for line in (raw.strip() for raw in text.splitlines()):
        if not line or line[0] in "#;":
            continue
        found = True
        if _INI_SECTION.match(line):
            sure, in_vars = True, ":vars]" in line
        elif "=" in line and (in_vars or _is_ini_host(line)):
            sure = True
        elif in_vars or not _is_ini_host(line):
            return False
    return found and sure


def _is_ini_host(line: str) -> bool:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return False
    return (
        bool(words)
        and words[0][0:1] not in ("-", "[", "{", "")
        and words[0][-1] != ":"
        and all("=" in word for word in words[1:])
    )
