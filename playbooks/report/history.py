"""The history, its proof and its repair, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks.report.tables import say, show_table, took

if TYPE_CHECKING:
    from playbooks.history import History
    from playbooks.repair_history import RepairedHistory
    from playbooks.verify_history import VerifiedHistory


WELL = {"done", "unchanged"}


def show_history(history: History) -> None:
    """What was done."""
    rows = [
        (
            str(record.get("started", "")),
            str(record.get("task", "")),
            str(record.get("version", "")),
            str(record.get("status", "")),
            took(record),
            str(record.get("by", "")),
            # What a repair did is all there is to say of it.
            str(record.get("reason") or (record.get("message", "") if record.get("task") == "repair" else "")),
            str(len(record.get("hosts", {}))),
        )
        for record in history.records
    ]
    show_table(("when", "task", "version", "status", "took", "by", "reason", "hosts"), rows)
    failed = next((record for record in history.records if record.get("status") not in WELL), None)
    if failed:
        say(f"\nWhat last did not go well, {failed.get('started')}: {failed.get('message', '')}")
    if not rows:
        say("nothing is recorded yet")
    for host, sentences in history.broken.items():
        for sentence in sentences:
            say(f"warning: the ledger of {host}: {sentence}")
    for host, why in history.unreachable.items():
        say(f"warning: {host} could not be asked: {why}")
    if history.broken:
        say(f"Next: invoke history {history.flag} --verify")


def show_verified_history(verified: VerifiedHistory) -> None:
    """PASSED or FAILED, ledger by ledger."""
    show_table(
        ("host", "result", "lines", "torn and closed"),
        [(host.host, host.status, str(host.lines), str(host.torn or "")) for host in verified.hosts],
    )
    say("")
    for host in verified.hosts:
        for fault in host.faults:
            say(f"{host.host}: {fault.sentence}")
        for what, records in (
            ("lacks", host.missing),
            ("never had, being out of reach or untouched then,", host.never_had),
            ("tells otherwise than the others", host.differs),
        ):
            for record in records:
                say(f"{host.host}: {what} {record}")
        if host.more:
            say(f"{host.host}: and {host.more} more of these")
    for name, why in verified.unreachable.items():
        say(f"{name} could not be read: {why}")
    say(verified.status)
    if verified.next:
        say(f"Next: {verified.next}")


def show_repaired_history(repaired: RepairedHistory) -> None:
    """What was done to which ledger, and what verifying says now."""
    for repair in repaired.repairs:
        say(f"{repair}" if not repair.error else f"{repair.host}: not repaired: {repair.error}")
    if not repaired.repairs:
        say("nothing to repair")
    show_verified_history(repaired.after)
