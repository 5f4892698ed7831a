"""What Slipway uses of other packages that they do not promise to keep: their private and undocumented parts.

Each of them has a test that says, where an upgrade moves it, which package moved what, and which of our files needs it.
What is only imported is not listed: without it nothing starts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import ParamSpec

import pytest

P = ParamSpec("P")
DISTRIBUTIONS = {"jinja2": "Jinja2", "yaml": "PyYAML"}


@dataclass(frozen=True)
class Part:
    """One part.

    Args:
        package: whose.
        name: as our source has it; a text of the package's where we read its messages.
        files: ours that use it.
        common: other things have this name too, so a use in a further file cannot be told by it.
    """

    package: str
    name: str
    files: tuple[str, ...]
    common: bool = False


CHANNELS, SHELL, SESSION = (
    "playbooks/fleet/channels.py",
    "playbooks/fleet/remote_shell.py",
    "playbooks/fleet/session.py",
)
TRANSPORT, DIALING = "playbooks/fleet/transport.py", "playbooks/fleet/dialing.py"
CONNECTION, ENDPOINT = "playbooks/fleet/connection.py", "playbooks/fleet/endpoint.py"
USAGE = "playbooks/cli/bad_usage.py"
JINJA, LAZY = "playbooks/inventory/jinja.py", "playbooks/inventory/lazy.py"
RESOLVE, DOCUMENT = "playbooks/inventory/resolve.py", "playbooks/inventory/document.py"
UNREACHED = "playbooks/core/unreached.py"

PARTS = (
    # A request that is not answered, which saves a round trip; paramiko's own methods wait.
    Part("paramiko", "_send_user_message", (CHANNELS,)),
    Part("paramiko", "remote_chanid", (CHANNELS,)),
    # One event for both streams of a channel.
    Part("paramiko", "set_event", (SHELL,)),
    Part("paramiko", "in_buffer", (SHELL, TRANSPORT)),
    Part("paramiko", "in_stderr_buffer", (SHELL, TRANSPORT)),
    Part("paramiko", "eof_received", (SHELL,)),
    Part("paramiko", "closed", (SHELL, SESSION), common=True),
    # Limits on what the other side sends.
    Part("paramiko", "in_window_size", (TRANSPORT,)),
    Part("paramiko", "_channel_handler_table", (TRANSPORT,)),
    Part("paramiko", "_compression_info", (TRANSPORT,)),
    Part("paramiko", "packetizer", (TRANSPORT,)),
    Part("paramiko", "read_all", (TRANSPORT,)),
    Part("paramiko", "_active_check_timeout", (TRANSPORT,)),
    # `SecurityOptions`, which is documented, knows no "pubkeys", and needs a transport that is there already.
    Part("paramiko", "_preferred_ciphers", (TRANSPORT,)),
    Part("paramiko", "_preferred_", (TRANSPORT, ENDPOINT)),
    # Another agent than the environment's, with a time limit.
    Part("paramiko", "_agent", (CONNECTION,)),
    Part("paramiko", "_conn", (DIALING,)),
    Part("paramiko", "_keys", (DIALING,)),
    Part("paramiko", "_connect", (DIALING,)),
    Part("paramiko", "get_keys", (DIALING,), common=True),
    Part("paramiko", "blob", (DIALING,), common=True),
    # sshd that has too many at the door is told by paramiko's message alone.
    Part("paramiko", "banner", (CONNECTION,), common=True),
    # Ways that Fabric does not know, and the end of those that a connection goes through.
    Part("fabric", "open_gateway", (CONNECTION,)),
    Part("fabric", "close", (CONNECTION,), common=True),
    # Invoke takes no class of errors, and ends with 1, which is a failed deploy here.
    Part("invoke", "ParseError", (USAGE,)),
    Part("invoke", "No idea what", (USAGE,), common=True),
    Part("invoke", "needed value", (USAGE,), common=True),
    Part("invoke", "flag_names", (USAGE,)),
    Part("invoke", "body", (USAGE,), common=True),
    Part("invoke", "auto_shortflags", (USAGE,)),
    Part("invoke", "get_arguments", (USAGE,)),
    Part("invoke", "names", (USAGE,), common=True),
    # Ansible's types: constants that stay what they are, lists that only their own template changes.
    Part("jinja2", "_output_child_to_const", (JINJA,)),
    Part("jinja2", "_FinalizeInfo", (JINJA,)),
    Part("jinja2", "visit_List", (JINJA,)),
    Part("jinja2", "visit_Dict", (JINJA,)),
    Part("jinja2", "concat", (JINJA,), common=True),
    Part("jinja2", "call", (JINJA,), common=True),
    Part("jinja2", "__wrapped__", (JINJA,), common=True),
    Part("jinja2", "jinja_pass_arg", (JINJA,), common=True),
    # What is undefined, and where.
    Part("jinja2", "_undefined_message", (LAZY,)),
    Part("jinja2", "_undefined_hint", (LAZY,)),
    Part("jinja2", "_undefined_obj", (LAZY,)),
    Part("jinja2", "_undefined_name", (LAZY,)),
    Part("jinja2", "_fail_with_undefined_error", (LAZY,)),
    Part("jinja2", "__jinja_template__", (RESOLVE,), common=True),
    Part("jinja2", "get_corresponding_lineno", (RESOLVE,)),
    # libyaml's events, composed in Python, whose depth can be limited.
    Part("yaml", "CParser", (DOCUMENT,), common=True),
    Part("yaml", "compose_node", (DOCUMENT,)),
    Part("yaml", "peek_event", (DOCUMENT,)),
    Part("yaml", "get_single_node", (DOCUMENT,)),
    Part("yaml", "construct_document", (DOCUMENT,)),
    Part("yaml", "construct_yaml_int", (DOCUMENT,)),
    Part("yaml", "dispose", (DOCUMENT,)),
    Part("yaml", "unhashable key", (DOCUMENT,), common=True),
    Part("yaml", "could not determine a constructor for the tag", (DOCUMENT,), common=True),
    # Causes that are in an error's arguments only.
    Part("requests", "reason", (UNREACHED,), common=True),
    Part("botocore", "kwargs", (UNREACHED,), common=True),
    # How much an expression repeats.
    Part("Python", "_parser", ("playbooks/inventory/expressions.py",)),
)


def proves(package: str, *names: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """For a test that uses parts through our code: where it fails, it says which may have moved, and who needs them.

    Args:
        package: whose.
        names: of parts in `PARTS`.
    """
    parts = [part for part in PARTS if part.package == package and part.name in names]
    assert len(parts) == len(names), f"not in PARTS: {names}"

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **options: P.kwargs) -> None:
            try:
                test(*args, **options)
            except (Exception, pytest.fail.Exception) as error:
                needed = ", ".join(f"{part.name} ({' and '.join(part.files)})" for part in parts)
                raise AssertionError(f"{_version(package)} may have moved what Slipway uses: {needed}") from error

        return run

    return decorate


def _version(package: str) -> str:
    if package == "Python":
        return "Python"
    return f"{package} {metadata.version(DISTRIBUTIONS.get(package, package))}"
