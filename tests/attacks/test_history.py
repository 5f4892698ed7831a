"""Whoever is root on one host forges, cuts and replays history; no other host suffers, and it shows where it was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.host import Host

from tests.hosts.conftest import APPS, App, app, lab, on, specs  # noqa: F401 - fixtures
from tests.hosts.ledgers import append, repair, verdicts, verify

On = Callable[[str], Host]
FORGED = "20260101T000000Z-6.6.6"


def forgery(**more: Any) -> dict[str, Any]:
    """A deploy that never was, on all hosts."""
    return {
        "task": "deploy",
        "id": FORGED,
        "version": "6.6.6",
        "status": "done",
        "started": "2026-01-01T00:00:00Z",
        "by": "admin@headquarters",
        "hosts": dict.fromkeys(APPS, "deployed"),
        **more,
    }


def test_a_forged_record_stays_on_the_host_it_was_made_on(app: App, on: On) -> None:  # noqa: F811
    """An honest host was told to be at fault, and --repair copied the forgery to it; then all was PASSED."""
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    assert append(on("app3"), app.state, forgery()).rc == 0
    found = verify(app)
    assert found.status == 3
    assert [verdicts(found)[host]["status"] for host in APPS] == ["PASSED", "PASSED", "FAILED"]
    assert FORGED in found.out
    mended = repair(app)
    for host in ("app1", "app2"):
        assert FORGED not in on(host).check_output(f"cat {app.state}/ledger"), "the forgery was spread"
    assert mended.status == 3, "a forgery that nobody has judged is no PASSED"
