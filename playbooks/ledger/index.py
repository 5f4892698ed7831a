"""Index which host has which record, and which host should have it (A9)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playbooks.core.states import TaskStatus

# A record's words for a host that took no part or could not be written to.
APART = frozenset({"unchanged"})
OUT_OF_REACH = frozenset({"unreachable", "untouched"})


class RecordKey(NamedTuple):
    """The identity of a record.

    Args:
        begun: `TaskStatus.BEGUN` if the record only says that its task has begun; else empty.
    """

    started: str
    id: str
    task: str
    begun: str = ""

    def __str__(self) -> str:
        return f"{self.task} {self.id}" + (f" ({self.begun})" if self.begun else "")

    @property
    def ended(self) -> RecordKey:
        """Return the key of the record of its task's end."""
        return self._replace(begun="")


def key_of(record: Mapping[str, Any]) -> RecordKey:
    """Return a record's key; a task's records have the same key on every host."""
    started, id_, task = (str(record.get(name, ""))[:100] for name in ("started", "id", "task"))
    return RecordKey(started, id_, task, TaskStatus.BEGUN if record.get("status") == TaskStatus.BEGUN else "")


@dataclass(slots=True)
class _Content:
    """Sets of hosts as bits, so that memory use does not grow with the number of hosts.

    Args:
        have: the hosts whose record has this content.
        should, could: the hosts that it names as taking part, or as unreachable.
    """

    have: int = 0
    should: int = 0
    could: int = 0


@dataclass(slots=True)
class _Entry:
    """A record, with all its contents."""

    digest: bytes = b""  # of the trusted content, or else of the one that most hosts have
    content: _Content = field(default_factory=_Content)  # the hosts of that content
    trusted: bool = False
    have: int = 0
    others: dict[bytes, _Content] | None = None  # the other contents that name several hosts

    @property
    def other(self) -> int:
        """Return the hosts that have another content."""
        found = 0
        for content in (self.others or {}).values():
            found |= content.have
        return found

    @property
    def named(self) -> int:
        """Return the hosts that have the record or should have it."""
        return self.have | self.content.should

    def elect(self, digest: bytes) -> None:
        """Use this content as the one to compare others with."""
        if digest != self.digest:
            others = self.others or {}
            content = others.pop(digest, _Content())
            if self.digest:
                others[self.digest] = self.content
            self.others, self.digest, self.content = others or None, digest, content

    def vote(self, digest: bytes, bit: int) -> _Content:
        """Count a host for the content that it has."""
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
    """The records that a host lacks.

    Args:
        missing: records of tasks in which it took part.
        never_had: records of tasks during which it was unreachable or not changed.
    """

    missing: Sequence[RecordKey]
    never_had: Sequence[RecordKey]


class LedgerIndex:
    """An index of all hosts' records, with one small entry for each. Threads may share it.

    A record that a signer has signed is believed on any host. Any other is believed if most of the hosts that it
    names have it, because somebody may have added it on a few hosts.

    Args:
        hosts: the hosts whose ledgers are read.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._bits = {host: 1 << number for number, host in enumerate(hosts)}
        self._entries: dict[RecordKey, _Entry] = {}
        self._guard = threading.Lock()

    def add(
        self, host: str, record: Mapping[str, Any], digest: bytes, *, trusted: bool = False, counts: bool = True
    ) -> None:
        """Count a record on a host.

        Args:
            host: the host.
            record: the record on that host.
            digest: the hash of its content.
            trusted: whether a signer has signed it.
            counts: whether it may say which hosts should have it.
        """
        stands = record.get("hosts")
        named = stands if isinstance(stands, dict) else {}
        with self._guard:
            entry = self._entries.setdefault(key_of(record), _Entry())
            bit = self._bits[host]
            entry.have |= bit
            if trusted and not entry.trusted:
                # From now on only the trusted content says which hosts should have it.
                entry.trusted = True
                entry.elect(digest)
                entry.content.should = entry.content.could = 0
            # A host's record of itself may differ from the others', for example if it was lost during the task.
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
        """Ignore a host whose ledger could not be read completely."""
        bit = self._bits.pop(host)
        for entry in self._entries.values():
            entry.have &= ~bit
            for content in (entry.content, *(entry.others or {}).values()):
                content.have &= ~bit
                content.should &= ~bit
                content.could &= ~bit

    def lacks(self, host: str, *, apart: Collection[str] = (), anew: bool = False) -> Lacks:
        """Return the records that a host lacks and others have, oldest first.

        Args:
            host: the host.
            apart: hosts that do not count, because their chain is broken.
            anew: treat the host as if it had no records.
        """
        own = self._bits[host]
        held = 0 if anew else own
        counted = self._mask(set(self._bits) - set(apart))
        lacking = {key: entry for key, entry in self._entries.items() if entry.have & counted and not entry.have & held}
        missing = sorted(key for key, entry in lacking.items() if entry.content.should & own and _firm(entry, counted))
        never_had = sorted(key for key, entry in lacking.items() if entry.content.could & ~entry.content.should & own)
        return Lacks(missing, never_had)

    def alone(self, host: str, *, apart: Collection[str] = ()) -> list[RecordKey]:
        """Return a host's records that most others lack and no signer signed: added here, or cut off there.

        Args:
            host: the host.
            apart: hosts that do not count.
        """
        own, counted = self._bits[host], self._mask(set(self._bits) - set(apart))
        return sorted(
            key for key, entry in self._entries.items() if entry.have & own and not _firm(entry, counted | own)
        )

    def is_firm(self, key: RecordKey, *, apart: Collection[str] = ()) -> bool:
        """Return whether a record may be copied without asking: a signer signed it, or several hosts have it alike
        and are most of the hosts that it names.

        Args:
            key: the record's key.
            apart: hosts that do not count.
        """
        entry, counted = self._entries[key], self._mask(set(self._bits) - set(apart))
        alike = (entry.content.have & counted).bit_count()
        return entry.trusted or (alike > 1 and 2 * alike > (entry.named & counted).bit_count())

    def digest_of(self, key: RecordKey) -> str:
        """Return the digest of the believed content of an unsigned record; empty for any other record."""
        entry = self._entries[key]
        return "" if entry.trusted else entry.digest.hex()

    def is_believed(self, key: RecordKey, digest: bytes) -> bool:
        """Return whether this is the believed content of a record: the signed one, or the one that most hosts have."""
        entry = self._entries[key]
        return entry.digest in (b"", digest)

    def is_disputed(self, key: RecordKey, *, apart: Collection[str] = ()) -> bool:
        """Return whether hosts that count have different contents of an unsigned record."""
        entry = self._entries[key]
        return not entry.trusted and bool(entry.other & self._mask(set(self._bits) - set(apart)))

    def differs(self, host: str) -> list[RecordKey]:
        """Return the records whose content on this host differs from the believed one."""
        own = self._bits[host]
        return sorted(key for key, entry in self._entries.items() if entry.other and _odd(entry) & own)

    def owners(self, key: RecordKey, *, apart: Collection[str] = ()) -> list[str]:
        """Return the hosts that have a record and count; those with the believed content come first."""
        entry = self._entries[key]
        found = [host for host, bit in self._bits.items() if entry.have & bit and host not in apart]
        return sorted(found, key=lambda host: not entry.content.have & self._bits[host])

    def only(self, hosts: Collection[str]) -> list[RecordKey]:
        """Return the records that only these hosts have."""
        others = ~self._mask(hosts)
        return sorted(key for key, entry in self._entries.items() if entry.have and not entry.have & others)

    def _mask(self, hosts: Collection[str]) -> int:
        return sum(self._bits.get(host, 0) for host in hosts)


def _firm(entry: _Entry, counted: int) -> bool:
    """Return whether a record is believed: it is signed, or most of the hosts that it names have it."""
    have = (entry.have & counted).bit_count()
    return entry.trusted or 2 * have > (entry.named & counted).bit_count()


def _odd(entry: _Entry) -> int:
    """Return the hosts that differ from the trusted content or the majority; all hosts if there is no majority."""
    same, other = entry.content.have, entry.other
    return other if entry.trusted or 2 * same.bit_count() > (same | other).bit_count() else same | other
