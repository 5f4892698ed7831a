"""The real hosts and small applications of tests/hosts, for tests that break things on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.spec import Lab
from tests.hosts.conftest import app, lab, on, specs

__all__ = ["app", "lab", "on", "specs"]


@pytest.fixture(scope="session", autouse=True)
def _look_over_one_connection(lab: Lab, on: Callable[[str], Host]) -> None:  # noqa: ARG001 - it writes the file
    """These tests look at hosts by the hundred: the looks share a connection, which halves the time they take."""
    config = lab.folder / "ssh" / "config"
    shared = "  ControlMaster auto\n  ControlPersist 20\n  ControlPath /run/slipway-look-%C\n"
    if shared not in config.read_text():
        config.write_text(config.read_text() + shared)
