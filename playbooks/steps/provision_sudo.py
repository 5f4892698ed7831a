"""Limit the login user's sudo to the commands that Slipway runs. docs/security.md explains the limits."""

from __future__ import annotations

import re

from playbooks.core.errors import ConfigError
from playbooks.fleet.channels import in_unit
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import command

SECONDS = 60.0
# The host replaces this, because it knows whether its sudo asks for a password.
TAG = "@TAG@"
# Placeholders for the unit's name and the script's length, which differ in each command. The first has no special
# characters of regular expressions, so that it can be replaced inside one.
_UNIT = "slipway-UNIT"
_ANY_UNIT = "slipway-[A-Za-z0-9:_.@+-]+"
_ANY_SCRIPT = "[0-9]+"
_SPECIAL = re.compile(r"[][\\.(){}*+?|^$#]")
# sudo reads a name in capitals as an alias, or as ALL.
_USER = re.compile(r"(?![A-Z0-9_]+$)[A-Za-z_][A-Za-z0-9_.@-]*")

_HEAD = """\
# Made by `invoke provision`, which puts it back when it is changed. docs/security.md explains it.
# Who may run a script as root is root: this says how, so that sudo's log shows every use. It does not say what.
"""


def sudoers(user: str) -> str:
    """Build the sudoers(5) file of a login user. ``@TAG@`` stands for NOPASSWD or PASSWD.

    The commands come from the same words that `Remote` runs, so they cannot differ. They are regular expressions
    (sudo 1.9.10): a wildcard would match across words, and ``--unit=slipway-*`` would let any option in.

    Raises:
        ConfigError: sudoers would read the user's name as something else.
    """
    if not _USER.fullmatch(user):
        raise ConfigError([f"the login user '{user}' cannot be named in a sudoers file"])
    script = command(b"")[:-1]
    program, *words = script
    run, *unit_words = in_unit(script, _UNIT)
    commands = [
        f"{program} {_exactly(words)}",
        f"/usr/bin/{run} {_exactly(unit_words)}",
        # Slipway checks with this that sudo accepts the user, before it sends a password or a script.
        '/usr/bin/true ""',
    ]
    return f"{_HEAD}{user} ALL=(root) {TAG}: " + ", \\\n    ".join(commands) + "\n"


def file_name(user: str) -> str:
    """Return the file's name. It has no dot, because sudo ignores files with a dot in the name."""
    return "slipway-" + user.replace(".", "%2e")


def provision_sudo(remote: Remote, *, note: Note | None = None) -> list[str]:
    """Install the sudoers file of the login user; nothing for root.

    Returns:
        The changes, as sentences.
    """
    if not remote.address.become:
        return []
    user = str(remote.session.connection.user)
    asks = "asks" if remote.address.become_password is not None else "-"
    values = {"user": user, "file": file_name(user), "asks": asks}
    answer = remote.run("provision_sudo", values=values, payload=sudoers(user).encode(), timeout=SECONDS, note=note)
    return [text for (text,) in answer.all("changed", 1)]


def _exactly(words: list[str]) -> str:
    """Match exactly these arguments. In sudoers(5), ^…$ is a regular expression over all arguments joined by blanks."""
    text = _SPECIAL.sub(r"\\\g<0>", " ".join(words))
    return f"^{text.replace(_UNIT, _ANY_UNIT)} {_ANY_SCRIPT}$"
