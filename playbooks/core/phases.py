"""What a fleet as a whole begins to do: an event with a code and fields; its text is for a person alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PhaseCode(StrEnum):
    """What begins. docs/schemas lists these in `timings.phases`, so none is renamed."""

    LOOKING = "looking"
    RESUMING = "resuming"
    ADOPTING = "adopting"
    MAKING_DELTAS = "making-deltas"
    STAGING = "staging"
    RUNNING_ONCE = "running-once"
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
    """It begins now.

    Args:
        code: what.
        text: the same for a person.
        stage: the stage of a plan that it is; empty if it is none.
    """

    code: PhaseCode
    text: str
    stage: str = ""
