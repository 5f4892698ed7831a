"""In which order hosts change and traffic moves (B1 to B5)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.judgement import BLUE_GREEN, CANARY, SHIFTING, WATCH, Criteria, Judgement, Step
from playbooks.settings.types import Batch, Duration, Model, Percent, section, stock


class FinalWatch(Model):
    """The watch after everything has moved."""

    for_: Duration | None = Field(
        None, alias="for", description="How long; left out, 30 minutes in production and not at all elsewhere."
    )
    criteria: Criteria = section("What the new release must keep to.", **WATCH)


class Headroom(Model):
    """What is looked at before hosts leave the balancers: by these' own counts of the last seconds, can the others do
    without them?
    """

    errors: Percent | None = Field(
        0.2, gt=0, lt=1, description="The most requests that may fail; above it no host is taken out. null: not asked."
    )
    p50: Duration | None = Field(
        2.0,
        gt=0,
        description="Half of all requests may take longer, and no more; higher or null for an application whose "
        "requests last (long polling).",
    )
    wait: Duration = Field(60.0, description="How long a deploy waits for it to become better before it stops.")


class RolloutSettings(Model):
    """In which order hosts change, how traffic moves, and what a failure does."""

    strategy: Literal["rolling", "blue-green", "canary"] = Field("rolling", description="How hosts change.")
    batch: Batch = Field("1", description="Hosts that switch at the same time: a number or a percentage.")
    max_unavailable: Batch = Field(
        "25%", description="Behind a balancer, no more hosts than this are out of it at a time, whatever `batch` says."
    )
    on_failure: Literal["rollback", "halt"] = Field(
        "rollback", description="What a failed host does to the deploy: take the whole fleet back, or stop where it is."
    )
    headroom: Headroom = section("What must be so before a host is taken out.")
    tolerate: Batch | Literal["0"] = Field(
        "0",
        description="How many hosts (or N %) may fail before that happens; they are taken back alone, reported, and "
        "repaired by the next deploy.",
    )
    grace: Duration = Field(
        0.0,
        description="Between batches, the new release is watched for so long; only what is known to be bad stops it.",
    )
    shifting: Criteria = section("What the new release must keep to between batches.", **SHIFTING)
    canary: list[Step] = stock(CANARY, min_length=1, description="A canary's ladder; the last step has 100%.")
    blue_green: list[Step] = stock(
        BLUE_GREEN,
        min_length=1,
        description="The steps of a blue-green switch; a single step of 100% switches at once.",
    )
    watch: FinalWatch = section("The watch after it.")
    judgement: Judgement = section("How sure one must be.")
    hold: Duration = Field(
        3600.0,
        description="How long a stage with too little to judge by goes on to be watched (judgement.inconclusive: hold) "
        "before the release is taken back.",
    )

    @model_validator(mode="after")
    def _ladders_climb(self) -> Self:
        for name, steps in (("canary", self.canary), ("blue_green", self.blue_green)):
            shares: list[Percent] = [step.share for step in steps]
            if shares != sorted(set(shares)) or shares[-1] != 1:
                raise ValueError(f"{name}: expected shares that grow from step to step, the last one 100%")
        return self
