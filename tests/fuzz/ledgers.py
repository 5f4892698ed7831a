"""Ledgers of a host that is damaged, or lies: reading one ends in records and sentences, and no change goes unseen."""

from __future__ import annotations

import hashlib
import json
import random
import re

from playbooks.ledger.chain import Chain, read_record
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
        whole, text = data[:1] == b"+", data[1:]
        chain = Chain(whole=whole)
        records = list(chain.feed(text))
        faults = chain.faults
        if not faults and whole and _is_broken(text):
            raise Violation("a broken chain is not told")
        for text_ in (json.dumps(records, ensure_ascii=False), *(fault.sentence for fault in faults)):
            if flaw := unprintable(text_):
                raise Violation(flaw)
        return not faults


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


def _is_broken(text: bytes) -> bool:
    """The rule, said once more: a record names the hash of the last record's line and all that was torn after it."""
    before = b""
    torn = False
    for line in re.findall(rb"[^\n]*\n|[^\n]+", text):
        record = read_record(line)
        if record is None:
            before, torn = before + line, bool(line)
            continue
        if record["prev"] != (hashlib.sha256(before).hexdigest() if before else "start"):
            return True
        before, torn = line, False
    return torn
