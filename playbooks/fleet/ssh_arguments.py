"""Read an inventory's arguments for ssh (``ansible_ssh_common_args`` and similar) in Ansible's order."""

from __future__ import annotations

import getopt
import shlex
from collections.abc import Mapping, Sequence
from functools import cache

# ssh(1), up to OpenSSH 10.
_FLAGS = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy"
# These options decide the destination and the connection. The others are about terminals, logs and forwarding.
_MATTER = frozenset(f"-{letter}" for letter in "1246bBcCFiIJlmopP")
# With these options ssh does not run a command on a host.
_OTHERWISE = frozenset(f"-{letter}" for letter in "GOQVW")


@cache  # because thousands of hosts have the same arguments
def read_arguments(text: str) -> tuple[str, ...]:
    """Read ssh's arguments, as far as they decide the destination and the connection.

    Args:
        text: words in shell syntax, without expansion, as with Ansible.

    Raises:
        ValueError: ssh refuses the arguments; the message shows no values.
    """
    try:
        found, rest = getopt.getopt(shlex.split(text), _FLAGS)
    except getopt.GetoptError as error:
        raise ValueError(f"ssh has no option -{error.opt}, or not in this form") from None
    if rest:
        raise ValueError("a word in them belongs to no option, and ssh would take it for the host")
    for flag, _ in found:
        if flag in _OTHERWISE:
            raise ValueError(f"with {flag} ssh does something else than to run a command on the host")
    return tuple(word for pair in found if pair[0] in _MATTER for word in pair if word)


def option(key: str, value: object) -> tuple[str, str]:
    """Return the arguments that set an ssh option to a single word."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return "-o", f'{key}="{text}"'


def names(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Return the settings that the arguments make, by keyword in small letters.

    Args:
        arguments: see `read_arguments`.
    """
    found: dict[str, list[str]] = {}
    short: Mapping[str, tuple[str, str]] = {"-4": ("addressfamily", "inet"), "-6": ("addressfamily", "inet6")}
    short = {**short, "-C": ("compression", "yes")}
    long = {
        "-b": "bindaddress",
        "-B": "bindinterface",
        "-c": "ciphers",
        "-i": "identityfile",
        "-I": "pkcs11provider",
        "-J": "proxyjump",
        "-l": "user",
        "-m": "macs",
        "-p": "port",
    }
    for flag, value in getopt.getopt(list(arguments), _FLAGS)[0]:
        key, text = short.get(flag, (long.get(flag, flag), value))
        if flag == "-o":
            key, _, text = value.replace("=", " ", 1).strip().partition(" ")
            # ProxyCommand and similar take the rest of the line as it is.
            text = text.strip()
            text = text if key.lower() == "proxycommand" else " ".join(shlex.split(text))
        found.setdefault(key.lower(), []).append(text)
    return found
