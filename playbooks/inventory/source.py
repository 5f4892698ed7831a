"""Find the files of an inventory, and those among them that are not YAML inventories."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from playbooks.core.errors import ConfigError, UsageError
from playbooks.core.surroundings import here, own_path
from playbooks.inventory.document import Origin, parse, read_text
from playbooks.inventory.fence import FLAG, Fence
from playbooks.inventory.groups import Draft, read_groups
from playbooks.inventory.vault import Vault, VaultError, is_encrypted

# What Ansible leaves out of a folder: INVENTORY_IGNORE_EXTS and IGNORED_ALWAYS of ansible-core 2.19.
_LEFT_OUT = re.compile(
    r"^\.|^(?:host_vars|group_vars|vars_plugins)$|(?:\.pyc|\.pyo|\.swp|\.bak|~|\.rpm|\.md|\.txt|\.rst|\.orig|\.cfg|\.retry)$"
)
_YAML = ("", ".yml", ".yaml", ".json")
# Rendered for hosts, though one may begin with [Service]; and a password alone in a file is what INI takes for a host.
_NO_INVENTORIES = ("templates", "secrets")
# Nobody means a list of hosts that counts, even where Ansible's INI reader takes every line for one.
_NOT_IN_USE = frozenset(
    [
        *(".csv", ".dist", ".example", ".j2", ".jinja", ".jinja2", ".log", ".pem", ".pub", ".sample", ".sql"),
        *(".template", ".tf", ".tmpl", ".tpl", ".tsv"),
    ]
)
_MAX_FOLDERS = 20

_SECTION = re.compile(
    r"^[ \t]*(?:hosts|children|vars)[ \t]*:", re.MULTILINE
)  # with these a broken file was meant as an inventory
_INI_SECTION = re.compile(r"\[[^:\]\s]+(?::(?:vars|children|hosts))?\](?:\s*#.*)?$")


def find_source(env: str, project_root: Path) -> Path:
    """Find the inventory folder or file that `--env` names.

    Raises:
        UsageError: it does not exist; the message lists the existing ones.
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
    except OSError:  # the name is too long, or a folder is not accessible
        return False


def environments(project_root: Path) -> list[str]:
    """Return the names below inventory/, except ``shared``, to which environments link, and secrets and templates."""
    none = ("shared", *_NO_INVENTORIES)
    folder = project_root / "inventory"
    if not folder.is_dir():
        return []
    entries = [entry for entry in folder.iterdir() if not _LEFT_OUT.search(entry.name) and entry.name not in none]
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
    """Return every file that Ansible would read as an inventory, in its order.

    Raises:
        ConfigError: a folder cannot be read, contains itself or is outside of the fence.
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
        if _LEFT_OUT.search(name) or name in _NO_INVENTORIES:
            continue
        path = folder / name
        fence.check(path)
        if path.is_dir():
            yield from _walk(path, depth - 1, fence)
        else:
            yield path


def read_inventory_file(draft: Draft, file: Path, vault: Vault, fence: Fence, *, source: Path) -> None:
    """Add a file to the draft; its mistakes are added to the draft's problems.

    Args:
        draft: everything read so far.
        file: the file.
        vault: decrypts the file, if it is encrypted.
        fence: the files that may be read.
        source: the path of --env: the file itself, or a folder that has it. A folder may have files that are no
            inventory, which are skipped with a warning.
    """
    try:
        data = _load(draft, file, vault, fence, source)
    except _NoInventory as error:
        draft.warnings.append(f"{Origin(file)} {error}, so no inventory, and is left out; move it away.")
        return
    except ConfigError as error:
        draft.problems += error.problems
        return
    if data is not None:
        read_groups(draft, data, file)


class _NoInventory(Exception):
    """The file is no inventory, and Ansible does not read it either; the message says what it is."""


def _load(draft: Draft, file: Path, vault: Vault, fence: Fence, source: Path) -> Mapping[Any, Any] | None:
    text = _text(file, named=file == source)
    if is_encrypted(text) and not fence.trusts:
        raise ConfigError([f"{Origin(file)} is encrypted; {FLAG} does not open it, so its hosts are unknown."])
    text = _decrypted(text, file, vault)
    if text.startswith("#!") and os.access(file, os.X_OK):
        raise ConfigError([_convert(file, "is a script", source, together=True)])
    if file.suffix == ".toml":
        raise ConfigError([_convert(file, "is TOML", source)])
    if file.suffix not in _YAML:
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format", source)])
        if file == source:
            raise ConfigError([f"{Origin(file)} cannot be an inventory: {_read_names(file)}."])
        raise _NoInventory(f"has a name that ends in {file.suffix}")
    return _mapping(draft, text, file, source)


def _text(file: Path, *, named: bool) -> str:
    if not named and file.suffix not in _YAML and (file.suffix in _NOT_IN_USE or not file.is_file()):
        raise _NoInventory(f"has a name that ends in {file.suffix}")
    if not file.is_file():
        raise ConfigError([f"{Origin(file)} is {'no plain file' if file.exists() else 'a broken symlink'}."])
    try:
        return read_text(file)
    except ConfigError:
        if named or not _may_be_something_else(file):
            raise
        raise _NoInventory("cannot be read as text") from None


def _read_names(file: Path) -> str:
    return (
        f"its name ends in {file.suffix}, and Ansible and Slipway read those without an ending or with .yml, .yaml or "
        f".json; call it {file.with_suffix('.yml').name}"
    )


def _may_be_something_else(file: Path) -> bool:
    """Return whether a file in an inventory's folder may be something else by its name, such as LICENSE."""
    return file.suffix not in (".yml", ".yaml", ".json") and not file.name.lower().startswith(("hosts", "inventory"))


def _mapping(draft: Draft, text: str, file: Path, source: Path) -> Mapping[Any, Any] | None:
    elsewhere = file != source and _may_be_something_else(file)
    warnings: list[str] = []
    try:
        data = parse(text, file, draft.lines, warnings)
    except ConfigError:
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format", source)]) from None
        if elsewhere and not _SECTION.search(text):
            raise _NoInventory("is not YAML") from None
        raise
    if data is None or data == {}:
        return None
    if not isinstance(data, Mapping):
        if is_ini(text, file):
            raise ConfigError([_convert(file, "is in INI format", source)])
        if elsewhere:
            raise _NoInventory("holds no groups")
        if file != source and isinstance(data, list) and all(isinstance(item, Mapping) for item in data):
            raise _NoInventory("is a list, as playbooks are")
        raise ConfigError(
            [f"{Origin(file)} holds a {type(data).__name__}; expected groups, as in 'web: {{hosts: {{web1: }}}}'."]
        )
    draft.warnings += warnings
    if plugin := data.get("plugin"):
        where = draft.lines.of(data, "plugin") or Origin(file)
        what = f"is a configuration for Ansible's inventory plugin {plugin!r}"
        raise ConfigError([_convert(where, what, source, together=True)])
    return data


def _decrypted(text: str, file: Path, vault: Vault) -> str:
    if not is_encrypted(text):
        return text
    try:
        return vault.decrypt(text)
    except VaultError as error:
        raise ConfigError([f"{Origin(file)}: {error}."]) from None


def _convert(file: Path | Origin, what: str, source: Path, *, together: bool = False) -> str:
    """Return the sentence about a file that Ansible reads and Slipway does not.

    Args:
        file: the file.
        what: the kind of file.
        source: the whole inventory.
        together: whether it needs the inventory's other files, as "constructed" does.
    """
    origin = file if isinstance(file, Origin) else Origin(file)
    folder = source if source.is_dir() else source.parent
    asked = Origin(folder if together else origin.file)
    made = Origin(_free(origin.file))
    command = f"ansible-inventory -i {shlex.quote(str(asked))} --list --yaml --export > {shlex.quote(str(made))}"
    return f"{origin} {what}, which is not read here; move it away, or convert it and move it away then: {command}"


def _free(file: Path) -> Path:
    """Return an unused name beside a file, because a shell's redirection empties an existing file."""
    names = (file.with_name(f"{file.stem}{number}.yml") for number in ("", "-converted", *range(2, 100)))
    return next((name for name in names if not os.path.lexists(name)), file.with_name(f"{file.stem}-new.yml"))


def is_ini(text: str, file: Path) -> bool:
    """Return whether Ansible's INI reader would accept a text: sections, and hosts with `key=value` pairs.

    A file named as YAML or JSON counts only with a section or a pair; else it is broken YAML. The same holds for one
    with a name such as VERSION, which may hold a single word.
    """
    sure = file.suffix not in (".yml", ".yaml", ".json") and not (file.name[:1].isupper() and not file.suffix)
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
        and "=" not in words[0]
        and all("=" in word for word in words[1:])
    )
