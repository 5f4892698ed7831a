"""Define phases of the whole fleet: events with a code and fields; the text is only for a person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PhaseCode(StrEnum):
    """The code of a phase. docs/schemas lists these in `timings.phases`, so never rename one."""

    LOOKING = "looking"
    RESUMING = "resuming"
    ADOPTING = "adopting"
    MAKING_DELTAS = "making-deltas"
    STAGING = "staging"
    RUNNING_ONCE = "running-once"
    MIGRATING = "migrating"
    SWITCHING = "switching"
    SHIFTING = "shifting"  # a stage in which no host changes
    TAKING_BACK = "taking-back"
    RESTORING_DATABASES = "restoring-databases"
    BACKING_UP = "backing-up"
    RESTORING = "restoring"
    STARTING = "starting"
    COUNTING = "counting"


@dataclass(frozen=True)
class Phase:
    """A phase that begins now.

    Args:
        code: the phase.
        text: its description for a person.
        stage: the plan's stage; empty if it is none.
    """

    code: PhaseCode
    text: str
    stage: str = ""
