"""By which numbers a release is judged good, and how sure one must be (A5, B2, B3, B5)."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.types import Duration, Model, Percent, section


class Criteria(Model):
    """What a release must keep to while it is watched. What is left out is not asked for."""

    errors: Percent | None = Field(None, gt=0, lt=0.5, description="The most requests that may fail.")
    p50: Duration | None = Field(None, gt=0, description="Half of all requests may take longer.")
    p95: Duration | None = Field(None, gt=0, description="5 % of all requests may take longer.")
    p99: Duration | None = Field(None, gt=0, description="1 % of all requests may take longer.")
    worse_errors: Percent | None = Field(
        0.25,
        description="How much higher than the old version's the odds of an error may be, both measured at the same "
        "time. null: no comparison.",
    )
    worse_latency: Percent | None = Field(
        0.2, description="How much longer than with the old version requests may take. null: no comparison."
    )


class Step(Model):
    """A stage: how much of the traffic the new release gets, for how long, and what it must keep to."""

    share: Percent = Field(gt=0, le=1, description="Share of the traffic that the new release has.")
    for_: Duration = Field(alias="for", description="How long it is watched.")
    criteria: Criteria = section("What it must keep to.")


class Judgement(Model):
    """How sure one must be, for a whole deploy."""

    false_alarms: Percent = Field(
        0.01, gt=0, le=0.2, description="The most deploys of a good release that may be stopped by chance."
    )
    missed: Percent = Field(
        0.05, gt=0, le=0.5, description="How often a release beyond `margin` may pass a limit by chance in a stage."
    )
    margin: float = Field(
        2.0,
        gt=1,
        le=10,
        description="Good is what has shown to keep to this many times a limit: lower needs more requests.",
    )
    floor: Percent = Field(
        0.001, gt=0, lt=0.5, description="A release is not stopped for more errors than the old one's below this rate."
    )
    slack: Duration = Field(0.01, description="A release is not stopped for being slower by less than this.")
    noticed: Percent = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="A comparison has seen enough once it would have found a release that fails so often, four times "
        "out of five.",
    )
    settle: Duration = Field(
        30.0,
        description="The new release's latencies are not looked at for so long after the traffic has moved, nor for "
        "more than a fifth of a stage: caches and pools are cold at first. Errors count at once.",
    )
    interval: Duration = Field(30.0, ge=1, description="How often it is judged.")
    inconclusive: Literal["hold", "promote", "abort"] = Field(
        "hold", description="What happens at the end of a stage in which there was too little to judge by."
    )

    @model_validator(mode="after")
    def _noticed_above_floor(self) -> Self:
        if self.noticed <= self.floor:
            raise ValueError(
                "noticed must be higher than floor: below it nothing is stopped, so nothing can be noticed"
            )
        return self


# The stock ladder of B3. The last step is the watch after it (B5).
CANARY = (
    {"share": "5%", "for": "15m", "criteria": {"errors": "1%", "p95": "2s"}},
    {"share": "20%", "for": "30m", "criteria": {"errors": "0.5%", "p95": "1500ms"}},
    {"share": "100%", "for": "30m", "criteria": {"errors": "0.1%", "p95": "1s"}},
)
# A5's limits for while traffic shifts, the stepped switch of B2 with them, and those of the watch after it (B5).
SHIFTING = {"errors": "2%", "p99": "2s", "worse_latency": "50%"}
BLUE_GREEN = tuple(
    {"share": share, "for": "5m", "criteria": SHIFTING} for share in ("10%", "25%", "50%", "75%", "100%")
)
WATCH = {"errors": "1%", "p99": "2s", "worse_latency": "50%"}


def tests_of(criteria: Criteria) -> int:
    """Among how many tests the false alarms of a stage are shared."""
    limits: Sequence[object] = (criteria.errors, criteria.p50, criteria.p95, criteria.p99, criteria.worse_errors)
    return sum(one is not None for one in limits) + 2 * (criteria.worse_latency is not None)
