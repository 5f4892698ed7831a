"""Read Ansible's connection variables: where a host is, and how to log in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from playbooks.core.errors import ConfigError
from playbooks.core.invisible import find_invisible
from playbooks.fleet.ssh_arguments import option, read_arguments

BUILT_IN = ("ansible.builtin.", "ansible.legacy.")


class NotBySsh(ConfigError):
    """The inventory names a connection that Slipway does not support, for example this machine or a network device."""

    code = "config.not-by-ssh"


@dataclass(frozen=True)
class Address:
    """How to reach one host, according to the inventory. ssh's own settings complete it (ssh_config.py).

    Args:
        name: its name in the inventory; every message uses it.
        hostname: what to connect to (``ansible_host``), which ~/.ssh/config may alias further.
        user, port, key_file: None leaves the choice to ssh's settings.
        password: the password for password logins (``ansible_password``).
        ssh_arguments: the arguments for ssh, as Ansible gives them, with user, port and key.
        become: whether root rights need sudo.
        become_password: the password that sudo may ask for.
        connect_timeout: seconds.
    """

    name: str
    hostname: str
    user: str | None = None
    port: int | None = None
    key_file: str | None = None
    password: str | None = None
    ssh_arguments: tuple[str, ...] = ()
    become: bool = True
    become_password: str | None = None
    connect_timeout: float = 10.0


_WAYS = {
    "ansible_connection": ("ssh", "paramiko", "paramiko_ssh", "smart"),
    "ansible_become_method": ("sudo",),
}
_HAS = {"ansible_connection": "reaches hosts by SSH only", "ansible_become_method": "becomes root by sudo only"}


def read_address(
    name: str,
    variables: Mapping[str, object],
    *,
    connect_timeout: float,
    at_home: bool = True,
    origin: Callable[[str], str] = lambda _: "",
    secret: Callable[[str], bool] = lambda _: False,
) -> Address:
    """Read a host's connection variables.

    Args:
        name: the host's inventory name.
        variables: the host's variables.
        connect_timeout: seconds.
        at_home: whether ~ in a path is expanded. Without a connection it is not, because it reads this machine's users.
        origin: returns where a variable was written.
        secret: returns whether a variable's value must not be shown.

    Raises:
        NotBySsh: the host needs a connection or a become method that Slipway does not support.
        ConfigError: a variable cannot be used; the message names all such variables.
    """
    problems: list[str] = []

    def text(*keys: str) -> str | None:
        value = next((variables[key] for key in keys if variables.get(key) not in (None, "")), None)
        try:
            return None if value is None else str(value)
        except (ValueError, RecursionError):  # a number of thousands of digits
            problems.append(f"{name}: {' or '.join(keys)} cannot be read as text")
            return None

    # A host's name becomes a folder's name (restore, {host} in a repository) and a line of output.
    if "/" in name or find_invisible(name) or name in (".", ".."):
        problems.append(
            f"the host name {name!a} holds a slash or a character that is not seen, or cannot name a folder"
        )
    foreign = []
    for key, usable in _WAYS.items():
        way = text(key)
        if way is not None and _short(way) not in usable:
            found = "a secret" if secret(key) else f"{way[:60]!a}"
            where = origin(key)
            told = f"{key} of {name} is {found}; Slipway {_HAS[key]}, so expected {usable[0]}"
            foreign.append(f"{where}: {told}" if where else told)
    port = text("ansible_port", "ansible_ssh_port")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        problems.append(f"{name}: ansible_port is no number from 1 to 65535")
    key_file = text("ansible_ssh_private_key_file", "ansible_private_key_file")
    user = text("ansible_user", "ansible_ssh_user")
    key_file = _at_home(key_file) if key_file and at_home else key_file
    arguments = _arguments(name, text, {"Port": port, "IdentityFile": key_file, "User": user}, problems)
    hostname = text("ansible_host", "ansible_ssh_host") or name
    password = text("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
    become_password = text("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    if foreign:
        raise NotBySsh(foreign + problems)
    if problems:
        raise ConfigError(problems)
    return Address(
        name=name,
        hostname=hostname,
        user=user,
        port=int(port) if port else None,
        key_file=key_file,
        password=password,
        ssh_arguments=arguments,
        become=user != "root",
        become_password=become_password,
        connect_timeout=connect_timeout,
    )


def _short(plugin: str) -> str:
    """Return a plugin's name without Ansible's own collection."""
    for collection in BUILT_IN:
        plugin = plugin.removeprefix(collection)
    return plugin


def _arguments(
    name: str, text: Callable[[str], str | None], stated: Mapping[str, str | None], problems: list[str]
) -> tuple[str, ...]:
    """Collect ssh's arguments in Ansible's order; ssh uses the first value of each setting."""
    arguments: dict[str, tuple[str, ...]] = {}
    for key in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
        try:
            arguments[key] = read_arguments(text(key) or "")
        except ValueError as error:
            problems.append(f"{name}: {key} cannot be given to ssh: {error}")
            return ()
    own = [word for setting, value in stated.items() if value is not None for word in option(setting, value)]
    first, *others = arguments.values()
    return (*first, *own, *(word for words in others for word in words))


def _at_home(path: str) -> str:
    """Expand ~ in a path. The home of an unknown user stays as it is, so the file is not found later."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises
