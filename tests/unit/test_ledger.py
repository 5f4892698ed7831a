"""The ledger's chain and its comparison between hosts, against the very script that writes it (A9)."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import playbooks.fleet.script as scripts
from playbooks.core.errors import BadAnswer
from playbooks.fleet.script import load
from playbooks.history import merge
from playbooks.ledger.chain import LONGEST, Chain, read_record
from playbooks.ledger.index import LedgerIndex, key_of
from playbooks.ledger.seal import digest
from playbooks.steps.ledger import CHUNK, Ledger, read_piece

SCRIPT = load("lib/append")
APPEND = f"{SCRIPT.prelude}\n{SCRIPT.body}"
Lines = list[bytes]


def append(state: Path, record: str) -> subprocess.CompletedProcess[str]:
    """Append with append.sh itself."""
    script = f'{APPEND}\nappend_record "$1" "$2"'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(state), record], capture_output=True, text=True, check=False
    )


def record(number: int, **more: Any) -> dict[str, Any]:
    stands = {"hosts": {"app1": "deployed", "app2": "deployed"}}
    return {"id": f"id{number}", "task": "deploy", "started": f"2026-11-21T04:{number:02}:00Z", **stands, **more}


def write(state: Path, count: int, first: int = 0) -> Path:
    for number in range(first, first + count):
        done = append(state, json.dumps(record(number), ensure_ascii=False))
        assert done.returncode == 0, done.stdout
    return state / "ledger"


def read(data: bytes, chunk: int = 7) -> tuple[Chain, list[dict[str, Any]]]:
    """Feed a chain in small pieces, as a slow line would."""
    chain = Chain()
    records = [one for start in range(0, len(data), chunk) for one in chain.feed(data[start : start + chunk])]
    return chain, records


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    path = write(tmp_path_factory.mktemp("ledger"), 8)
    return path.read_bytes().splitlines(keepends=True)


def test_what_the_script_writes_the_reader_proves(ledger: Lines) -> None:
    """A reader stricter than the writer would call every honest ledger tampered."""
    chain, records = read(b"".join(ledger))
    assert (chain.faults, chain.tampered, chain.lines, len(records)) == ((), False, 8, 8)


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], str, int]] = {
    "a byte changed": (lambda x: [*x[:3], x[3].replace(b"id3", b"id9"), *x[4:]], "changed", 4),
    "a byte that makes it no JSON": (lambda x: [*x[:3], x[3].replace(b'"id3"', b'"id3'), *x[4:]], "record", 4),
    "a line taken out": (lambda x: [*x[:3], *x[4:]], "changed", 3),
    "the first line taken out": (lambda x: x[1:], "start", 1),
    "two lines swapped": (lambda x: [*x[:3], x[4], x[3], *x[5:]], "order", 4),
    "a line copied in": (lambda x: [*x[:4], x[3], *x[4:]], "order", 5),
    "a forged line put in": (
        lambda x: [*x[:4], x[4].replace(b"id4", b"id77"), *x[4:]],
        "order",
        6,
    ),
    "garbage put in": (lambda x: [*x[:4], b"\xff\x00garbage\n", *x[4:]], "record", 5),
    "another file": (lambda _: [bytes(range(256)) * 20, b"\n"], "record", 1),
    "a prev written twice": (lambda x: [*x[:3], x[3].replace(b'"id":', b'"prev":"start","id":'), *x[4:]], "changed", 4),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_tampering_shows_with_its_line(ledger: Lines, how: str) -> None:
    """A change that does not show, or shows elsewhere, leaves a person with nothing to go by."""
    tamper, kind, line = TAMPERINGS[how]
    chain, _ = read(b"".join(tamper(ledger)))
    assert chain.tampered
    assert (chain.faults[0].kind, chain.faults[0].line) == (kind, line), chain.faults


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_single_byte_can_be_changed(ledger: Lines, data: st.DataObject) -> None:
    """Whatever byte of whatever line but the last is changed to whatever, it shows. (The last has no successor: there
    the other hosts' copies show it.)"""
    whole = bytearray(b"".join(ledger[:-1]))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    assert read(bytes(whole) + ledger[-1], chunk=500)[0].tampered


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_torn_line_is_closed_and_hides_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Torn anywhere, twice in a row even: the chain holds afterwards, and what stood before still cannot be changed."""
    state = tmp_path_factory.mktemp("torn")
    path = write(state, 3)
    whole = path.read_bytes()
    cut = data.draw(st.integers(len(whole.splitlines(keepends=True)[0]), len(whole) - 1))
    zeros = data.draw(st.sampled_from([b"", b"\0" * 9, b"\0\n"]))  # some file systems leave those
    path.write_bytes(whole[:cut] + zeros)
    before, _ = read(path.read_bytes())
    write(state, 1, first=7)
    chain, records = read(path.read_bytes())
    assert chain.faults == ()
    assert records[-1]["id"] == "id7"
    if zeros or before.faults:
        assert records[-1]["healed"] is True
        assert chain.torn >= 1
    # Again, on top of it.
    path.write_bytes(path.read_bytes()[:-5])
    write(state, 1, first=8)
    healed = path.read_bytes()
    assert read(healed)[0].faults == ()
    assert read(healed.replace(b'"id0"', b'"id5"'))[0].tampered
    assert read(b"".join(healed.splitlines(keepends=True)[1:]))[0].tampered
    torn = healed.index(b" #torn")
    assert read(healed[: torn - 1] + b"!" + healed[torn:])[0].tampered, "torn bytes are covered, too"


def test_a_record_that_is_not_one_line_is_refused(tmp_path: Path) -> None:
    """A newline in a record would be two lines, the second without a hash."""
    for bad in ('{"a":\n1}', "[]", "{}", ""):
        assert "error\trecord" in append(tmp_path, bad).stdout
    assert not (tmp_path / "ledger").exists()


def test_writers_at_the_same_time_make_one_chain(tmp_path: Path) -> None:
    """A guard's undo and a deploy's record may write at once; a fork in the chain would look like tampering."""
    script = f'{APPEND}\nfor i in 1 2 3 4 5; do append_record "$1" "{{\\"n\\":$i}}"; done'
    writers = [subprocess.Popen(["/bin/sh", "-c", script, "sh", str(tmp_path)]) for _ in range(6)]
    assert [writer.wait() for writer in writers] == [0] * 6
    chain, records = read((tmp_path / "ledger").read_bytes())
    assert (chain.faults, len(records)) == ((), 30)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000))
def test_any_bytes_are_read_in_bounded_memory(data: bytes) -> None:
    """A hostile host's ledger must not end the controller, nor fill it."""
    chain, _ = read(data, chunk=100)
    assert chain.lines == data.count(b"\n")
    assert all(fault.sentence for fault in chain.faults)


def test_a_line_without_end_is_not_kept() -> None:
    """A file of zeros, of any size, must cost no more than one line may."""
    chain = Chain()
    for _ in range(64):
        assert list(chain.feed(b"\0" * LONGEST)) == []
        assert len(chain._rest) <= LONGEST
    assert chain.faults[0].kind == "torn"


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 5000,
        b'{"a":1}',
        b'{"prev":"start","a":' + b"9" * 6000 + b"}",
        b'{"prev":"start","a":"\\ud800"}',
        b'{"prev":"x","a":1}',
        b'{"prev":"start","a":"\xed\xa0\x80"}',
        b'{"prev":"start","a":NaN}',
        b'{"prev":"start","a":1e999}',
        b'{"prev":"start","a":' + b"9" * 400 + b"}",
        b'{"prev":"start","a":' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_what_is_no_record_is_none(line: bytes) -> None:
    """Each of these has ended a JSON reader, or the printing of what it read, in a traceback."""
    assert read_record(line + b"\n") is None


@pytest.mark.parametrize(
    "said",
    [
        gzip.compress(b"\0" * (64 * CHUNK), mtime=0),  # 64 times what was asked for, in a few bytes
        gzip.compress(b"{}\n", mtime=0)[:-9],
        b"no gzip",
    ],
)
def test_a_hostile_host_cannot_fill_the_controller(said: bytes) -> None:
    """What unpacks without end, or not at all, is told as nonsense before it is in memory."""
    answer = scripts.parse("app1", "ledger", b"size\t9\nbytes\t" + base64.b64encode(said) + b"\n", 0.0)
    with pytest.raises(BadAnswer, match="app1"):
        read_piece(answer)
    for bad in (b"size\t9\nbytes\t!!\n", b"size\tmany\nbytes\t\n", b"size\t9\n"):
        with pytest.raises(BadAnswer, match="app1"):
            read_piece(scripts.parse("app1", "ledger", bad, 0.0))


def census(**ledgers: list[dict[str, Any]]) -> LedgerIndex:
    made = LedgerIndex(list(ledgers))
    for host, records in ledgers.items():
        for one in records:
            made.add(host, one, digest(one))
    return made


def test_a_cut_tail_shows_in_the_others() -> None:
    """A ledger cut at its end, or emptied, has a perfect chain."""
    stands = {"hosts": dict.fromkeys(("app1", "app2", "app3"), "deployed")}
    made = census(app1=[record(1, **stands), record(2, **stands)], app2=[record(1)], app3=[record(1), record(2)])
    assert made.lacks("app2").missing == [key_of(record(2))]
    assert made.lacks("app1").missing == []
    assert made.alone("app1") == []
    assert made.lacks("app1", apart={"app1"}, anew=True).missing == [key_of(record(1))]


@pytest.mark.parametrize("others", [("app2",), ("app2", "app3")])
def test_what_few_hosts_have_accuses_only_them(others: tuple[str, ...]) -> None:
    """A record that was put in on one host made the honest ones look as if they had lost it."""
    stands = {"hosts": dict.fromkeys(("app1", *others), "deployed")}
    made = census(app1=[record(1, **stands)], **{host: [] for host in others})
    assert made.alone("app1") == [key_of(record(1))]
    assert not made.is_firm(key_of(record(1)))
    for host in others:
        assert (made.lacks(host).missing, made.alone(host)) == ([], [])


def test_what_is_vouched_for_is_believed_wherever_it_stands() -> None:
    """Cut off on all hosts but one, a signed record shows where it was cut, whatever else calls itself the same."""
    made = LedgerIndex(["app1", "app2", "app3"])
    stands = {"hosts": dict.fromkeys(("app1", "app2", "app3"), "deployed")}
    forged, true = record(1, by="me", **stands), record(1, **stands)
    for host, one, trusted in (("app1", forged, False), ("app2", forged, False), ("app3", true, True)):
        made.add(host, one, digest(one), trusted=trusted)
    assert (made.differs("app1"), made.differs("app3")) == ([key_of(true)], [])
    assert made.owners(key_of(true))[0] == "app3"
    assert made.is_believed(key_of(true), digest(true))
    assert not made.is_believed(key_of(true), digest(forged))


@pytest.mark.parametrize("hosts", [("app1", "app2"), ("app2", "app1")])
def test_what_hosts_tell_differently_is_spread_by_nobody(hosts: tuple[str, ...]) -> None:
    """One of two changed its record, and was read first: a third that had lost it was given the forgery."""
    stands = {"hosts": dict.fromkeys(("app1", "app2", "app3"), "deployed")}
    true, forged = record(1, **stands), record(1, by="eve", **stands)
    told = {"app1": [forged], "app2": [true]}
    made = census(**{host: told[host] for host in hosts}, app3=[])
    key = key_of(true)
    assert (made.lacks("app3").missing, made.is_firm(key), made.is_disputed(key)) == ([key], False, True)
    assert made.differs("app1") == made.differs("app2") == [key]
    # With a third that has it as it was, two are enough, whoever is read first.
    made = census(**{host: told[host] for host in hosts}, app3=[true], app4=[])
    assert made.is_firm(key)
    assert (made.is_believed(key, digest(true)), made.is_believed(key, digest(forged))) == (True, False)
    assert (made.differs("app1"), made.differs("app2"), made.differs("app3")) == ([key], [], [])
    assert made.owners(key)[-1] == "app1"


@pytest.mark.parametrize("several", [True, False])
def test_one_host_does_not_say_who_should_have_the_others_records(several: bool) -> None:
    """Called the same, it named hosts that had no part: then most of "its" hosts lacked it, and the honest FAILED."""
    true = record(1, hosts=dict.fromkeys(("app1", "app2", "app3"), "deployed"))
    more = [f"app{number}" for number in range(4, 10)]
    words = [more] if several else [[host] for host in more]
    forged = [record(1, by="eve", hosts=dict.fromkeys(hosts, "deployed")) for hosts in words]
    made = census(app1=[*forged, true], app2=[true], app3=[true], **{host: [] for host in more})
    key = key_of(true)
    assert [made.alone(host) for host in ("app2", "app3", *more)] == [[]] * 8
    assert (made.is_firm(key), made.differs("app2"), made.lacks("app4").missing) == (True, [], [])


def test_a_host_that_had_no_part_is_not_accused() -> None:
    """A host that was down then has no record of it; to call that tampering would teach people to ignore the word."""
    stands = {"hosts": {"app1": "deployed", "app2": "unreachable", "app3": "unchanged"}}
    lacks = census(app1=[record(1, **stands)], app2=[], app3=[])
    assert (lacks.lacks("app2").missing, lacks.lacks("app2").never_had) == ([], [key_of(record(1))])
    assert (lacks.lacks("app3").missing, lacks.lacks("app3").never_had) == ([], [])


def test_a_ledger_rewritten_with_a_chain_of_its_own_shows_in_the_others() -> None:
    """Who is root on one host can compute every hash anew, but not on the others."""
    odd = {**record(1), "by": "nobody@nowhere"}
    assert census(app1=[record(1)], app2=[odd], app3=[record(1)]).differs("app2") == [key_of(odd)]
    assert census(app1=[odd], app2=[record(1)], app3=[record(1)]).differs("app1") == [key_of(odd)]
    copy = {**record(1), "prev": "x", "host": "app2", "repaired_from": "app1", "healed": True}
    assert census(app1=[record(1)], app2=[copy]).differs("app2") == []


@pytest.mark.parametrize("first", ["app1", "app2"])
def test_a_host_that_was_lost_in_the_middle_is_not_accused(first: str) -> None:
    """It says 'interrupted' where the others say how it ended; that was called tampering if it was read first."""
    lost = {**record(1, status="interrupted"), "hosts": None}
    made = census(
        **({"app1": [lost], "app2": [record(1)]} if first == "app1" else {"app2": [record(1)], "app1": [lost]})
    )
    assert (made.differs("app1"), made.differs("app2")) == ([], [])


def test_what_only_a_tampered_ledger_says_counts_for_nothing() -> None:
    """A forged record must not make the honest hosts look as if they had lost it."""
    assert census(app1=[record(9)], app2=[]).lacks("app2", apart={"app1"}).missing == []
    assert census(app1=[record(9)], app2=[]).only(["app1"]) == [key_of(record(9))]


def test_how_a_task_ended_takes_the_place_of_its_beginning() -> None:
    """It is written down twice, before it begins and when it has ended: two records, and one line of the history."""
    begun, ended = record(1, status="begun"), record(1, status="failed")
    (told,) = merge({"app1": Ledger((begun, ended), ()), "app2": Ledger((begun,), ())})
    assert told["status"] == "failed"
    (told,) = merge({"app1": Ledger((begun,), ())})
    assert told["status"] == "begun"
    made = census(app1=[begun, ended], app2=[begun], app3=[begun, ended])
    assert (made.lacks("app2").missing, made.differs("app1"), made.differs("app2")) == ([key_of(ended)], [], [])


def test_history_shows_a_copied_record_once() -> None:
    """A repair that doubled the history would be worse than the gap."""
    own, copy = {**record(1), "host": "app1"}, {**record(1), "host": "app2", "repaired_from": "app1", "prev": "y"}
    (merged,) = merge({"app1": Ledger((own,), ()), "app2": Ledger((copy,), ())})
    assert merged == record(1)


def test_a_time_in_another_form_is_not_always_the_newest() -> None:
    """As text a week's name is after every date of its year: a host hid all other records behind its own."""
    week = {**record(1), "started": "2026-W01-1T00:00:00+00:00", "id": "old"}
    day = {**record(1), "started": "2026-11-20T00:00:00Z", "id": "new"}
    told = merge({"app1": Ledger((day,), ()), "app2": Ledger((week,), ())})
    assert [one["id"] for one in told] == ["new", "old"]


def test_tasks_of_one_second_are_in_the_order_of_the_ledger_that_has_both() -> None:
    """Ids of one second are in no order: history said that a command came before the one that it followed."""

    def on(*ids: str) -> Ledger:
        return Ledger(tuple({**record(1), "id": one} for one in ids), ())

    told = merge({"app1": on("b", "c"), "app2": on("c", "a")})
    assert [one["id"] for one in told] == ["a", "c", "b"]
    told = merge({"app1": on("b", "a"), "app2": on("a", "b")})
    assert [one["id"] for one in told] == ["b", "a"], "ledgers that disagree decide nothing"
