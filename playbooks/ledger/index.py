"""Which host has which record, and which host should have it; one ledger alone cannot show that (A9)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playbooks.core.states import TaskStatus

# What a record says of a host that had no part in it, or could not be written to.
APART = frozenset({"unchanged"})
OUT_OF_REACH = frozenset({"unreachable", "untouched"})


class RecordKey(NamedTuple):
    """What tells records apart.

    Args:
        begun: `TaskStatus.BEGUN` for a record that only says that its task has begun; else nothing.
    """

    started: str
    id: str
    task: str
    begun: str = ""

    def __str__(self) -> str:
        return f"{self.task} {self.id}" + (f" ({self.begun})" if self.begun else "")

    @property
    def ended(self) -> RecordKey:
        """That of the record of how its task ended."""
        return self._replace(begun="")


def key_of(record: Mapping[str, Any]) -> RecordKey:
    """The key of a record; records of one deploy or rollback have the same on every host."""
    started, id_, task = (str(record.get(name, ""))[:100] for name in ("started", "id", "task"))
    return RecordKey(started, id_, task, TaskStatus.BEGUN if record.get("status") == TaskStatus.BEGUN else "")


@dataclass(slots=True)
class _Content:
    """Hosts as bits: a record costs the same on three hosts as on a hundred.

    Args:
        have: those where it says just this.
        should, could: those that it names: they took part, or were out of reach.
    """

    have: int = 0
    should: int = 0
    could: int = 0


@dataclass(slots=True)
class _Entry:
    """A record, whatever it says."""

    digest: bytes = b""  # of what most hosts have that speaks for several; of one that is trusted, where there is one
    content: _Content = field(default_factory=_Content)  # of that
    trusted: bool = False
    have: int = 0
    others: dict[bytes, _Content] | None = None  # what else it says where it speaks for several

    @property
    def other(self) -> int:
        """The hosts that have something else."""
        found = 0
        for content in (self.others or {}).values():
            found |= content.have
        return found

    @property
    def named(self) -> int:
        """The hosts that have it, or should."""
        return self.have | self.content.should

    def elect(self, digest: bytes) -> None:
        """From now on this is what the others are held against."""
        if digest != self.digest:
            others = self.others or {}
            content = others.pop(digest, _Content())
            if self.digest:
                others[self.digest] = self.content
            self.others, self.digest, self.content = others or None, digest, content

    def vote(self, digest: bytes, bit: int) -> _Content:
        """Count a host for what it has."""
        self.digest = self.digest or digest
        if digest == self.digest:
            content = self.content
        else:
            self.others = self.others or {}
            content = self.others.setdefault(digest, _Content())
        content.have |= bit
        if not self.trusted and content.have.bit_count() > self.content.have.bit_count():
            self.elect(digest)
        return content


@dataclass(frozen=True)
class Lacks:
    """Records that a host lacks.

    Args:
        missing: it took part, so it had them or should have.
        never_had: it was out of reach, or nothing was done to it.
    """

    missing: Sequence[RecordKey]
    never_had: Sequence[RecordKey]


class LedgerIndex:
    """All hosts' records, one small entry each. Threads may share it.

    A record that one of the signers vouches for is believed wherever it stands. Any other is believed if most of the
    hosts that it names have it: what stands on a few may as well have been put in there.

    Args:
        hosts: whose ledgers are read.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._bits = {host: 1 << number for number, host in enumerate(hosts)}
        self._entries: dict[RecordKey, _Entry] = {}
        self._guard = threading.Lock()

    def add(
        self, host: str, record: Mapping[str, Any], digest: bytes, *, trusted: bool = False, counts: bool = True
    ) -> None:
        """Count a record that stands on a host.

        Args:
            host: which.
            record: as it stands there.
            digest: of its content.
            trusted: whether one of the signers vouches for it.
            counts: whether it says who should have it.
        """
        stands = record.get("hosts")
        named = stands if isinstance(stands, dict) else {}
        with self._guard:
            entry = self._entries.setdefault(key_of(record), _Entry())
            bit = self._bits[host]
            entry.have |= bit
            if trusted and not entry.trusted:
                # From now on only what is trusted says who should have it.
                entry.trusted = True
                entry.elect(digest)
                entry.content.should = entry.content.could = 0
            # Of its own doings a host may tell in its own words: that it was lost in the middle, for one.
            content = entry.vote(digest, bit) if len(named) > 1 else entry.content
            if trusted or (counts and not entry.trusted):
                self._name(content, named if len(named) > 1 else {host: named[host]} if host in named else {})

    def _name(self, content: _Content, named: Mapping[str, object]) -> None:
        for name, word in named.items():
            bit, result = self._bits.get(name, 0), str(word)
            if result in OUT_OF_REACH:
                content.could |= bit
            elif result not in APART:
                content.should |= bit

    def forget(self, host: str) -> None:
        """A host whose ledger could not be read to its end: nothing is said of it."""
        bit = self._bits.pop(host)
        for entry in self._entries.values():
            entry.have &= ~bit
            for content in (entry.content, *(entry.others or {}).values()):
                content.have &= ~bit
                content.should &= ~bit
                content.could &= ~bit

    def lacks(self, host: str, *, apart: Collection[str] = (), anew: bool = False) -> Lacks:
        """What a host lacks of what the others have, oldest first.

        Args:
            host: which.
            apart: hosts whose word does not count: their chain is broken.
            anew: as if it had none.
        """
        own = self._bits[host]
        held = 0 if anew else own
        counted = self._mask(set(self._bits) - set(apart))
        lacking = {key: entry for key, entry in self._entries.items() if entry.have & counted and not entry.have & held}
        missing = sorted(key for key, entry in lacking.items() if entry.content.should & own and _firm(entry, counted))
        never_had = sorted(key for key, entry in lacking.items() if entry.content.could & ~entry.content.should & own)
        return Lacks(missing, never_had)

    def alone(self, host: str, *, apart: Collection[str] = ()) -> list[RecordKey]:
        """Records of a host that most of the others lack, and nobody vouches for: put in here, or cut off there.

        Args:
            host: which.
            apart: hosts whose word does not count.
        """
        own, counted = self._bits[host], self._mask(set(self._bits) - set(apart))
        return sorted(
            key for key, entry in self._entries.items() if entry.have & own and not _firm(entry, counted | own)
        )

    def is_firm(self, key: RecordKey, *, apart: Collection[str] = ()) -> bool:
        """Whether a record may be copied without asking: one of the signers vouches for it, or several hosts have it
        alike and are most of those that it names.

        Args:
            key: which.
            apart: hosts whose word does not count.
        """
        entry, counted = self._entries[key], self._mask(set(self._bits) - set(apart))
        alike = (entry.content.have & counted).bit_count()
        return entry.trusted or (alike > 1 and 2 * alike > (entry.named & counted).bit_count())

    def digest_of(self, key: RecordKey) -> str:
        """The digest of the content that is believed of a record that nobody vouches for; empty for any other."""
        entry = self._entries[key]
        return "" if entry.trusted else entry.digest.hex()

    def is_believed(self, key: RecordKey, digest: bytes) -> bool:
        """Whether a record with that key is to have this content: the one that is vouched for, or that most have."""
        entry = self._entries[key]
        return entry.digest in (b"", digest)

    def is_disputed(self, key: RecordKey, *, apart: Collection[str] = ()) -> bool:
        """Whether hosts whose word counts have different contents of a record that nobody vouches for."""
        entry = self._entries[key]
        return not entry.trusted and bool(entry.other & self._mask(set(self._bits) - set(apart)))

    def differs(self, host: str) -> list[RecordKey]:
        """Records that say something else on this host than where they are believed."""
        own = self._bits[host]
        return sorted(key for key, entry in self._entries.items() if entry.other and _odd(entry) & own)

    def holders(self, key: RecordKey, *, apart: Collection[str] = ()) -> list[str]:
        """Hosts that have a record and whose word counts, in order; first those that have what is believed."""
        entry = self._entries[key]
        found = [host for host, bit in self._bits.items() if entry.have & bit and host not in apart]
        return sorted(found, key=lambda host: not entry.content.have & self._bits[host])

    def only(self, hosts: Collection[str]) -> list[RecordKey]:
        """Records that stand nowhere but on these hosts."""
        others = ~self._mask(hosts)
        return sorted(key for key, entry in self._entries.items() if entry.have and not entry.have & others)

    def _mask(self, hosts: Collection[str]) -> int:
        return sum(self._bits.get(host, 0) for host in hosts)


def _firm(entry: _Entry, counted: int) -> bool:
    """Whether a record is believed: it is vouched for, or most of the hosts that it names have it."""
    have = (entry.have & counted).bit_count()
    return entry.trusted or 2 * have > (entry.named & counted).bit_count()


def _odd(entry: _Entry) -> int:
    """The hosts that say something else than what is trusted, or than most; all of them when there is no most."""
    same, other = entry.content.have, entry.other
    return other if entry.trusted or 2 * same.bit_count() > (same | other).bit_count() else same | other
