"""What the login user may do with sudo: what Slipway runs, and nothing else. docs/security.md explains the limits."""

from __future__ import annotations

import re

from playbooks.core.errors import ConfigError
from playbooks.fleet.channels import in_unit
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import command

SECONDS = 60.0
# Filled in on the host, which knows whether its sudo asks for a password.
TAG = "@TAG@"
# Stand for what differs: the unit's name, and the script's length. The first holds no letter that a regular expression
# reads as its own, so it is found again in one.
_UNIT = "slipway-UNIT"
_ANY_UNIT = "slipway-[A-Za-z0-9:_.@+-]+"
_ANY_SCRIPT = "[0-9]+"
_SPECIAL = re.compile(r"[][\\.(){}*+?|^$#]")
# Capitals alone are the name of an alias to sudo, or ALL.
_USER = re.compile(r"(?![A-Z0-9_]+$)[A-Za-z_][A-Za-z0-9_.@-]*")

_HEAD = """\
# Made by `invoke provision`, which puts it back when it is changed. docs/security.md explains it.
# Who may run a script as root is root: this says how, so that sudo's log shows every use. It does not say what.
"""


def sudoers(user: str) -> str:
    """The sudoers(5) file of a login user; ``@TAG@`` stands for NOPASSWD or PASSWD.

    The commands are made from the very words that `Remote` runs, so they follow them. They are regular expressions
    (sudo 1.9.10): a wildcard would match across words, and ``--unit=slipway-*`` would let any option in.

    Raises:
        ConfigError: a user with a name that sudoers would read as something else.
    """
    if not _USER.fullmatch(user):
        raise ConfigError([f"the login user '{user}' cannot be named in a sudoers file"])
    script = command(b"")[:-1]
    program, *words = script
    run, *unit_words = in_unit(script, _UNIT)
    commands = [
        f"{program} {_exactly(words)}",
        f"/usr/bin/{run} {_exactly(unit_words)}",
        # Asks whether sudo lets us, before a password or a script is handed to it.
        '/usr/bin/true ""',
    ]
    return f"{_HEAD}{user} ALL=(root) {TAG}: " + ", \\\n    ".join(commands) + "\n"


def file_name(user: str) -> str:
    """The file's name: sudo reads no file with a dot in its name."""
    return "slipway-" + user.replace(".", "%2e")


def provision_sudo(remote: Remote, *, note: Note | None = None) -> list[str]:
    """Install the sudoers file of the user we are logged in as; nothing for root.

    Returns:
        What was changed, as sentences.
    """
    if not remote.address.become:
        return []
    user = str(remote.session.connection.user)
    asks = "asks" if remote.address.become_password is not None else "-"
    answer = remote.run(
        "provision_sudo", [user, file_name(user), asks], payload=sudoers(user).encode(), timeout=SECONDS, note=note
    )
    return [text for (text,) in answer.all("changed", 1)]


def _exactly(words: list[str]) -> str:
    """sudoers(5): arguments from ^ to $ are a regular expression on all of them, joined by blanks."""
    text = _SPECIAL.sub(r"\\\g<0>", " ".join(words))
    return f"^{text.replace(_UNIT, _ANY_UNIT)} {_ANY_SCRIPT}$"
