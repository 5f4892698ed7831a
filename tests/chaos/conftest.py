"""The real hosts and small applications of tests/hosts, for tests that break things on purpose."""

from __future__ import annotations

from tests.hosts.conftest import app, lab, on, specs

__all__ = ["app", "lab", "on", "specs"]
