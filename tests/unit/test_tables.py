"""Answers as a person reads them, on a terminal of 80 columns, at night."""

from __future__ import annotations

import io

import pytest

from playbooks.history import History
from playbooks.host_keys import HostKey, HostKeys
from playbooks.measure import Measure, Measures
from playbooks.report.history import show_history
from playbooks.report.live import Live
from playbooks.report.tables import show_host_keys
from playbooks.report.traffic import show_measures

KEY, OTHER = (f"ED25519 SHA256:{letter * 43}" for letter in "ab")


def test_a_key_that_is_recorded_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the same beside each other does not fit, and the one that differs is to be seen."""
    show_host_keys(HostKeys("lab", (HostKey("app1", KEY, (KEY,), "recorded", "/etc/keys"),), {}, "--env=lab"))
    told = capsys.readouterr().out
    assert told.count(KEY) == 1
    assert all(len(line) <= 80 for line in told.splitlines())


def test_a_key_that_changed_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Both keys are shown: who compares needs the one that was."""
    show_host_keys(HostKeys("lab", (HostKey("app1", KEY, (OTHER,), "CHANGED", "/etc/keys"),), {}, "--env=lab"))
    told = capsys.readouterr().out
    assert KEY in told
    assert OTHER in told
    assert "invoke host-keys --env=lab --replace --limit=app1" in told


def test_history_says_why_the_last_failure_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """'rolled back' alone sends a person to the JSON."""
    records: list[dict[str, object]] = [
        {"started": "3", "task": "deploy", "status": "done", "seconds": 12.345, "message": "fine"},
        {"started": "2", "task": "deploy", "status": "rolled back", "message": "app1: not healthy"},
        {"started": "1", "task": "deploy", "status": "rolled back", "message": "older"},
    ]
    show_history(History("lab", tuple(records), {}, {}))
    told = capsys.readouterr().out
    assert "2: app1: not healthy" in told
    assert "older" not in told
    assert "12.3 s" in told


def test_no_requests_are_no_good_news(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of zeros with 'errors above 1 %: no' under it reads like a healthy site."""
    nothing = Measure("app1", 0, 0, None, None, None)
    show_measures(Measures("lab", 3.0, (nothing,), (nothing,), "errors above 1 %"))
    assert "no request came in 3 s" in capsys.readouterr().out


def test_a_host_whose_steps_all_said_nothing_ends_well_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status has only such steps; a dot there reads as if a host had not answered."""
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with Live(stream) as live:
        live.hosts(["app1", "app2"])
        live.begin("app1", "facts")
        live.end("app1", "facts", None, 0.1)
    last = stream.getvalue().rpartition("done")[2]
    assert "✓" in last.split("app1")[0]
    assert "✓" not in last.split("app1")[1]
