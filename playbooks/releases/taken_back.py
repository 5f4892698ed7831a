"""Find versions that were taken back, by the hosts' ledgers. A deploy without --version skips them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from playbooks.core.states import TaskStatus

FAILED = (TaskStatus.ROLLED_BACK, TaskStatus.HALTED, TaskStatus.STUCK)


def taken_back(ledgers: Iterable[Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Return versions taken back that have not succeeded since, with when and why as the end of a sentence.

    A single ledger may be wrong, so most of the hosts that know the version decide.

    Args:
        ledgers: each host's records, oldest first.
    """
    known: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    told: dict[str, str] = {}
    for records in ledgers:
        found = _of_one(records)
        known.update({str(record.get("version", "")) for record in records if record.get("task") == "deploy"})
        bad.update(list(found))
        told = {**found, **told}
    return {version: told[version] for version, count in bad.items() if 2 * count > known[version]}


def _of_one(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    bad: dict[str, str] = {}
    runs = ""
    for record in records:
        task, version, status = (str(record.get(name, "")) for name in ("task", "version", "status"))
        at = str(record.get("started", ""))
        if task == "deploy" and status == TaskStatus.DONE:
            runs = version
            bad.pop(version, None)
        elif task == "deploy" and status in FAILED:
            bad[version] = f"{status} at {at}"
        elif task == "rollback" and status in (TaskStatus.DONE, TaskStatus.PARTIAL):
            if runs and runs != version:
                reason = str(record.get("reason", ""))
                bad[runs] = f"rolled back at {at}" + (f" ({reason})" if reason else "")
            runs = version
            bad.pop(version, None)
    return bad
