"""Read a host's ledger (A9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.fleet.remote import Remote

MOST = 5000


@dataclass(frozen=True)
class Ledger:
    """A host's records, oldest first.

    Args:
        records: those that can be read.
        broken: sentences about lines that cannot, or whose hash does not match the line before.
    """

    records: tuple[dict[str, Any], ...]
    broken: tuple[str, ...]


def read_ledger(remote: Remote, state: str, *, lines: int = MOST) -> Ledger:
    """Read the last records of a host's ledger and check the chain between them.

    Args:
        remote: the host.
        state: the application's state folder there.
        lines: how many at the most.
    """
    answer = remote.run("ledger", [state, str(lines)])
    return check_chain([text for (text,) in answer.all("record", 1)], whole=lines >= MOST)


def check_chain(lines: Sequence[str], *, whole: bool) -> Ledger:
    """Check that each record carries the hash of the line before it.

    Args:
        lines: the ledger's lines.
        whole: whether the first line is the ledger's first.
    """
    records: list[dict[str, Any]] = []
    broken: list[str] = []
    before = "start" if whole else None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            broken.append(f"line {number} is torn or no record")
        elif before is not None and record.get("prev") != before:
            broken.append(f"line {number} does not follow the one before: a line was changed, taken out or put in")
        if isinstance(record, dict):
            records.append(record)
        before = hashlib.sha256(line.encode() + b"\n").hexdigest()
    return Ledger(tuple(records), tuple(broken))
