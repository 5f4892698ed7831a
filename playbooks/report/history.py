"""The history, its proof and its repair, on standard output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from playbooks.core.states import TaskStatus
from playbooks.report.tables import say, show_table, took

if TYPE_CHECKING:
    from playbooks.history import History
    from playbooks.repair_history import RepairedHistory
    from playbooks.verify_history import HostLedger, VerifiedHistory


FEW = 8  # hosts whose heads a person writes down; of more --json has them
WELL = {TaskStatus.DONE, TaskStatus.UNCHANGED, TaskStatus.BEGUN}


def show_history(history: History) -> None:
    """What was done."""
    signed = [_signed(record) for record in history.records]
    nobody = all(one == "-" for one in signed)
    rows = [
        (
            str(record.get("started", "")),
            str(record.get("task", "")),
            str(record.get("version", "")),
            str(record.get("status", "")),
            took(record),
            str(record.get("by", "")),
            "" if nobody else by,
            # The record of a repair has nothing to show but what it did.
            str(record.get("reason") or (record.get("message", "") if record.get("task") == "repair" else "")),
            str(len(record.get("hosts", {}))),
        )
        for record, by in zip(history.records, signed, strict=True)
    ]
    show_table(("when", "task", "version", "status", "took", "by", "signed", "reason", "hosts"), rows)
    failed = next((record for record in history.records if record.get("status") not in WELL), None)
    if failed:
        say(f"\nThe last task that did not succeed, {failed.get('started')}: {failed.get('message', '')}")
    if not rows:
        say("nothing is recorded yet")
    for host, sentences in history.broken.items():
        for sentence in sentences:
            say(f"warning: the ledger of {host}: {sentence}")
    for host, what in history.cut.items():
        say(f"warning: the ledger of {host}: {what}, is gone: it was cut off or rewritten")
    for host, why in history.unreachable.items():
        say(f"warning: {host} could not be asked: {why.message}")
    if history.broken or history.cut:
        say(f"Next: invoke history {history.flag} --verify")


def _signed(record: Mapping[str, Any]) -> str:
    """Who signed a record, or what is wrong with its signature."""
    signed = record.get("signed") or {}
    standing, by = signed.get("standing"), signed.get("by") or ""
    name = by.partition("(")[2].rstrip(")") or by[:18]
    return {"trusted": name, "untrusted": f"{name}, not trusted", "unsigned": "-"}.get(str(standing), "does not match")


def show_verified_history(verified: VerifiedHistory) -> None:
    """PASSED or FAILED, ledger by ledger."""
    show_table(
        ("host", "result", "lines", "torn and closed", "unsigned", "head"),
        [
            (host.host, host.status, str(host.lines), str(host.torn or ""), str(host.unsigned or ""), host.head)
            for host in verified.hosts
        ],
    )
    say("")
    for host in verified.hosts:
        _show_faults(host)
    for name, why in verified.unreachable.items():
        say(f"{name} could not be read: {why.message}")
    for head in verified.gone:
        say(f"no ledger has the line {head} any more: it was cut off or rewritten")
    signers = Counter[str]()
    for host in verified.hosts:
        signers.update(host.signed)
    for signer, count in signers.most_common():
        say(f"signed by {signer}: {count} lines")
    if verified.heads and not verified.next and len(verified.hosts) <= FEW:
        say(f"to prove later that all of this is still there: --since={verified.heads}")
    say(verified.status)
    if verified.next:
        say(f"Next: {verified.next}")


def _show_faults(host: HostLedger) -> None:
    for fault in host.faults:
        say(f"{host.host}: {fault.sentence}")
    for what, records in (
        ("lacks", host.missing),
        ("never had, because it was out of reach or the task did not touch it:", host.never_had),
        ("differs from the others in", host.differs),
        ("has a record that most others lack and nobody has signed (added here, or removed there):", host.alone),
    ):
        for record in records:
            say(f"{host.host}: {what} {record}")
    if host.more:
        say(f"{host.host}: and {host.more} more of these")


def show_repaired_history(repaired: RepairedHistory) -> None:
    """What was done to which ledger, and the result of verifying it now."""
    for repair in repaired.repairs:
        say(f"{repair}" if not repair.error else f"{repair.host}: not repaired: {repair.error}")
    if not repaired.repairs:
        say("nothing was repaired" if repaired.questions else "nothing to repair")
    for question in repaired.questions:
        say(f"not copied, and nobody vouches for it: {question}")
    show_verified_history(repaired.after)
    if repaired.questions:
        say(f"Next: {repaired.next}")
