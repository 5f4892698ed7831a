"""What the ledgers of a fleet prove together, whatever root does to one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.fleet.lock_owner import LockOwner
from playbooks.ledger.chain import Chain
from playbooks.ledger.index import LedgerIndex
from playbooks.ledger.proof import Proof
from playbooks.ledger.seal import HEAD_DIGITS, NO_LINE, Seal, TaskKey, digest
from playbooks.ledger.standing import Verifier

HOSTS = ("app1", "app2", "app3")
ANN, EVE = TaskKey(), TaskKey()
Contents = list[dict[str, Any]]


def lines(contents: Sequence[dict[str, Any]]) -> bytes:
    """A ledger with a whole chain."""
    written, tip = b"", "start"
    for each in contents:
        line = json.dumps({"prev": tip, **each}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        written, tip = written + line, hashlib.sha256(line).hexdigest()
    return written


@dataclass
class Fleet:
    """The records of three hosts."""

    ledgers: dict[str, Contents] = field(default_factory=lambda: {host: [] for host in HOSTS})

    def heads(self) -> dict[str, str]:
        last = {host: lines(contents).splitlines(keepends=True) for host, contents in self.ledgers.items()}
        return {
            host: hashlib.sha256(each[-1]).hexdigest()[:HEAD_DIGITS] if each else NO_LINE for host, each in last.items()
        }

    def write(self, number: int, key: TaskKey | None, hosts: Sequence[str] = HOSTS, **more: Any) -> dict[str, Any]:
        found = record(number, key, hosts, self.heads(), **more)
        for host in hosts:
            self.ledgers[host].append({"host": host, **found})
        return found


def record(
    number: int, key: TaskKey | None, hosts: Sequence[str] = HOSTS, heads: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    moment = f"2026-11-21T04:{number:02}:00Z"
    owner = LockOwner("ann@laptop", "deploy", moment, f"id{number}", "deploy")
    about = {"task": "deploy", "id": owner.id, "by": owner.who, "started": moment, "status": "done"}
    document = {**about, "hosts": dict.fromkeys(hosts, "deployed"), **more}
    return Seal("production", "shop", owner, key).record(document, heads)


@dataclass(frozen=True)
class Found:
    """What is wrong with each host."""

    faults: dict[str, list[str]]

    def on(self, host: str) -> list[str]:
        return self.faults[host]


def prove(ledgers: dict[str, Contents], *, signers: Sequence[TaskKey] = (ANN,), required: bool = True) -> Found:
    verifier = Verifier([str(key.public) for key in signers], environment="production", application="shop")
    proof, census = Proof(HOSTS, verifier, required=required), LedgerIndex(HOSTS)
    chains = {host: Chain() for host in HOSTS}
    for host, chain in chains.items():
        for found in chain.feed(lines(ledgers[host])):
            name, signs = digest(found), proof.signs(host)
            assert chain.last is not None
            judged = proof.add(host, chain.lines, chain.last.digest[:HEAD_DIGITS], found, name)
            trusted = judged.trusted and not judged.by_host
            census.add(host, found, name, trusted=trusted, counts=judged.trusted or not signs)
    return Found(
        {
            host: [
                *(fault.kind for fault in (*chains[host].faults, *proof.faults(host))),
                *("missing" for _ in census.lacks(host).missing),
                *("differs" for _ in census.differs(host)),
                *("alone" for _ in census.alone(host)),
            ]
            for host in HOSTS
        }
    )


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """Two records from before signatures, three deploys, one of them on one host alone."""
    made = Fleet()
    made.write(0, None)
    made.write(1, None)
    made.write(2, ANN)
    made.write(3, ANN, ["app3"])
    made.write(4, ANN)
    return made


def test_what_is_whole_has_no_fault(fleet: Fleet) -> None:
    """An alarm without a fire."""
    assert prove(fleet.ledgers).faults == {host: [] for host in HOSTS}
    assert prove(fleet.ledgers, signers=()).faults == {host: [] for host in HOSTS}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_root_on_one_host_changes_nothing_unseen_and_accuses_nobody(fleet: Fleet, data: st.DataObject) -> None:
    """Any number of changes to one host's records, with a chain made anew over them: that host fails, no other."""
    mine = [dict(each) for each in fleet.ledgers["app3"]]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(mine) - 1)))
        how = data.draw(st.sampled_from(("drop", "cut", "swap", "again", "change", "forge", "steal", "strip")))
        forged = record(data.draw(st.integers(0, 9)), EVE if how == "steal" else None, status="failed")
        if how in ("forge", "steal"):
            mine.insert(data.draw(st.integers(0, len(mine))), forged)
        elif not mine:
            continue
        elif how == "drop":
            del mine[place]
        elif how == "cut":
            del mine[place:]
        elif how == "swap":
            other = data.draw(st.integers(0, len(mine) - 1))
            mine[place], mine[other] = mine[other], mine[place]
        elif how == "again":
            mine.insert(data.draw(st.integers(0, len(mine))), mine[place])
        elif how == "change":
            mine[place] = {**mine[place], "status": data.draw(st.sampled_from(("done", "failed")))}
        else:
            mine[place] = {
                name: value for name, value in mine[place].items() if name not in ("signature", "delegation")
            }
    if mine == fleet.ledgers["app3"]:
        return
    found = prove({**fleet.ledgers, "app3": mine})
    assert found.on("app3"), mine
    assert (found.on("app1"), found.on("app2")) == ([], [])
    found = prove({**fleet.ledgers, "app3": mine}, signers=())
    assert (found.on("app1"), found.on("app2")) == ([], []), "nor where nobody signs"


def test_before_signers_are_set_nothing_is_asked_of_old_records() -> None:
    """Turning signatures on must not turn the history of years into faults."""
    old = Fleet()
    for number in range(4):
        old.write(number, EVE if number == 2 else None)
    assert prove(old.ledgers).faults == {host: [] for host in HOSTS}
    old.write(5, ANN)
    assert prove(old.ledgers).faults == {host: [] for host in HOSTS}
    old.write(6, None)
    assert prove(old.ledgers).faults == {host: ["unsigned"] for host in HOSTS}
    assert prove(old.ledgers, required=False).faults == {host: [] for host in HOSTS}


def test_a_host_that_was_not_there_when_it_was_turned_on_is_held_to_it() -> None:
    """A host with no signed record of its own would else be the place to forge on."""
    made = Fleet()
    made.write(0, None)
    made.write(1, ANN, ["app1", "app2"])
    made.write(2, None, ["app3"])
    assert prove(made.ledgers).faults == {"app1": [], "app2": [], "app3": ["unsigned"]}


def test_a_backup_that_was_interrupted_is_no_alarm(fleet: Fleet) -> None:
    """Cron backs up without an agent, and dies with the machine it runs on: its host writes that down by itself."""
    left = {"task": "backup", "id": "b", "status": "interrupted", "started": "2026", "hosts": {"app1": "interrupted"}}
    found = prove({**fleet.ledgers, "app1": [*fleet.ledgers["app1"], left]})
    assert found.on("app1") == []
    found = prove({**fleet.ledgers, "app1": [*fleet.ledgers["app1"], {**left, "task": "deploy"}]})
    assert found.on("app1") == ["unsigned"]


@pytest.mark.parametrize("signed", [True, False])
def test_a_repair_begins_a_ledger_anew_but_vouches_for_nothing_in_it(fleet: Fleet, signed: bool) -> None:
    """Heads from before it are not looked for any more: else nothing could be mended; nor may it let a forgery in."""
    moment = "2026-11-21T05:00:00Z"
    owner = LockOwner("ann@laptop", "history --repair", moment, "r", "repair")
    seal = Seal("production", "shop", owner, ANN if signed else None)
    about = {"task": "repair", "id": "r", "by": owner.who, "started": moment, "hosts": {"app3": "repaired"}}
    done = seal.record({**about, "anew": ["app3"], "accepted": []}, {**fleet.heads(), "app3": NO_LINE})
    copies = [{**each, "repaired_from": "app1"} for each in fleet.ledgers["app3"]]
    assert (prove({**fleet.ledgers, "app3": [done, *copies]}).on("app3") == []) == signed
    forged = prove({**fleet.ledgers, "app3": [done, *copies, record(9, None)]})
    assert "unsigned" in forged.on("app3")
    assert forged.on("app1") == []
