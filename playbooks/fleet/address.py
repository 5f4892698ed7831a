"""Where a host is and how to log in: Ansible's connection variables, read once."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from playbooks.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """How to reach one host.

    Args:
        name: its name in the inventory; every message uses it.
        hostname: what to connect to (``ansible_host``), which ~/.ssh/config may alias further.
        user, port, key_file: None leaves the choice to ~/.ssh/config and the defaults.
        password: for password logins (``ansible_password``).
        proxy_jump, proxy_command: as in ssh_config(5).
        known_hosts: files of host keys, instead of the user's own and the system's.
        become: whether sudo is needed to act.
        become_password: what sudo may ask for.
        connect_timeout: seconds.
    """

    name: str
    hostname: str
    user: str | None = None
    port: int | None = None
    key_file: str | None = None
    password: str | None = None
    proxy_jump: str | None = None
    proxy_command: str | None = None
    known_hosts: tuple[str, ...] = ()
    become: bool = True
    become_password: str | None = None
    connect_timeout: float = 10.0


def read_address(
    name: str, variables: Mapping[str, object], *, connect_timeout: float, at_home: bool = True
) -> Address:
    """Read a host's connection variables.

    Args:
        name: the host's.
        variables: the host's.
        connect_timeout: seconds.
        at_home: whether ~ in a path is filled in. It is not where nobody connects, and the machine is not to be asked.

    Raises:
        ConfigError: one of them cannot be used; every such problem is named, but no value: it may be out of a vault.
    """
    problems: list[str] = []

    def text(*keys: str) -> str | None:
        value = next((variables[key] for key in keys if variables.get(key) not in (None, "")), None)
        try:
            return None if value is None else str(value)
        except (ValueError, RecursionError):  # a number of thousands of digits
            problems.append(f"{name}: {' or '.join(keys)} cannot be read as text")
            return None

    # A host's name becomes the name of folders (restore, {host} in a repository), and stands alone on lines.
    if "/" in name or not name.isprintable() or name in (".", ".."):
        problems.append(f"the host name {name!r} holds a slash or a control character, or is no name for a folder")
    connection = text("ansible_connection")
    if connection not in (None, "ssh", "paramiko", "paramiko_ssh", "smart"):
        problems.append(f"{name}: ansible_connection is something else than ssh: Slipway reaches hosts by SSH only")
    method = text("ansible_become_method")
    if method not in (None, "sudo"):
        problems.append(f"{name}: ansible_become_method is something else than sudo")
    port = text("ansible_port", "ansible_ssh_port")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        problems.append(f"{name}: ansible_port is no number from 1 to 65535")
    options: dict[str, str] = {}
    known_hosts: list[str] = []
    try:
        options = _ssh_options(f"{text('ansible_ssh_common_args') or ''} {text('ansible_ssh_extra_args') or ''}")
        known_hosts = shlex.split(options.get("userknownhostsfile", ""))
    except ValueError as error:
        problems.append(f"{name}: ansible_ssh_common_args or ansible_ssh_extra_args cannot be read as words: {error}")
    key_file = text("ansible_ssh_private_key_file", "ansible_private_key_file") or options.get("identityfile")
    user = text("ansible_user", "ansible_ssh_user") or options.get("user")
    hostname = text("ansible_host", "ansible_ssh_host") or name
    password = text("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
    become_password = text("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    if problems:
        raise ConfigError(problems)
    return Address(
        name=name,
        hostname=hostname,
        user=user,
        port=int(port) if port else None,
        key_file=_at_home(key_file) if key_file and at_home else key_file,
        password=password,
        proxy_jump=options.get("proxyjump"),
        proxy_command=options.get("proxycommand"),
        known_hosts=tuple(map(_at_home, known_hosts) if at_home else known_hosts),
        become=user != "root",
        become_password=become_password,
        connect_timeout=connect_timeout,
    )


def _at_home(path: str) -> str:
    """A path with ~ filled in; the home of a user that there is not stays as it is, and is not found later."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises


def _ssh_options(arguments: str) -> dict[str, str]:
    """Read ``-o Key=value``, ``-J`` and ``-i`` out of ssh's arguments; the first of each counts, as in ssh."""
    words = shlex.split(arguments)
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        flag, value = word[:2], word[2:]
        if flag not in ("-o", "-J", "-i"):
            continue
        value = value or (words.pop(0) if words else "")
        if flag == "-o":
            key, _, value = value.replace(" ", "=", 1).partition("=") if "=" not in value else value.partition("=")
        else:
            key = {"-J": "proxyjump", "-i": "identityfile"}[flag]
        found.setdefault(key.strip().lower(), value.strip())
    return found
