"""What the controller knows about the person who runs it. In a container much of it may be missing."""

from __future__ import annotations

import os
import pwd
import socket
from functools import cache
from pathlib import Path

from playbooks.core.errors import UsageError


def local_user() -> str:
    """The login name of who runs us; ``uid-4711`` where the system has no name for the user.

    The environment comes first, as in Python's getpass.
    """
    for key in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if name := printable(os.environ.get(key, "")):
            return name
    return account_name() or f"uid-{os.getuid()}"


def local_host() -> str:
    """This machine's name; ``localhost`` where it has none."""
    return printable(socket.gethostname()) or "localhost"


def who() -> str:
    """Who runs this, as user@machine."""
    return f"{local_user()}@{local_host()}"


def account_name() -> str | None:
    """The login name that belongs to our uid; None where it has no passwd entry."""
    entry = _entry()
    return entry.pw_name if entry else None


def ssh_home() -> str:
    """The home that ssh reads its files in: that of the passwd entry, whatever HOME says.

    Where our uid has no passwd entry, ssh does not run at all; then HOME counts.
    """
    entry = _entry()
    return entry.pw_dir if entry else os.environ.get("HOME", "/")


@cache
def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None


def own_path(text: str) -> Path:
    """A path as a person writes it, with ``~`` filled in from HOME, as a shell does.

    A home that there is not stays as it is, and is not found later.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises


def here() -> Path:
    """The folder that we are in.

    Raises:
        UsageError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder you are in has been removed; nothing was touched", hint="cd to another") from None


def at_home(path: str) -> str:
    """A path of an ssh setting with ``~`` and ``~user`` filled in as ssh does.

    The home of a user who does not exist stays as it is, and is not found later.
    """
    if not path.startswith("~"):
        return path
    user, slash, rest = path[1:].partition("/")
    if not user:
        return ssh_home() + slash + rest
    try:
        return pwd.getpwnam(user).pw_dir + slash + rest
    except (KeyError, ValueError):
        return path


def printable(text: str) -> str:
    """Text that any ledger and any terminal can hold: bytes that are no UTF-8, and control characters, become ``?``."""
    return "".join(one if one.isprintable() else "?" for one in text)
