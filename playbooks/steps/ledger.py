"""Read a host's ledger (A9)."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import StepResult
from playbooks.ledger.chain import Chain
from playbooks.ledger.heads import Head
from playbooks.ledger.seal import HEAD_DIGITS, NO_LINE

CHUNK = 2 * 1024 * 1024
# A ledger beyond this many bytes (a deploy every ten minutes for eight years) is not read: a host must not fill us.
MAX_BYTES = 256 * 1024 * 1024
MAX_LINES = 500_000  # shorter ones than any record has would take many times their bytes here


@dataclass(frozen=True)
class Ledger:
    """A host's last records, oldest first.

    Args:
        records: those that can be read.
        broken: sentences about lines that cannot, or whose hash does not match the line before.
        size: of the whole ledger, in bytes.
        begins: how many bytes stand before what was read of it.
        heads: the names of the lines that were read; see `head_of`.
    """

    records: tuple[dict[str, Any], ...]
    broken: tuple[str, ...]
    size: int = 0
    begins: int = 0
    heads: frozenset[str] = frozenset()

    def lacks(self, seen: Head) -> bool:
        """Whether a line is gone that was seen earlier; what stands before what was read is believed to be there."""
        return seen.digest not in self.heads and (seen.offset >= self.begins or self.size < seen.offset + seen.length)


def read_ledger(remote: Remote, state: str, *, lines: int) -> Ledger:
    """Read the last records of a host's ledger and check the chain between them.

    Args:
        remote: the host.
        state: the application's state folder there.
        lines: how many at the most.
    """
    answer = remote.run("ledger", [state, "end", str(CHUNK), str(lines + 1)])
    size, data = read_piece(answer)
    whole = len(data) == size
    chain = Chain(whole=whole)
    records, heads = [], set()
    for record in chain.feed(data):
        records.append(record)
        heads.add(chain.last.digest[:HEAD_DIGITS] if chain.last else NO_LINE)
    where = "" if whole else f" (of the last {chain.lines})"
    broken = tuple(fault.sentence + where for fault in chain.faults)
    return Ledger(tuple(records[-lines:]), broken, size, size - len(data), frozenset(heads))


class LedgerReading:
    """A host's whole ledger, read piece by piece, so that a long one needs no more memory than a short one.

    Args:
        remote: the host.
        state: the application's state folder there.
    """

    def __init__(self, remote: Remote, state: str) -> None:
        self.chain = Chain()
        self._remote, self._state, self._offset = remote, state, 0

    def records(self) -> Iterator[dict[str, Any]]:
        """The records from where the last call ended to the ledger's present end.

        Raises:
            StepFailed: the ledger is too large, or was cut while it was read.
        """
        while True:
            answer = self._remote.run("ledger", [self._state, str(self._offset), str(CHUNK), "-"])
            size, data = read_piece(answer)
            if size < self._offset:
                raise self._failed("its ledger became shorter while it was read", "somebody changes it; ask again")
            if size > MAX_BYTES:
                raise self._failed(
                    f"its ledger has {size} bytes", f"{MAX_BYTES} are read at the most; look at {self._state}/ledger"
                )
            if len(data) != min(CHUNK, size - self._offset):
                raise answer.bad(f"{len(data)} bytes of the ledger at {self._offset} of {size}")
            self._offset += len(data)
            yield from self.chain.feed(data)
            if self.chain.lines > MAX_LINES:
                raise self._failed(
                    f"its ledger has more than {MAX_LINES} lines", f"no more are read; look at {self._state}/ledger"
                )
            if self._offset == size:
                return

    def _failed(self, message: str, hint: str) -> StepFailed:
        return StepFailed(message, host=self._remote.name, step="ledger", hint=hint)


def read_piece(answer: StepResult) -> tuple[int, bytes]:
    """What ledger.sh answered: the ledger's size, and the bytes that were asked for. No ledger is an empty one.

    Raises:
        BadAnswer: it makes no sense, or it is more than CHUNK bytes.
    """
    size = answer.maybe("size", 1)
    if size is None:
        return 0, b""
    (packed,) = answer.one("bytes", 1)
    unpack = zlib.decompressobj(wbits=31)  # gzip's format
    try:
        data = unpack.decompress(binascii.a2b_base64(packed, strict_mode=True), CHUNK + 1) if packed else b""
    except (binascii.Error, zlib.error, ValueError):
        raise answer.bad("the bytes of the ledger are damaged") from None
    if len(data) > CHUNK or (packed and not unpack.eof):
        raise answer.bad("the ledger's bytes do not end where they should")
    return answer.number(size[0]), data
