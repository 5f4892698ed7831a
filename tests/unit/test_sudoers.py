"""The sudoers file that provision installs allows the words that Slipway runs, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playbooks.core.errors import ConfigError
from playbooks.fleet.channels import in_unit as words_in_unit
from playbooks.fleet.script import command, shell_loop
from playbooks.steps.provision_sudo import TAG, file_name, sudoers


def allowed(words: list[str]) -> bool:
    """Whether a command passes, read as sudo 1.9.10 reads it: the real sudo is asked in tests/hosts."""
    program, given = words[0], " ".join(words[1:])
    rules = re.findall(r"(/\S+) \^(.*)\$(?:, \\)?$", sudoers("deploy"), re.MULTILINE)
    assert len(rules) == 2
    return any(
        path.endswith(f"/{program.lstrip('/')}") and re.fullmatch(pattern, given, re.DOTALL) for path, pattern in rules
    )


def test_what_slipway_runs_is_allowed() -> None:
    """A rule that does not follow the words that are run would end every deploy at its first step."""
    words = command(shell_loop())
    assert allowed(words)
    assert allowed(list(words_in_unit(words, "slipway-shop-stage-20261121T043100Z-1.1.0+build_7")))


def test_nothing_else_is_allowed() -> None:
    """An option slipped in, another bootstrap or another unit would leave sudo's log without what was run."""
    words = command(shell_loop())
    in_unit = list(words_in_unit(words, "slipway-shop"))
    assert allowed(in_unit)
    for wrong in (
        ["/bin/sh", "-c", "id", *words[3:]],
        ["/bin/sh", *words[2:]],
        [*words[:3], "x"],
        [*words, "a"],
        [*words[:2], f"id; {words[2]}", *words[3:]],
        [word.replace("slipway-shop", "other") for word in in_unit],
        [word.replace("slipway-shop", "slipway-shop --uid=0") for word in in_unit],
        ["systemd-run", "--pty", *in_unit[1:]],
        ["systemd-run", "--", "/bin/sh"],
        [word.replace("/bin/sh", "/binxsh") for word in in_unit],
    ):
        assert not allowed(wrong), wrong


def test_names_that_sudo_would_read_as_something_else() -> None:
    """``%wheel`` is a group and ``ALL`` everybody; a file with a dot in its name is never read."""
    assert file_name("jo.doe") != file_name("jo_doe")
    assert "." not in file_name("jo.doe")
    for name in ("%wheel", "ALL", "a b", "a,b", "", "#0", "-x", "a=b"):
        with pytest.raises(ConfigError):
            sudoers(name)


def test_docs_show_what_is_installed() -> None:
    """Who reviews the page must see the very rule that comes to the hosts."""
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    text = sudoers("deploy").replace(TAG, "NOPASSWD")
    assert text in page, f"docs/security.md shows another file; this is the one that provision installs:\n{text}"
