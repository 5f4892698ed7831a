"""A stage that is watched: it fits the screen, whatever it says, and fills no log."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from playbooks.fleet.progress import Look, Side
from playbooks.report.looks import MAX_LINES, in_lines
from playbooks.report.plain import Plain

NEW = Side("1.1.0", 1_234_567, 98_765, 9_999.0, 12_345.0, 123_456.0)
LOOK = Look(
    "5 % of the traffic", 0.05, 60.0, 60.0, 900.0, 30.0, NEW, NEW, NEW, NEW, "inconclusive", "Too little. " * 40
)
LACKING = tuple((rule, "37 of about 1,200 requests needed") for rule in ("errors", "p95", "worse errors", "p50", "p99"))


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("version", ["1", "2026.11.21-with-a-name-that-a-build-gave-it-and-nobody-reads"])
@pytest.mark.parametrize("changes", [{"lacking": LACKING}, {"outcome": "bad"}, {"held": True}, {"old_so_far": None}])
def test_a_look_fits_the_screen(width: int, version: str, changes: dict[str, object]) -> None:
    """A line that wraps moves all others; and below 80 columns numbers are worth more than names."""
    look = replace(LOOK, new_so_far=replace(NEW, version=version), then="20 hosts to switch, then " * 9, **changes)  # type: ignore[arg-type]
    lines = [line.plain for line in in_lines(look, 61.0, width)]
    assert len(lines) <= MAX_LINES
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert any("8.00 %  9999 ms  12 s  123 s" in line for line in lines)


def test_the_bar_goes_on_between_looks_and_ends_with_the_stage() -> None:
    """Half a minute without any movement looks like a fault."""
    early, late, over = (in_lines(LOOK, passed, 80)[0].plain for passed in (60.0, 600.0, 1000.0))
    assert 0 < early.count("━") < late.count("━") < over.count("━")
    assert "╌" not in over
    assert "15.0 min of 15.0 min" in over


def test_a_log_has_a_look_when_it_says_something_new() -> None:
    """Sixty lines of "inconclusive" hide the one that is not."""
    out = io.StringIO()
    plain = Plain(out)
    for second in range(0, 1801, 5):
        plain.look(replace(LOOK, at=float(second), outcome="good" if second >= 905 else "inconclusive"))
    lines = out.getvalue().splitlines()
    assert len(lines) == 31 + 30
    assert [line.endswith("good") for line in lines] == [False] * 31 + [True] * 30
    plain.look(replace(LOOK, at=1801.0, outcome="good", stage="20 % of the traffic"))
    assert out.getvalue().splitlines()[-1].startswith("      watch     20 % of the traffic")
