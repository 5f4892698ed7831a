"""Lines of hosts' journals: whatever a host says is a message or nothing; hosts are merged by time; floods are cut."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.cli import running
from playbooks.cli.flag_values import narrowed, number, since
from playbooks.core.errors import UsageError
from playbooks.fleet.listening import LONGEST_LINE, _cut_lines
from playbooks.fleet.script import load
from playbooks.fleet.terminal import Until
from playbooks.steps.logs import MAX_MESSAGE, read_line

GOOD = {
    "__REALTIME_TIMESTAMP": "1764460000123456",
    "_SYSTEMD_UNIT": "shop.service",
    "PRIORITY": "3",
    "MESSAGE": "hello",
}


def entry(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_message_is_read() -> None:
    line = read_line("web1", entry())
    assert line is not None
    assert (line.time, line.unit, line.priority, line.text) == ("2025-11-29T23:46:40.123Z", "shop.service", 3, "hello")
    started = read_line("web1", entry(UNIT="shop.service", _SYSTEMD_UNIT="init.scope", _PID="1"))
    assert started is not None and started.systemd and started.unit == "shop.service"
    # Anybody may send a field of that name.
    forged = read_line("web1", entry(UNIT="sshd.service", _PID="815"))
    assert forged is not None and not forged.systemd and forged.unit == "shop.service"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"-- No entries --",
        entry(__REALTIME_TIMESTAMP="9" * 400),
        entry(__REALTIME_TIMESTAMP=[1]),
    ],
)
def test_what_is_no_message_is_none(raw: bytes) -> None:
    """A host that lies, or whose journalctl says something else, ends nobody's look."""
    assert read_line("web1", raw) is None


def test_odd_messages_are_text() -> None:
    """journalctl writes bytes that are no UTF-8 as numbers, a field that comes twice as a list, a huge one as null."""
    texts = {
        "caf\ufffd": [99, 97, 102, 233],
        "one\ntwo": ["one", "two"],
        "": None,
    }
    for text, message in texts.items():
        line = read_line("web1", entry(MESSAGE=message, _SYSTEMD_UNIT="\x1b[2J", PRIORITY="99"))
        assert line is not None and (line.text, line.unit, line.priority) == (text, "", 6)
    long = read_line("web1", entry(MESSAGE="x" * 50_000))
    assert long is not None and len(long.text) == MAX_MESSAGE


def test_a_line_without_end_fills_no_memory() -> None:
    """It is cut, and what follows it is whole."""
    pieces = [b"a\nb", b"c\n", *[b"x" * 60_000] * 20, b"\nlast\n"]
    lines = list(_cut_lines(pieces))
    assert [lines[0], lines[1], lines[3]] == [b"a", b"bc", b"last"] and len(lines) == 4
    assert len(lines[2]) == LONGEST_LINE


def test_flags() -> None:
    """A duration counts by the host's clock; a time is UTC; words of a command stay words."""
    assert since("10m") == "-600s"
    assert since("2026-11-29T14:00") == since("2026-11-29T15:00+01:00") == "@1795960800"
    with pytest.raises(UsageError, match="--since=yesterday: expected"):
        since("yesterday")
    assert (narrowed(None, None), narrowed("web", None), narrowed(None, "a"), narrowed("web", "a")) == (
        None,
        "web",
        "a",
        "web:&a",
    )
    assert running.behind_dashes(["invoke", "exec", "--env=x", "--", "a  b", "--", "-c"]) == ["a  b", "--", "-c"]
    assert running.behind_dashes(["invoke", "exec", "--env=x"]) == []
    assert number("lines", "10000", most=10_000) == 10_000
    with pytest.raises(UsageError, match="from 1 to 10000"):
        number("lines", "10001", most=10_000)


@given(st.binary(max_size=30), st.binary(max_size=30), st.lists(st.integers(1, 5), max_size=60))
def test_a_console_ends_at_its_mark_and_shows_all_before(before: bytes, after: bytes, sizes: list[int]) -> None:
    """However what comes is cut, nothing of the program's is lost, nothing of the mark is seen, the rest is kept."""
    written: list[bytes] = []
    until = Until(b"unit ended", written.append)
    before = before.replace(b"unit ended", b"")
    rest, ended = before + b"unit ended 7\r\n" + after, False
    while rest and not ended:
        size = sizes.pop() if sizes else 7
        ended = until.feed(rest[:size])
        rest = rest[size:]
    assert ended and until.rest == b"7"
    assert b"".join(written) == before


def test_what_a_unit_said_whose_lines_journald_could_not_tell_apart() -> None:
    """Of what ends at once, even with 0, the lines may belong to no start; then systemd's own words were shown."""
    fakes = """
        systemctl() { case $2 in *InvocationID) echo 0123 ;; *) echo 4 ;; esac; }
        journalctl() {
            case "$*" in
                *"UNIT=shop.service MESSAGE_ID="*) printf '5.25 app1 systemd: x\\n6.5 app1 systemd: x\\n' ;;
                *"_SYSTEMD_UNIT=shop.service --since=@5.25") echo 'no FOO is set' ;;
                *"--unit=shop.service") echo 'Deactivated successfully.' ;;
            esac
        }
    """
    body = load("lib/unit_said").body
    done = subprocess.run(
        ["/bin/sh", "-euc", f'{body}\n{fakes}\nunit_said shop.service; printf %s "$said"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "no FOO is set\036"
