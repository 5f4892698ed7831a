"""Check a ledger's hash chain while its bytes arrive (A9). append.sh defines a line."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playbooks.fleet.host_json import read_object

# Bytes of a line. A record is one argument of a script, with at most 131072 bytes (execve(2)).
LONGEST = 262144
MAX_FAULTS = 20
# The fields that a host adds to a record. Copies of a record differ in nothing else.
OWN = frozenset({"prev", "healed", "host", "repaired_from", "replaces", "kept"})
_SHAPE = re.compile(rb'\{"prev":"(start|[0-9a-f]{64})",[^\x00-\x1f]+\}\n')


@dataclass(frozen=True)
class Fault:
    """A fault in a ledger.

    Args:
        line: the line, counted from 1; None if the fault is in no single line.
        kind: a code: record, start, changed, order, torn, large; for a complete record: unsigned,
            untrusted, signature, misplaced, replayed; for the whole ledger: heads, seen.
        sentence: for a person.
    """

    line: int | None
    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The line of a record.

    Args:
        digest: its SHA-256, with its newline.
        prev: the hash of the previous line, as it says.
        offset: its position in bytes, if the ledger was read from its beginning.
        length: its length in bytes.
    """

    digest: str
    prev: str
    offset: int
    length: int


def read_record(line: bytes) -> dict[str, Any] | None:
    """Read a line as a record; None if it is not one.

    Args:
        line: the line with its newline.
    """
    shape = _SHAPE.fullmatch(line)
    if shape is None:
        return None
    try:
        record = read_object(line.decode())
    except UnicodeDecodeError:
        return None
    if record is None:
        return None
    # If "prev" occurs twice, JSON takes the last one and the script the first.
    return {**record, "prev": shape[1].decode()}


class Chain:
    """Checks the chain of a ledger, piece by piece, and keeps at most a line in memory.

    Args:
        whole: whether the first byte is the ledger's first. If not, the first record is not checked.

    Attributes:
        last: the last record's line.
    """

    def __init__(self, *, whole: bool = True) -> None:
        self.lines = 0
        self.torn = 0  # lines torn by a crash and closed by a later record
        self.unnamed = 0  # faults beyond MAX_FAULTS
        self._faults: list[Fault] = []
        self._known = whole
        # The hash over the last record's line and the torn lines after it.
        self._hash = hashlib.sha256()
        self._last = 0  # the last record's line
        self._rest = bytearray()
        self._overlong = False
        self._before: deque[tuple[str, int]] = deque(maxlen=64)
        self.last: LedgerLine | None = None
        self._bytes = 0
        self._owed: dict[str, int] = {}  # hashes that no line has had yet, with the index of the fault to report

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Read the next bytes, and yield the records in them."""
        for line in _lines(data):
            self._bytes += len(line)
            self._rest += line
            if not line.endswith(b"\n"):
                self._bound()
                continue
            whole, self._rest = bytes(self._rest), bytearray()
            record = self._take(whole)
            if record is not None:
                yield record

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the faults, if the ledger ends here; MAX_FAULTS at most."""
        faults = list(self._faults)
        if self._rest or self._overlong:
            line = self.lines + 1
            faults.append(Fault(line, "torn", f"line {line}, the last, is torn; the next record closes it"))
        elif self._known and self.lines > self._last:
            faults.append(self._no_record())
        return tuple(faults)

    @property
    def tampered(self) -> bool:
        """Return whether there is a fault that a crash cannot cause."""
        return any(fault.kind != "torn" for fault in self.faults)

    def _bound(self) -> None:
        if len(self._rest) > LONGEST:
            self._hash.update(self._rest)
            self._rest.clear()
            self._overlong = True

    def _take(self, line: bytes) -> dict[str, Any] | None:
        self.lines += 1
        record = None if self._overlong else read_record(line)
        self._overlong = False
        if record is None:
            self._hash.update(line)
            return None
        self._check(record["prev"])
        self._known = True
        self._hash = hashlib.sha256(line)
        self._last = self.lines
        digest = self._hash.hexdigest()
        self.last = LedgerLine(digest, record["prev"], self._bytes - len(line), len(line))
        self._before.append((digest, self.lines))
        if digest in self._owed:
            self._explain(self._owed.pop(digest))
        return record

    def _check(self, prev: str) -> None:
        if not self._known:
            return
        torn = self.lines - 1 - self._last
        expected = self._hash.hexdigest() if self._last or torn else "start"
        if prev == expected:
            self.torn += torn
            return
        line = self.lines
        if torn:
            self._fault(self._no_record(until=line - 1))
        if line == 1:
            self._fault(Fault(1, "start", "line 1 is not the first record: the beginning was taken out"))
            return
        before = dict(self._before).get(prev, 0 if prev == "start" else None)
        if before is not None and before != self._last:
            between = _span(before + 1, line - 1)
            sentence = f"line {line} follows line {before}" if before else f"line {line} is the first record"
            self._fault(Fault(line, "order", f"{sentence}: {between} put in, or moved there"))
        elif not torn:
            if len(self._faults) < MAX_FAULTS:
                self._owed[prev] = len(self._faults)
            sentence = f"line {line - 1} was changed, or lines between it and line {line} were taken out"
            self._fault(Fault(line - 1, "changed", sentence))

    def _no_record(self, until: int | None = None) -> Fault:
        first, last = self._last + 1, self.lines if until is None else until
        which = f"line {first} is no record" if first == last else f"lines {first} to {last} are no records"
        return Fault(first, "record", f"{which}: overwritten, or torn by a crash and then changed")

    def _explain(self, place: int) -> None:
        line = (self._faults[place].line or 0) + 1
        sentence = f"line {line} follows line {self.lines}, which stands after it: lines were moved"
        self._faults[place] = Fault(line, "order", sentence)

    def _fault(self, fault: Fault) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(fault)
        else:
            self.unnamed += 1


def _lines(data: bytes) -> Iterator[bytes]:
    """Split into lines at newlines only; bytes.splitlines would also split at a carriage return."""
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def _span(first: int, last: int) -> str:
    return f"line {first} was" if first == last else f"lines {first} to {last} were"
