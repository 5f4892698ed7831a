"""Read who runs the controller, and where. In a container much of this may be missing."""

from __future__ import annotations

import os
import pwd
import socket
from functools import cache
from pathlib import Path

from playbooks.core.errors import UsageError


def local_user() -> str:
    """Return the present user's login name; ``uid-4711`` if the system has no name for it.

    The environment comes first, as in Python's getpass.
    """
    for key in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if name := printable(os.environ.get(key, "")):
            return name
    return account_name() or f"uid-{os.getuid()}"


def local_host() -> str:
    """Return this machine's name; ``localhost`` if it has none."""
    return printable(socket.gethostname()) or "localhost"


def who() -> str:
    """Return the present user as user@machine."""
    return f"{local_user()}@{local_host()}"


def account_name() -> str | None:
    """Return the login name of our uid; None without a passwd entry."""
    entry = _entry()
    return entry.pw_name if entry else None


def ssh_home() -> str:
    """Return the home folder that ssh uses: that of the passwd entry, even if HOME differs.

    Without a passwd entry ssh does not run at all, and this returns HOME.
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
    """Expand ``~`` in a person's path from HOME, as a shell does.

    The home of an unknown user stays as it is, so the file is not found later.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises


def here() -> Path:
    """Return the working directory.

    Raises:
        UsageError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder you are in has been removed; nothing was touched", hint="cd to another") from None


def at_home(path: str) -> str:
    """Expand ``~`` and ``~user`` in a path of an ssh setting, as ssh does.

    The home of an unknown user stays as it is, so the file is not found later.
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
    """Replace bytes that are not UTF-8 and control characters by ``?``, for ledgers and terminals."""
    return "".join(one if one.isprintable() else "?" for one in text)
