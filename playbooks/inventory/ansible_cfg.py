"""Read hash_behaviour, the only setting of Ansible that changes the meaning of an inventory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import own_path
from playbooks.inventory.document import Origin, read_text

_VARIABLE = "ANSIBLE_HASH_BEHAVIOUR"
_SYSTEM = Path("/etc/ansible/ansible.cfg")


def merges_mappings(environ: Mapping[str, str], warnings: list[str]) -> bool:
    """Return whether mappings with the same name are merged (hash_behaviour = merge); else the last one replaces them.

    Args:
        environ: the environment variables.
        warnings: receives a sentence if an ansible.cfg is ignored, which Ansible ignores too.

    Raises:
        ConfigError: the setting is neither merge nor replace, or its file cannot be read.
    """
    if _VARIABLE in environ:
        return _is_merge(environ[_VARIABLE], _VARIABLE)
    for file in _places(environ, warnings):
        if file.exists() and os.access(file, os.R_OK):
            return _in_file(file)
    return False


def _places(environ: Mapping[str, str], warnings: list[str]) -> Iterator[Path]:
    """Return where Ansible looks for its settings; the first existing file counts, whatever its content."""
    if "ANSIBLE_CONFIG" in environ:
        named = own_path(os.path.expandvars(environ["ANSIBLE_CONFIG"]))
        yield named / "ansible.cfg" if named.is_dir() else named
    try:
        here = Path.cwd()
        public = bool(here.stat().st_mode & stat.S_IWOTH)
    except OSError:  # it was removed, or is not accessible
        pass
    else:
        local = here / "ansible.cfg"
        if not public:
            yield local
        elif local.exists():
            warnings.append(f"{Origin(local)} is left out, as in Ansible: everybody may write into its folder.")
    yield own_path("~/.ansible.cfg")
    yield _SYSTEM


def _in_file(file: Path) -> bool:
    import configparser

    text = read_text(file)
    if "hash_behaviour" not in text.lower():
        return False
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConfigError([f"{Origin(file)} cannot be read: {' '.join(str(error.message).split())}."]) from None
    value = parser.get("defaults", "hash_behaviour", fallback=None)
    return value is not None and _is_merge(_unquoted(value), f"{Origin(file)}: hash_behaviour")


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _is_merge(value: str, where: str) -> bool:
    if value not in ("merge", "replace"):
        raise ConfigError([f"{where} is {value[:40]!r}; expected merge or replace."])
    return value == "merge"
