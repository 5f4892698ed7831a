"""Find what somebody changed by hand in a host's running release: files, links, modes, units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from playbooks.core.names import RELEASE, cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings

# The step's words and the text that a person reads, the most serious first.
WORDS = {
    "changed": "was changed",
    "missing": "is gone",
    "link": "leads elsewhere",
    "attributes": "has other capabilities, access lists or attributes",
    "mode": "has another mode or owner",
    "unit": "is not the unit file that was deployed",
    "mounts": "does not wait for the mounts that links lead to now",
    "unit-missing": "is gone",
    "drop-in": "is a drop-in that no deploy made",
    "unread": "was changed on disk since systemd read it",
    "added": "was added",
}
# With one of these changes the release is not what was staged, and no host switches to it.
SPOILING = ("changed", "missing", "link", "attributes")
# A deploy of the same version leaves these as they are.
KEPT = ("added", "drop-in", "unread")
MAX_TOLD = 3  # in a sentence
MAX_NAME = 300  # characters

# compare_release.sh writes newlines and tabs in names as these.
_ODD = {1: "\n", 2: "\t"}

How = Literal["look", "all"]


@dataclass(frozen=True)
class Change:
    """One difference from what was deployed.

    Args:
        kind: one of WORDS.
        name: a path in the release, or the path of a unit file.
    """

    kind: str
    name: str

    @property
    def is_mended_by_deploy(self) -> bool:
        """Return whether a deploy of the same version repairs this."""
        return self.kind not in KEPT

    def __str__(self) -> str:
        return f"{self.name} {WORDS[self.kind]}"


@dataclass(frozen=True)
class Drift:
    """The changes by hand on one host.

    Args:
        release: the release that runs.
        changes: the changes, up to a limit.
        more: how many changes are beyond the limit.
    """

    release: str
    changes: tuple[Change, ...]
    more: int = 0

    @property
    def spoils(self) -> bool:
        """Return whether the changes prevent a switch back to this release."""
        return any(change.kind in SPOILING for change in self.changes)

    @property
    def is_mended_by_deploy(self) -> bool:
        """Return whether a deploy of the same version repairs this."""
        return any(change.is_mended_by_deploy for change in self.changes)

    @property
    def in_release(self) -> tuple[Change, ...]:
        """Return the changes inside the release folder; they stay behind when another release runs."""
        return tuple(change for change in self.changes if change.kind not in ("drop-in", "unread", "mounts"))

    def after_a_change(self, slot: str | None) -> Drift | None:
        """Return the changes that remain when another release runs: drop-ins, except the old slot's."""
        left = f"@{slot}." if slot else None
        kept = tuple(
            change for change in self.changes if change.kind == "drop-in" and not (left and left in change.name)
        )
        return Drift(self.release, kept) if kept else None

    def __str__(self) -> str:
        return listed(self.changes, self.more)


def drift_sentences(drift: Drift | None) -> tuple[str, ...]:
    """Return a sentence for each change, up to a limit."""
    if drift is None:
        return ()
    return (*map(str, drift.changes), *([f"and {drift.more} more"] if drift.more else []))


def listed(changes: Sequence[Change], more: int = 0) -> str:
    """Return the first changes as a part of a sentence."""
    told = [str(change) for change in changes[:MAX_TOLD]]
    more += len(changes) - len(told)
    return ", ".join(told) + (f", and {more} more" if more else "")


def drift_call(settings: Settings, *, how: How = "look") -> StepCall:
    """Build the step that finds out what was changed.

    Args:
        settings: the host's settings.
        how: "look": files are read whose size, time or inode changed; "all": every file.
    """
    return StepCall("drift", values={"home": settings.home, "how": how}, timeout=settings.timeouts.command)


def read_drift(answer: StepResult) -> Drift | None:
    """Read the changes; None if nothing was changed or no release of Slipway runs.

    Raises:
        BadAnswer: the answer is malformed.
    """
    release = answer.maybe("drift_of", 1)
    if release is None:
        return None
    changes = read_changes(answer)
    count = answer.number(answer.one("count", 1)[0])
    name = answer.fitting(RELEASE, release[0], "release")
    return Drift(name, changes, max(0, count - len(changes))) if changes else None


def read_changes(answer: StepResult) -> tuple[Change, ...]:
    """Read the changes that a step reports.

    Raises:
        BadAnswer: a change has an unknown kind.
    """
    found = list(answer.all("drift", 2))
    if any(kind not in WORDS for kind, _ in found):
        raise answer.bad("it tells of a change of no known kind")
    changes = (Change(kind, cut(name.translate(_ODD), MAX_NAME)) for kind, name in found)
    return tuple(sorted(changes, key=lambda change: (list(WORDS).index(change.kind), change.name)))
