"""What runs, looked into: what was changed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks.report.tables import say, show_table

if TYPE_CHECKING:
    from playbooks.drift import FleetDrift


def show_drift(found: FleetDrift) -> None:
    """What is otherwise than it was deployed, host by host."""
    from playbooks.steps.drift import WORDS

    rows: list[tuple[str | None, ...]] = []
    for host in found.hosts:
        if not host.changes:
            stand = host.error or ("as it was deployed" if host.version else "nothing runs")
            rows.append((host.host, host.version or "–", "", stand))
        rows += [(host.host, host.version, change.name, WORDS[change.kind]) for change in host.changes]
        if host.more:
            rows.append((host.host, host.version, "…", f"and {host.more} more"))
    show_table(("host", "version", "file", "what of it"), rows)
    alike: dict[tuple[str, ...], list[str]] = {}
    for host in found.hosts:
        if host.undeployed:
            alike.setdefault(host.undeployed, []).append(host.host)
    for diffs, hosts in alike.items():
        say(f"\nNot deployed yet, and no drift: what the inventory would have today on {', '.join(hosts)}:")
        for diff in diffs:
            say("\n".join(f"    {line}" for line in diff.split("\n")))
    if found.next:
        say("\n" + "\n".join(f"Next: {step}" for step in found.next))
