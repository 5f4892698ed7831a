"""Prove a fleet's ledgers: each record by its signature, and each ledger by the heads in other ledgers.

A signed record names the last line of every ledger that its task has seen (its *heads*). So nobody can change, add or
remove lines before a head without a trace, on any host; and an unsigned line after a head was added later.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playbooks.ledger.chain import MAX_FAULTS, Fault
from playbooks.ledger.heads import Head
from playbooks.ledger.index import RecordKey, key_of
from playbooks.ledger.keys import shown
from playbooks.ledger.seal import NO_LINE, SIGNATURE, content
from playbooks.ledger.standing import RecordVerdict, Standing, Verifier, is_minor

_DIGEST = re.compile(r"[0-9a-f]{32}")
MAX_SAID = 300  # characters of a record that are shown
MAX_TOLD = 4000  # of one that a person is asked about; one of 20 hosts has some 1000
_TOLD = ("id", "task", "version", "status", "by", "started", "reason", "hosts")


@dataclass(frozen=True)
class Suspect:
    """A record that no signer has signed.

    Args:
        key: the record's key.
        line: its line.
        digest: the hash of its content, in hex.
        judged: its standing.
        said: its content in a person's words.
        minor: see `is_minor`.
    """

    key: RecordKey
    line: int
    digest: str
    judged: RecordVerdict
    said: str
    minor: bool


@dataclass
class _Host:
    """The records of one ledger."""

    lines: dict[str, int] = field(default_factory=dict)
    signed: set[bytes] = field(default_factory=set)
    first: int | None = None  # the first line with a signer's signature
    suspects: list[Suspect] = field(default_factory=list)
    replayed: list[Fault] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    anew: str = ""  # the last time a repair began it anew; older heads are not expected
    keys: Counter[str] = field(default_factory=Counter)
    unsigned: int = 0
    by_host: int = 0


class Proof:
    """Collects the records of all hosts, and then finds their faults. Threads may share it.

    Args:
        hosts: the hosts' names.
        verifier: checks signatures.
        required: whether an unsigned record is a fault.
    """

    def __init__(self, hosts: Iterable[str], verifier: Verifier, *, required: bool) -> None:
        self.verifier = verifier
        self._required = required
        self._hosts = {host: _Host() for host in hosts}
        # By host: the heads that signed records name, each with the time and the id of the last such record.
        self._pins: dict[str, dict[str, tuple[str, str]]] = {}
        self._pinned: set[bytes] = set()
        self._guard = threading.Lock()
        # Results over all records, which are cleared when another record comes.
        self._from: dict[str, float] = {}
        self._old: frozenset[str] | None = None

    def add(self, host: str, line: int, head: str, record: Mapping[str, Any], digest: bytes) -> RecordVerdict:
        """Add a record.

        Args:
            host: the record's host.
            line: counted from 1.
            head: the line's hash; see `head_of`.
            record: the record on that host.
            digest: the hash of its content.

        Returns:
            Its standing.
        """
        one, judged = self._hosts[host], self.verifier.judge(host, record, digest)
        self._from, self._old = {}, None
        one.lines[head] = line
        if judged.key is not None:
            one.keys[shown(judged.key)] += 1
        one.unsigned += judged.standing is Standing.UNSIGNED
        one.by_host += judged.by_host
        if judged.trusted:
            self._trust(host, line, record, digest, judged)
        elif self.verifier.believes or judged.standing is Standing.BROKEN:
            suspect = Suspect(key_of(record), line, digest.hex(), judged, tell(record), is_minor(record))
            one.suspects.append(suspect)
        return judged

    def _trust(self, host: str, line: int, record: Mapping[str, Any], digest: bytes, judged: RecordVerdict) -> None:
        one, key = self._hosts[host], key_of(record)
        if digest in one.signed:
            one.replayed.append(Fault(line, "replayed", _twice(line, key)))
            return
        one.signed.add(digest)
        one.first = line if one.first is None else one.first
        if judged.by_host:
            return
        if record.get("task") == "repair":
            one.accepted.update(map(str, _list(record.get("accepted"))))
            if host in _list(record.get("anew")):
                one.anew = max(one.anew, key.started)
        with self._guard:
            if digest not in self._pinned:  # many hosts have the same record
                self._pinned.add(digest)
                self._pin(record.get("heads"), key)

    def _pin(self, heads: object, key: RecordKey) -> None:
        for name, head in heads.items() if isinstance(heads, dict) else ():
            if isinstance(head, str) and (head == NO_LINE or _DIGEST.fullmatch(head)):
                pins = self._pins.setdefault(name, {})
                pins[head] = max(pins.get(head, ("", "")), (key.started, str(key)))

    def signs(self, host: str) -> bool:
        """Return whether a signed record of this host was added already."""
        return self._hosts[host].first is not None

    def forget(self, host: str) -> None:
        """Ignore a host whose ledger could not be read completely."""
        self._hosts.pop(host, None)

    def has(self, head: str) -> bool:
        """Return whether a ledger has a line with this hash."""
        return any(head in one.lines for one in self._hosts.values())

    def counts(self, host: str) -> tuple[dict[str, int], int, int]:
        """Count a host's records: by signer, unsigned, and those that it wrote alone."""
        one = self._hosts[host]
        return dict(one.keys.most_common(MAX_FAULTS)), one.unsigned, one.by_host

    def gone(self, host: str) -> list[Fault]:
        """Return heads that signed records name for a host, and that its ledger lacks."""
        one = self._hosts[host]
        lost = sorted(
            (seen for head, seen in self._pins.get(host, {}).items() if not self._holds(one, head, seen[0])),
            reverse=True,
        )
        return [
            Fault(None, "heads", f"what stood there before {label} was cut off or rewritten")
            for _, label in lost[:MAX_FAULTS]
        ]

    def lost(self, host: str, seen: Head) -> Fault | None:
        """Return the newest line that this machine has seen in a host's ledger, if it is gone.

        Args:
            host: the host.
            seen: the newest known line.
        """
        one = self._hosts[host]
        if self._holds(one, seen.digest, seen.at):
            return None
        return Fault(None, "seen", f"{seen}, is gone: it was cut off or rewritten since")

    @staticmethod
    def _holds(one: _Host, head: str, when: str) -> bool:
        return head == NO_LINE or head in one.lines or when < one.anew

    def suspects(self, host: str) -> list[Suspect]:
        """Return a host's records that a person must judge, oldest first."""
        after, legacy, one = self._since(host), self.legacy(), self._hosts[host]
        return [
            suspect
            for suspect in one.suspects
            if suspect.digest not in one.accepted
            and (
                suspect.judged.standing in (Standing.BROKEN, Standing.MISPLACED)
                or (self._required and not suspect.minor and suspect.line > after and suspect.digest not in legacy)
            )
        ]

    def standing_of(self, host: str, digests: Collection[str]) -> list[str]:
        """Return which of these contents are in question on a host."""
        return [suspect.digest for suspect in self.suspects(host) if suspect.digest in digests]

    def replayed(self, host: str) -> bool:
        """Return whether a signed record occurs twice in a host's ledger."""
        return bool(self._hosts[host].replayed or self._again(host))

    def _again(self, host: str) -> list[Fault]:
        """Return unsigned records that are old or accepted, and that were added a second time."""
        after, one = self._since(host), self._hosts[host]
        excused = self.legacy() | one.accepted
        seen: set[str] = set()
        found = []
        for suspect in one.suspects:
            if suspect.line > after and suspect.digest in seen & excused:
                found.append(Fault(suspect.line, "replayed", _twice(suspect.line, suspect.key)))
            seen.add(suspect.digest)
        return found

    def faults(self, host: str) -> list[Fault]:
        """Return the faults of a host's records, by signatures and by heads in other records."""
        told = [
            Fault(
                suspect.line, suspect.judged.standing.value, f"line {suspect.line}, {suspect.key}: {suspect.judged.why}"
            )
            for suspect in self.suspects(host)
        ]
        return [*told, *self._hosts[host].replayed, *self._again(host), *self.gone(host)]

    def _since(self, host: str) -> float:
        """Return the line after which a host's records must be signed, because a signed record names it as the head.

        If such a line is gone, the earlier content is unknown, so all records must be signed.
        """
        if host not in self._from:
            one, heads = self._hosts[host], self._pins.get(host, {})
            if one.anew or any(head not in one.lines for head in heads):
                self._from[host] = 0
            else:
                lines = [one.lines[head] for head in heads] + ([] if one.first is None else [one.first])
                self._from[host] = min(lines, default=float("inf"))
        return self._from[host]

    def legacy(self, hosts: Collection[str] | None = None) -> frozenset[str]:
        """Return the digests of records from before signatures; a repair may have copied them to other hosts.

        Args:
            hosts: the hosts to look at; default: all.
        """
        if hosts is None:
            self._old = self.legacy(self._hosts) if self._old is None else self._old
            return self._old
        found: set[str] = set()
        for host in hosts:
            after = self._since(host)
            found.update(suspect.digest for suspect in self._hosts[host].suspects if suspect.line <= after)
        return frozenset(found)

    def unsigned(self, host: str) -> frozenset[str]:
        """Return the digests of a host's records that no signer has signed and that are no fault."""
        bad = {suspect.digest for suspect in self.suspects(host)}
        return frozenset(suspect.digest for suspect in self._hosts[host].suspects) - bad


def _twice(line: int, key: RecordKey) -> str:
    return f"line {line} is {key} once more: a record was put in a second time"


def tell(record: Mapping[str, Any]) -> str:
    """Describe a record for a person, in short."""
    return _told(record)[:MAX_SAID]


def tell_all(record: Mapping[str, Any]) -> str:
    """Describe a record for a person who vouches for all of it: nothing is left out without saying so."""
    others = {name: value for name, value in content(record).items() if name not in (*_TOLD, SIGNATURE) or not value}
    if not isinstance(record.get("hosts"), dict) and "hosts" in record:
        others["hosts"] = record["hosts"]
    told = _told(record)
    if others:
        told += f", and {json.dumps(others, ensure_ascii=False, sort_keys=True)}"
    if len(told) <= MAX_TOLD:
        return told
    return f"{told[:MAX_TOLD]} (and {len(told) - MAX_TOLD} more characters, which nobody should accept unread)"


def _told(record: Mapping[str, Any]) -> str:
    hosts = record.get("hosts")
    named = ", ".join(f"{host}: {word}" for host, word in hosts.items()) if isinstance(hosts, dict) else ""
    parts = [
        f"version {record['version']}" if record.get("version") else "",
        str(record.get("status", "")),
        f"by {record['by']}" if record.get("by") else "",
        f"at {record['started']}" if record.get("started") else "",
        f"reason: {record['reason']}" if record.get("reason") else "",
        named,
    ]
    return ", ".join(part for part in parts if part)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
