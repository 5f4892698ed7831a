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
# A larger ledger (a deploy every ten minutes for eight years) is refused, so that no host fills our memory.
MAX_BYTES = 256 * 1024 * 1024
MAX_LINES = 500_000  # many tiny lines would take far more memory than their bytes


@dataclass(frozen=True)
class Ledger:
    """A host's last records, oldest first.

    Args:
        records: the readable records.
        broken: sentences about unreadable lines, and lines whose hash does not match the line before.
        size: the size of the whole ledger, in bytes.
        begins: the offset of the part that was read, in bytes.
        heads: the hashes of the lines that were read; see `head_of`.
    """

    records: tuple[dict[str, Any], ...]
    broken: tuple[str, ...]
    size: int = 0
    begins: int = 0
    heads: frozenset[str] = frozenset()

    def lacks(self, seen: Head) -> bool:
        """Return whether a line seen earlier is gone. Lines before the part that was read count as present."""
        return seen.digest not in self.heads and (seen.offset >= self.begins or self.size < seen.offset + seen.length)


def read_ledger(remote: Remote, state: str, *, lines: int) -> Ledger:
    """Read the last records of a host's ledger and check the chain between them.

    Args:
        remote: the host.
        state: the application's state folder on the host.
        lines: how many lines at most.
    """
    answer = remote.run(
        "ledger", values={"state": state, "offset": "end", "count": str(CHUNK), "lines": str(lines + 1)}
    )
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
    """Reads a host's whole ledger in pieces, so that memory use does not grow with its length.

    Args:
        remote: the host.
        state: the application's state folder on the host.
    """

    def __init__(self, remote: Remote, state: str) -> None:
        self.chain = Chain()
        self._remote, self._state, self._offset = remote, state, 0

    def records(self) -> Iterator[dict[str, Any]]:
        """Read the records from the end of the last call to the ledger's present end.

        Raises:
            StepFailed: the ledger is too large, or it became shorter while it was read.
        """
        while True:
            values = {"state": self._state, "offset": str(self._offset), "count": str(CHUNK), "lines": "-"}
            answer = self._remote.run("ledger", values=values)
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
    """Read the answer of ledger.sh: the ledger's size and the requested bytes. A missing ledger counts as empty.

    Raises:
        BadAnswer: the answer is malformed, or longer than CHUNK bytes.
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
