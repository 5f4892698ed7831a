"""What a deploy that names no version leaves out, and what a way back says of the database."""

from __future__ import annotations

from typing import Any

import pytest

from playbooks.releases.taken_back import taken_back


def record(task: str, version: str, status: str = "done", **more: str) -> dict[str, Any]:
    return {"task": task, "version": version, "status": status, "started": "2026-11-29T12:00:00Z", **more}


DONE1, DONE2 = record("deploy", "1.0.0"), record("deploy", "2.0.0")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([DONE1, DONE2], set()),
        ([DONE1, record("deploy", "2.0.0", "rolled back")], {"2.0.0"}),
        ([DONE1, record("deploy", "2.0.0", "halted")], {"2.0.0"}),
        ([DONE1, record("deploy", "2.0.0", "failed")], set()),  # while staging: a host may have been down
        ([DONE1, DONE2, record("rollback", "1.0.0", reason="slow")], {"2.0.0"}),
        ([DONE1, DONE2, record("rollback", "1.0.0"), DONE2], set()),
        ([DONE1, DONE2, record("rollback", "1.0.0"), record("rollback", "2.0.0")], {"1.0.0"}),
        ([DONE1, record("deploy", "2.0.0", "rolled back"), record("rollback", "1.0.0")], {"2.0.0"}),
        ([record("backup", "2.0.0", "failed"), {}], set()),
    ],
)
def test_what_the_last_word_on_a_version_is(records: list[dict[str, Any]], expected: set[str]) -> None:
    """A deploy without a version offered the one that had just been taken back."""
    assert set(taken_back([records])) == expected


def test_one_host_alone_says_nothing_of_a_version() -> None:
    """Else whoever has one host could keep a fix from the whole fleet."""
    liar, honest = [DONE1, record("deploy", "2.0.0", "rolled back")], [DONE1, DONE2]
    assert not taken_back([liar, honest, honest])
    assert taken_back([liar, liar, honest]) == {"2.0.0": "rolled back at 2026-11-29T12:00:00Z"}
    assert taken_back([liar, [DONE1], [DONE1]]), "those that were not there then have no say"
    back = [DONE1, DONE2, record("rollback", "1.0.0", reason="it was slow")]
    assert taken_back([back]) == {"2.0.0": "rolled back at 2026-11-29T12:00:00Z (it was slow)"}
