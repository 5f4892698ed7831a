"""The lock's script on this machine: who holds it, what a dead task leaves, and that silence ends it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks.core.state_format import FORMAT
from playbooks.fleet.script import command, load

EPITAPH = json.dumps({"task": "deploy", "id": "1", "status": "interrupted"})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "shop"
    run = Path(f"/run/slipway/{tmp_path}")
    shutil.rmtree(run, ignore_errors=True)
    with contextlib.suppress(OSError):  # another test's are in it
        for folder in run.relative_to("/run/slipway").parents[:-1]:
            ("/run/slipway" / folder).rmdir()


class Holder:
    """A script that waits for words."""

    def __init__(self, state: Path, **values: str) -> None:
        given = {
            "state": str(state),
            "home": "/nowhere",
            "wait": "0.5",
            "patience": "20",
            "holder": '{"who": "jo"}',
            "epitaph": EPITAPH,
            "token": "-",
            "undo": "-",
            "kind": "changes",
            "format": str(FORMAT),
        }
        text = load("lock").given({**given, **values}).reading()
        self.process = subprocess.Popen(command(text), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.say(text)

    def say(self, words: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(words)

    def hears(self) -> list[str]:
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip("\n").split("\t")

    def ends(self) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(10)


def test_one_holds_the_lock_until_it_says_so(state: Path) -> None:
    """Two tasks on a host at once would each take the other's release for its own."""
    first = Holder(state)
    assert first.hears() == ["locked", "1"]
    first.say(b"b")
    assert first.hears() == ["beat"]
    second = Holder(state)
    assert second.hears() == ["held", '{"who": "jo"}']
    assert second.ends() == 1
    first.say(b"d")
    assert first.ends() == 0
    assert (state / "lock").read_text() == ""
    assert not (state / "ledger").exists(), "it ended well, and has its own record"
    third = Holder(state)
    assert third.hears() == ["locked", "2"], "another task, another token"
    third.say(b"q")
    assert third.ends() == 0


def test_a_task_that_was_interrupted_is_recorded_by_the_next_one(state: Path) -> None:
    """Its controller is dead, and nobody else knows what it had begun."""
    first = Holder(state, patience="0.3")
    assert first.hears() == ["locked", "1"]
    assert first.process.wait(10) == 1, "it was silent"
    assert first.ends() == 1
    assert (state / "lock").read_text().splitlines()[:2] == ['{"who": "jo"}', EPITAPH]
    second = Holder(state, kind="-", epitaph="{}")
    assert second.hears() == ["locked", "2"]
    second.say(b"d")
    assert second.ends() == 0
    assert '"status": "interrupted"' in (state / "ledger").read_text()
    assert (state / "interrupted").read_text() == '{"who": "jo"}\n', "a backup in between does not hide it"


def test_a_lock_that_was_lost_is_taken_again_unless_somebody_else_had_it(state: Path) -> None:
    """The controller comes back after a cut: its old script may still wait on the connection that died."""
    first = Holder(state)
    assert first.hears() == ["locked", "1"]
    again = Holder(state, token="1", wait="2")
    assert again.hears() == ["locked", "1"]
    assert first.ends() != 0
    again.say(b"q")
    assert again.ends() == 0
    other = Holder(state)
    assert other.hears() == ["locked", "2"]
    other.say(b"q")
    assert other.ends() == 0
    late = Holder(state, token="1")
    assert late.hears()[:2] == ["error", "fenced"]
    assert late.ends() == 1


def test_a_request_to_abort_reaches_the_task_that_it_was_meant_for(state: Path) -> None:
    """A request that waited for a task which had ended would end the next one."""
    holder = Holder(state)
    assert holder.hears() == ["locked", "1"]
    request = Path(f"/run/slipway/{state}/abort")
    for meant, told in (("7 jo@desk\n", []), ("1 jo@desk\n", [["abort", "jo@desk"]])):
        request.write_text(meant)
        holder.say(b"bb")
        heard: list[list[str]] = []
        # It looks for a request after each beat, so it has looked by the second one.
        while heard.count(["beat"]) < 2:
            heard.append(holder.hears())
        assert [line for line in heard if line != ["beat"]] == told
        assert not request.exists()
    holder.say(b"q")
    assert holder.ends() == 0
