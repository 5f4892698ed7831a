"""The short form of script/fuzz: the same targets and seeds, fewer inputs."""

from __future__ import annotations

import io
import random
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fuzz.archives import Archives
from tests.fuzz.engine import campaign, input_at
from tests.fuzz.target import Found, InProcess, Verdict
from tests.fuzz.targets import NAMES, open_target

# An input of each target takes from 1 ms to 20 ms; together they stay under a minute.
INPUTS = {"inventory": 800, "settings": 2000, "archive": 800, "ledger": 2000, "answers": 2000}


@pytest.mark.parametrize("name", NAMES)
def test_hostile_inputs_end_in_a_result_or_a_sentence(name: str, tmp_path: Path) -> None:
    """Fails on a crash, hang, traceback, unprintable sentence, or anything that came out of its folder."""
    tally = campaign(name, inputs=INPUTS[name], seed=1, saved=tmp_path / "found", workers=2, watch=lambda _: None)
    assert tally.found == []
    assert tally.inputs == INPUTS[name]
    assert tally.accepted > 0, "inputs that are all refused at the door test the door only"
    assert tally.refused > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_inputs(name: str, tmp_path: Path) -> None:
    """A violation that cannot be made again cannot be corrected."""
    with open_target(name, tmp_path) as target:
        assert [input_at(target, name, 7, at) for at in range(20)] == [
            input_at(target, name, 7, at) for at in range(20)
        ]


class _Broken:
    """A reader with the faults that the engine is there to see."""

    def make(self, rng: random.Random) -> bytes:
        return rng.randbytes(4)

    def read(self, data: bytes) -> bool:
        if data == b"loop":
            while True:
                try:
                    while True:
                        pass
                except Exception:  # noqa: BLE001, S110 - a reader that swallows what it should not
                    pass
        if data == b"wait":
            time.sleep(0.6)  # as long as it would take on a machine that others have
            return True
        return bool(1 // len(data))


def _judge(inputs: Sequence[bytes]) -> list[Verdict | Found]:
    return InProcess(_Broken(), limit=0.2).judge(inputs)


def test_hangs_and_tracebacks_are_seen() -> None:
    """A fuzzer that sees nothing finds nothing."""
    hang, crash, fine, slow = _judge([b"loop", b"", b"x", b"wait"])
    assert isinstance(hang, Found)
    assert "no answer" in hang.what
    assert isinstance(crash, Found)
    assert "ZeroDivisionError" in crash.what
    assert fine is Verdict.ACCEPTED
    assert slow is Verdict.ACCEPTED, "a machine that is busy with something else is no hang"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ("a -> b, a/hooks", "goes through the link"),
        ("a -> .slipway, a/hooks", "what is ours"),
        ("b -> ., a -> b/.slipway", "what is ours"),
        ("b -> ./b/", "round in circles"),
        ("d/e/l -> ../../x, h = d/e/l", "out of the tree"),
        ("h = .slipway/hooks", "takes a name that Slipway uses"),
        ("p/q -> ., p/l -> q/../..", "out of the tree"),
    ],
)
def test_links_that_fuzzing_found(files: str, told: str, tmp_path: Path) -> None:
    """Each of these wrote into .slipway, whose hooks run as root, or kept the host busy for ever."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for part in ("f", *files.split(", ")):
            name, _, target = part.partition(" -> ") if " -> " in part else part.partition(" = ")
            info = tarfile.TarInfo(name)
            info.linkname = target
            info.type = tarfile.SYMTYPE if " -> " in part else tarfile.LNKTYPE if target else tarfile.REGTYPE
            tar.addfile(info)
    archives = Archives(tmp_path)
    assert archives.judge([b"none\n" + buffer.getvalue()]) == [Verdict.REFUSED]
    assert told in archives.last_answer


def test_a_member_that_the_listing_hides(tmp_path: Path) -> None:
    """tar --list skips as much as a link's size says, tar --extract does not: what is behind it was unchecked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("f"))
        link = tarfile.TarInfo("l")
        link.type, link.linkname, link.size = tarfile.SYMTYPE, "f", 1
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(".slipway/hooks"))
    archives = Archives(tmp_path)
    assert archives.judge([b"none\n" + buffer.getvalue()]) == [Verdict.REFUSED]
    assert "size that only files have" in archives.last_answer
