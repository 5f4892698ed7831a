"""Text on a terminal of 80 columns: nothing that is one thing is broken in two."""

from __future__ import annotations

from playbooks.report.layout import table, wrapped

STATUS = ("host", "version", "since", "by", "health", "idle", "backup", "verified", "lock", "why")


def lines(names: tuple[str, ...], rows: list[tuple[str, ...]], width: int = 80) -> list[str]:
    return ["".join(piece.text for piece in line) for line in table(names, rows, width)]


def test_what_fits_is_a_table() -> None:
    """As it always was."""
    found = lines(("host", "result"), [("app1", "deployed"), ("app22", "failed")])
    assert found == ["host   result", "app1   deployed", "app22  failed"]


def test_long_cells_break_between_words_and_short_ones_not_at_all() -> None:
    """ "116 s" on one line and "ago" on the next was read as two things."""
    why = "not healthy after 12.5 s: version: Failed to connect to 127.0.0.1 port 9801 after 0 ms"
    found = lines(("host", "since", "health", "why"), [("app1", "3 min ago", "unhealthy", why)])
    assert all(len(line) <= 80 for line in found)
    assert "app1  3 min ago  unhealthy  not healthy after 12.5 s:" in found[1]
    assert " ".join(" ".join(line.split()) for line in found[1:]).replace("app1 3 min ago unhealthy ", "") == why


def test_what_cannot_be_beside_each_other_is_a_paragraph() -> None:
    """Ten columns on 80 characters left two for each word."""
    row = ("app1.example.net", "2026.11.29-1", "116 s ago", "deploy@workstation", "unhealthy", "green 2026.11.28-1")
    found = lines(STATUS, [(*row, "111 s ago", "PASSED 5 h ago", "", "it failed again and again " * 4)])
    assert found[0] == "app1.example.net"
    assert found[1] == "  version: 2026.11.29-1  since: 116 s ago  by: deploy@workstation"
    assert any("  verified: PASSED 5 h ago" in line for line in found)
    assert not any("lock" in line for line in found)
    assert all(len(line) <= 80 for line in found)


def test_times_and_sizes_stay_in_one_piece_at_every_width() -> None:
    """Wherever the line ends."""
    text = "since 2026-11-29 23:16:03, 3 min ago, 12.5 s long, 90 % of 168 MB, 5 h ago, with a-long-name-of-a-release"
    whole = ("2026-11-29 23:16:03,", "3 min ago,", "12.5 s", "90 %", "168 MB,", "5 h ago,", "a-long-name-of-a-release")
    for width in range(5, 120):
        found = wrapped(text, width)
        assert " ".join(found) == text
        for one in whole:
            assert any(one in line for line in found), (width, one)
    assert wrapped("  - a b c", 7) == ["  - a b", "  c"]
    assert wrapped("", 10) == [""]
