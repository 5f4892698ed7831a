"""Ledgers of a host that is damaged, or lies: reading one ends in records and sentences, and no change goes unseen."""

from __future__ import annotations

import hashlib
import json
import random

from playbooks.fleet import script as scripts
from playbooks.steps.ledger import check_chain
from tests.fuzz.mutate import TEXTS, mutated
from tests.fuzz.nonsense import document
from tests.fuzz.target import Violation, unprintable


class Ledgers:
    """An input is the ledger's bytes, behind a first byte that says whether it begins at the beginning."""

    def make(self, rng: random.Random) -> bytes:
        """A chain, mostly damaged afterwards."""
        whole = rng.random() < 0.7
        before = "start" if whole else "0" * 64
        lines = []
        for _ in range(rng.choice((0, 1, 2, 3, 5, 30))):
            lines.append(_line(rng, before))
            before = hashlib.sha256(lines[-1] + b"\n").hexdigest()
        data = b"\n".join(lines)
        return (b"+" if whole else b"-") + (data if rng.random() < 0.1 else mutated(rng, data))

    def read(self, data: bytes) -> bool:
        """Check the chain as `read_ledger` does, and compare with what the bytes themselves say.

        Raises:
            Violation: the chain is broken and it says nothing, or a record cannot be shown.
        """
        text = b"\n".join(b"record\t" + line for line in data[1:].split(b"\n") if line)
        answer = scripts.parse("web1", "ledger", text, 0.0)
        lines = [fields[0] for fields in answer.all("record", 1)]
        ledger = check_chain(lines, whole=data[:1] == b"+")
        if not ledger.broken and _is_broken(lines, whole=data[:1] == b"+"):
            raise Violation("a broken chain is not told")
        for text_ in (json.dumps(list(ledger.records), ensure_ascii=False), *ledger.broken):
            if flaw := unprintable(text_):
                raise Violation(flaw)
        return not ledger.broken


def _line(rng: random.Random, before: str) -> bytes:
    if rng.random() < 0.1:
        return json.dumps(document(rng)).encode()
    record: dict[str, object] = {
        "prev": before,
        "id": rng.choice(("20261121T043100Z-1.1.0", "1", *TEXTS)),
        "task": rng.choice(("deploy", "rollback", "backup")),
        "hosts": rng.choice(({"web1": "deployed"}, document(rng))),
    }
    return json.dumps(record, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _is_broken(lines: list[str], *, whole: bool) -> bool:
    """The rule, said once more: a record names the hash of the line before."""
    hashes = ["start" if whole else None, *(hashlib.sha256(f"{line}\n".encode()).hexdigest() for line in lines)]
    for line, before in zip(lines, hashes, strict=False):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return True
        if not isinstance(record, dict) or (before is not None and record.get("prev") != before):
            return True
    return False
