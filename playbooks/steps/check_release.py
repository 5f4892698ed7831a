"""Check that a release on a host is still what was staged, before a host goes back to it (A6)."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.core import names
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.steps.drift import listed, read_changes


@dataclass(frozen=True)
class Checked:
    """The result of the check.

    Args:
        verdict: intact, damaged or absent.
        reason: why it is not intact.
        units: full names of the release's units, if it is intact.
        slot: the slot that the units run in, if any.
    """

    verdict: str
    reason: str
    units: tuple[str, ...]
    slot: str | None = None

    @property
    def intact(self) -> bool:
        """Return whether a host can switch to the release as it is."""
        return self.verdict == "intact"


def check_release(remote: Remote, settings: Settings, release: str) -> Checked:
    """Compare every file of a release with its manifest."""
    answer = remote.run(
        "check_release", values={"home": settings.home, "id": release}, timeout=settings.timeouts.command
    )
    (verdict,) = answer.one("verdict", 1)
    slot = answer.maybe("slot", 1)
    changes = listed(read_changes(answer))
    return Checked(
        verdict,
        changes if verdict == "damaged" else "" if verdict == "intact" else "it is not on this host any more",
        tuple(answer.fitting(names.UNIT, unit, "unit") for (unit,) in answer.all("unit", 1)),
        answer.fitting(names.SLOT, slot[0], "slot") if slot else None,
    )
