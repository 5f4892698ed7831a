"""In which order hosts change and traffic moves (B1 to B5)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from playbooks.settings.types import Batch, Duration, Model


class Rollout(Model):
    """In which order hosts change, and what a failure does (A5, B1)."""

    strategy: Literal["rolling"] = Field("rolling", description="How hosts change.")
    batch: Batch = Field("1", description="Hosts that switch at the same time: a number or a percentage (B1: 1).")
    on_failure: Literal["rollback", "halt"] = Field(
        "rollback", description="What a failed host does to the deploy: take the whole fleet back, or stop where it is."
    )
    tolerate: Batch | Literal["0"] = Field(
        "0",
        description="How many hosts (or N %) may fail before that happens; they are taken back alone, reported, and "
        "repaired by the next deploy.",
    )
    grace: Duration = Field(0.0, description="Pause between batches.")
