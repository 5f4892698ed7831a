"""Whether a delta is made: where it takes less time than it saves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from playbooks.releases.pace import Pace, Stopwatch, keep_pace, pays, read_pace

MB = 1_000_000


@pytest.mark.parametrize(
    ("pace", "hosts", "expected"),
    [
        (Pace(), 3, True),  # nothing is known
        (Pace(sent=12 * MB), 3, True),  # 100 Mbit/s that all share: 42 s, for 8 s of work
        (Pace(sent=110 * MB), 3, False),  # 1 Gbit/s: 5 s, for 8 s of work
        (Pace(sent=110 * MB), 50, True),
        (Pace(sent=110 * MB, made=100 * MB), 3, True),  # a machine that is quick at it
        (Pace(sent=12 * MB, made=1 * MB), 1, False),
    ],
)
def test_a_delta_is_made_where_it_pays(pace: Pace, hosts: int, expected: bool) -> None:
    """20 s of work to save 2 s of sending is no help."""
    assert pays(pace, 168 * MB, hosts) is expected


def test_hosts_that_are_sent_to_at_the_same_time_share_the_line(tmp_path: Path) -> None:
    """Their bytes count together, from the first one's beginning to the last one's end."""
    watch = Stopwatch()
    assert watch.pace(Pace(made=5.0)) == Pace(made=5.0)
    watch.sent(20 * MB, 100.0, 104.0)
    watch.sent(20 * MB, 101.0, 105.0)
    assert watch.pace(Pace(made=5.0)) == Pace(sent=8.0 * MB, made=5.0)
    with watch.making(10 * MB):
        time.sleep(0.01)
    found = watch.pace(Pace())
    assert found.made is not None and 0 < found.made <= 1000 * MB
    place = tmp_path / "pace" / "shop.json"
    assert read_pace(place) == Pace()
    keep_pace(place, found)
    assert read_pace(place) == found
    for damaged in ("", "[]", '{"sent": "x"}', '{"sent": -1, "made": null}', '{"sent": Infinity}'):
        place.write_text(damaged)
        assert read_pace(place) == Pace()


def test_a_few_bytes_say_nothing_of_a_line() -> None:
    """Of them the round trips are measured."""
    watch = Stopwatch()
    watch.sent(100_000, 100.0, 101.0)
    assert watch.pace(Pace(sent=7.0)) == Pace(sent=7.0)
