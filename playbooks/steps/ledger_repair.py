"""Append missing records to a host's ledger, in its own chain, without overwriting anything (A9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import StepResult
from playbooks.ledger.chain import LONGEST, OWN
from playbooks.settings import Settings

BATCH = 2 * 1024 * 1024  # bytes of one round trip
AGAIN = "run it again: invoke history --env=… --repair"


class Repair:
    """The repair of one host's ledger.

    Args:
        remote: the host.
        settings: its settings.
        record: the record of the repair itself.
        aside: the name under which to keep the present ledger before a new one begins; None continues the present one.

    Raises:
        StepFailed: the record could not be written.
    """

    def __init__(self, remote: Remote, settings: Settings, record: Mapping[str, Any], *, aside: str | None) -> None:
        self.copied = 0
        self._remote, self._settings = remote, settings
        self._lines = bytearray()
        text = json.dumps({"host": remote.name, **record}, ensure_ascii=False)
        answer = self._run("ledger_repair", {"record": text, "aside": aside or "-"})
        (self._tip,) = answer.one("tip", 1)  # including the lines that wait in _lines
        self._standing = self._tip  # the tip on the host

    def copy(self, record: Mapping[str, Any], donor: str) -> None:
        """Queue a copy of another host's record, marked as a copy. The next batch writes it.

        Args:
            record: the record on the other host.
            donor: the other host.

        Raises:
            StepFailed: a batch could not be written. No part of it was written.
        """
        own = {"repaired_from": donor, "host": self._remote.name}
        told = {name: value for name, value in record.items() if name not in OWN}
        line = f'{{"prev":"{self._tip}",{json.dumps({**own, **told}, ensure_ascii=False)[1:]}\n'.encode()
        if len(line) > LONGEST:
            raise StepFailed(f"a record of {donor} has {len(line)} bytes", host=self._remote.name, step="ledger_copy")
        if len(self._lines) + len(line) > BATCH:
            self.flush()
        self._lines += line
        self._tip = hashlib.sha256(line).hexdigest()
        self.copied += 1

    def flush(self) -> None:
        """Write the queued records."""
        if not self._lines:
            return
        self._run("ledger_copy", {"expected": self._standing, "count": str(len(self._lines))}, bytes(self._lines))
        self._lines.clear()
        self._standing = self._tip

    def _run(self, step: str, values: dict[str, str], payload: bytes = b"") -> StepResult:
        values = {"state": self._settings.state, **values}
        timeout = self._settings.timeouts.command
        try:
            return self._remote.run(step, values=values, payload=payload, acts=True, timeout=timeout)
        except StepFailed as error:
            error.hint = error.hint or AGAIN
            raise
