"""The last lines that this machine has seen: what is written must be found again, and losing it must hurt nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import playbooks.fleet.script as scripts
from playbooks.core.errors import BadAnswer
from playbooks.ledger.heads import Head, Heads, head_written, heads_path
from playbooks.ledger.seal import head_of
from playbooks.steps.finish import read_appended
from playbooks.steps.ledger import Ledger
from playbooks.verify_history import read_heads
from tests.unit.test_ledger import append

HEAD = Head("0" * 32, "1" * 64, 120, 80, "2026-11-21T04:31:00Z", "deploy 1")


def test_what_is_kept_is_known_again(tmp_path: Path) -> None:
    """Two tasks at once must not take from each other what they have seen; another machine has another ledger."""
    path = tmp_path / "state" / "heads.json"
    one, other = Heads(path), Heads(path)
    assert one.known("app1", "key1") is None
    one.keep({"app1": ("key1", HEAD)})
    other.keep({"app2": ("key2", HEAD)})
    again = Heads(path)
    assert again.known("app1", "key1") == again.known("app2", "key2") == HEAD
    assert again.known("app1", "key9") is None, "set up anew, with a host key of its own"
    assert again.known("app1", "") is None
    again.keep({"app1": ("key1", None)})
    assert Heads(path).known("app1", "key1") is None
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"app1": {}}', '{"app1": {"machine": "k", "digest": "$(reboot)"}}'])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    """What only helps must not end a deploy; nor may it reach a host as it is."""
    path = tmp_path / "heads.json"
    path.write_text(text)
    heads = Heads(path)
    assert heads.known("app1", "k") is None
    heads.keep({"app1": ("k", HEAD)})
    assert heads.known("app1", "k") == HEAD


@pytest.mark.parametrize("change", [{"offset": "1;reboot"}, {"prev": "x"}, {"length": 10**9}, {"offset": -1}])
def test_what_a_host_is_asked_for_is_numbers(tmp_path: Path, change: dict[str, object]) -> None:
    """These words become arguments of a script."""
    path = tmp_path / "heads.json"
    Heads(path).keep({"app1": ("k", HEAD)})
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({"app1": {**kept["app1"], **change}}))
    assert Heads(path).known("app1", "k") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    """A CI runner may have no home."""
    (tmp_path / "file").write_text("")
    heads = Heads(tmp_path / "file" / "heads.json")
    heads.keep({"app1": ("k", HEAD)})
    assert Heads(tmp_path / "file" / "heads.json").known("app1", "k") is None


def test_each_inventory_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkouts may call different fleets the same."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = {heads_path("shop", "production", tmp_path / name) for name in ("one", "two")}
    assert len(found) == 2 and all(path.is_relative_to(tmp_path / "slipway") for path in found)


@pytest.mark.parametrize("torn", [False, True])
def test_a_step_tells_which_line_it_has_written(tmp_path: Path, torn: bool) -> None:
    """A head that is not the line's would be missed at the next deploy: a false alarm on every host."""
    path, record = tmp_path / "ledger", '{"host": "app1", "task": "deploy", "id": "ü", "started": "t"}'
    append(tmp_path, record)
    if torn:
        path.write_bytes(path.read_bytes()[:-9])
    said = append(tmp_path, record)
    head = read_appended(scripts.parse("app1", "finish", said.stdout.encode(), 0.0), record)
    assert head is not None and (head.at, head.what) == ("t", "deploy ü")
    line = path.read_bytes()[head.offset :]
    assert (head.digest, head.length) == (head_of(line), len(line))
    assert line.startswith(f'{{"prev":"{head.prev}"'.encode())
    for bad in ("appended\tx\t\t0\n", "appended\tstart\tx\t0\n", "appended\tstart\t\tx\n"):
        with pytest.raises(BadAnswer):
            read_appended(scripts.parse("app1", "finish", bad.encode(), 0.0), record)


def test_a_signed_record_is_written_once(tmp_path: Path) -> None:
    """A step whose answer was lost with the power is begun again: two of one signed record look like a replay."""
    signed = '{"host": "app1", "id": "1", "signature": "x"}'
    assert "appended" in append(tmp_path, signed).stdout
    assert append(tmp_path, signed).stdout == ""
    assert len((tmp_path / "ledger").read_bytes().splitlines()) == 1
    (tmp_path / "ledger").write_bytes((tmp_path / "ledger").read_bytes()[:-3])
    assert "appended" in append(tmp_path, signed).stdout, "what is torn is not there"


def test_the_end_of_a_ledger_tells_what_is_gone_from_it() -> None:
    """history reads the end only: what stands before that is not missed, what should be in it is."""
    seen = head_written('{"a":1}', "start", "", 1000, "t", "deploy 1")
    there = frozenset({seen.digest})
    assert not Ledger((), (), 5000, 900, there).lacks(seen)
    assert not Ledger((), (), 5000, 2000, frozenset()).lacks(seen), "further back than what was read"
    assert Ledger((), (), 5000, 900, frozenset()).lacks(seen)
    assert Ledger((), (), 1000, 0, frozenset()).lacks(seen)


def test_heads_are_read_from_whatever_they_were_written_in(tmp_path: Path) -> None:
    """A person keeps the JSON, or a line in a ticket."""
    one, two = "a" * 32, "b" * 32
    (tmp_path / "note").write_text(f'{{"hosts": [{{"head": "{one}"}}, {{"head": "{two}"}}], "sha256": "{"c" * 64}"}}')
    assert read_heads(str(tmp_path / "note")) == read_heads(f"{one},{two}") == [one, two]
    with pytest.raises(Exception, match="expected heads"):
        read_heads("none")
