"""In which order hosts change and traffic moves (B1 to B5)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.judgement import BLUE_GREEN, CANARY, SHIFTING, WATCH, Criteria, Judgement, Step
from playbooks.settings.types import Batch, Duration, Model, Percent, section, stock


class FinalWatch(Model):
    """The watch of the whole fleet after the last stage."""

    for_: Duration | None = Field(
        None, alias="for", description="How long. Default: 30 minutes in production, otherwise no watch."
    )
    criteria: Criteria = section("The criteria for the new release.", **WATCH)


class Headroom(Model):
    """When the other servers count as able to carry the traffic while hosts are out, by the balancers' counts of the
    last seconds.
    """

    errors: Percent | None = Field(
        0.2, gt=0, lt=1, description="The most requests that may fail. Above this no host is taken out. null: no limit."
    )
    p50: Duration | None = Field(
        2.0,
        gt=0,
        description="If more than half of all requests take longer, no host is taken out. Set a higher value, or "
        "null for no limit, for an application with long requests (long polling).",
    )
    wait: Duration = Field(60.0, description="How long a deploy waits for headroom before it stops.")


class RolloutSettings(Model):
    """In which order hosts change, how traffic moves, and what happens on a failure."""

    strategy: Literal["rolling", "blue-green", "canary"] = Field("rolling", description="How hosts change.")
    batch: Batch = Field("1", description="Hosts that switch at the same time: a number or a percentage.")
    max_unavailable: Batch = Field(
        "25%", description="Behind a balancer, the most hosts that may be out of it at a time, whatever `batch` says."
    )
    on_failure: Literal["rollback", "halt"] = Field(
        "rollback",
        description="What a deploy does when too many hosts fail: take the whole fleet back, or stop and leave "
        "everything as it is.",
    )
    headroom: Headroom = section("What the other servers must be able to carry before a host is taken out.")
    tolerate: Batch | Literal["0"] = Field(
        "0",
        description="How many hosts (or N %) may fail before `on_failure` applies. Only these hosts are then taken "
        "back; the deploy reports them, and the next deploy repairs them. One that cannot be taken back ends the "
        "deploy with status 3.",
    )
    grace: Duration = Field(
        0.0,
        description="How long to watch the new release between batches. Only a verdict of bad stops the deploy.",
    )
    shifting: Criteria = section("The criteria between batches.", **SHIFTING)
    canary: list[Step] = stock(CANARY, min_length=1, description="The stages of a canary. The last one has 100%.")
    blue_green: list[Step] = stock(
        BLUE_GREEN,
        min_length=1,
        description="The stages of a blue-green deploy. A single stage of 100% moves all traffic at once.",
    )
    watch: FinalWatch = section("The watch after the last stage.")
    judgement: Judgement = section("How certain a judgement must be.")
    hold: Duration = Field(
        3600.0,
        description="With judgement.inconclusive: hold, how long an inconclusive stage is held and watched before "
        "the release is taken back.",
    )

    @model_validator(mode="after")
    def _ladders_climb(self) -> Self:
        for name, steps in (("canary", self.canary), ("blue_green", self.blue_green)):
            shares: list[Percent] = [step.share for step in steps]
            if shares != sorted(set(shares)) or shares[-1] != 1:
                raise ValueError(f"{name}: expected shares that grow from step to step, the last one 100%")
        return self
