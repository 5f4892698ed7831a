"""Which host has which record, and which should: what one ledger alone cannot show (A9)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from playbooks.steps.chain import OWN

# What a record says of a host that had no part in it, or could not be written to.
APART = frozenset({"unchanged"})
OUT_OF_REACH = frozenset({"unreachable", "untouched"})


class Key(NamedTuple):
    """What tells records apart."""

    started: str
    id: str
    task: str

    def __str__(self) -> str:
        return f"{self.task} {self.id}"


def key_of(record: Mapping[str, Any]) -> Key:
    """The key of a record; records of one deploy or rollback have the same on every host."""
    return Key(*(str(record.get(name, ""))[:100] for name in Key._fields))


@dataclass(slots=True)
class _Entry:
    """Hosts as bits: a record costs the same on three hosts as on a hundred."""

    digest: bytes = b""  # of the first that speaks for several hosts
    have: int = 0
    same: int = 0  # of those that have it, the ones where it is just that
    other: int = 0  # and those where it speaks for several hosts and says something else
    should: int = 0
    could: int = 0


@dataclass(frozen=True)
class Lacks:
    """Records that a host lacks.

    Args:
        missing: it took part, so it had them or should have.
        never_had: it was out of reach, or nothing was done to it.
    """

    missing: Sequence[Key]
    never_had: Sequence[Key]


class Census:
    """All hosts' records, one small entry each. Threads may share it.

    Args:
        hosts: whose ledgers are read.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._bits = {host: 1 << number for number, host in enumerate(hosts)}
        self._entries: dict[Key, _Entry] = {}
        self._guard = threading.Lock()

    def add(self, host: str, record: Mapping[str, Any]) -> None:
        """Count a record that stands on a host."""
        digest, stands = _digest(record), record.get("hosts")
        named = stands if isinstance(stands, dict) else {}
        with self._guard:
            entry = self._entries.setdefault(key_of(record), _Entry())
            entry.have |= self._bits[host]
            # Of its own doings a host may tell in its own words: that it was lost in the middle, for one.
            if len(named) > 1:
                entry.digest = entry.digest or digest
                if digest == entry.digest:
                    entry.same |= self._bits[host]
                else:
                    entry.other |= self._bits[host]
            for name, word in named.items():
                bit, result = self._bits.get(name, 0), str(word)
                if result in OUT_OF_REACH:
                    entry.could |= bit
                elif result not in APART:
                    entry.should |= bit

    def forget(self, host: str) -> None:
        """A host whose ledger could not be read to its end: nothing is said of it."""
        bit = self._bits.pop(host)
        for entry in self._entries.values():
            for name in ("have", "same", "other", "should", "could"):
                setattr(entry, name, getattr(entry, name) & ~bit)

    def lacks(self, host: str, *, apart: Collection[str] = (), anew: bool = False) -> Lacks:
        """What a host lacks of what the others have, oldest first.

        Args:
            host: which.
            apart: hosts whose word does not count: their chain is broken.
            anew: as if it had none.
        """
        own = self._bits[host]
        held = 0 if anew else own
        trusted = self._mask(set(self._bits) - set(apart))
        lacking = {key: entry for key, entry in self._entries.items() if entry.have & trusted and not entry.have & held}
        missing = sorted(key for key, entry in lacking.items() if entry.should & own)
        never_had = sorted(key for key, entry in lacking.items() if entry.could & ~entry.should & own)
        return Lacks(missing, never_had)

    def differs(self, host: str) -> list[Key]:
        """Records that say something else on this host than on most."""
        own = self._bits[host]
        return sorted(key for key, entry in self._entries.items() if entry.other and _odd(entry) & own)

    def holders(self, key: Key, *, apart: Collection[str] = ()) -> list[str]:
        """Hosts that have a record and whose word counts, in order."""
        entry = self._entries[key]
        return [host for host, bit in self._bits.items() if entry.have & bit and host not in apart]

    def only(self, hosts: Collection[str]) -> list[Key]:
        """Records that stand nowhere but on these hosts."""
        others = ~self._mask(hosts)
        return sorted(key for key, entry in self._entries.items() if entry.have and not entry.have & others)

    def _mask(self, hosts: Collection[str]) -> int:
        return sum(self._bits.get(host, 0) for host in hosts)


def _digest(record: Mapping[str, Any]) -> bytes:
    same = {name: value for name, value in record.items() if name not in OWN}
    try:
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).digest()[:16]
    except RecursionError:
        return b"nested too deep"


def _odd(entry: _Entry) -> int:
    """The hosts in the minority; all of them when there is none."""
    first, other = entry.same, entry.other
    if first.bit_count() == other.bit_count():
        return first | other
    return first if first.bit_count() < other.bit_count() else other
