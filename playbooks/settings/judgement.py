"""By which numbers a release is judged, and how certain a judgement must be (A5, B2, B3, B5)."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.types import Duration, Model, Percent, section


class Criteria(Model):
    """The criteria that a release must meet while it is watched. A criterion without a value does not count."""

    errors: Percent | None = Field(None, gt=0, lt=0.5, description="The largest part of all requests that may fail.")
    p50: Duration | None = Field(None, gt=0, description="At most half of all requests may take longer.")
    p95: Duration | None = Field(None, gt=0, description="At most 5 % of all requests may take longer.")
    p99: Duration | None = Field(None, gt=0, description="At most 1 % of all requests may take longer.")
    worse_errors: Percent | None = Field(
        0.25,
        description="How much higher the odds of an error may be than with the old version, both measured at the "
        "same time. null: no comparison.",
    )
    worse_latency: Percent | None = Field(
        0.2, description="How much longer requests may take than with the old version. null: no comparison."
    )


class Step(Model):
    """A stage: the new release's share of the traffic, for how long, and the criteria."""

    share: Percent = Field(gt=0, le=1, description="The new release's share of the traffic.")
    for_: Duration = Field(alias="for", description="How long the stage is watched.")
    criteria: Criteria = section("The criteria for the new release.")


class Judgement(Model):
    """How certain a judgement must be. The rates are for a whole deploy."""

    false_alarms: Percent = Field(
        0.01,
        gt=0,
        le=0.2,
        description="The false-alarm rate: the largest part of deploys of a good release that may be stopped by "
        "chance.",
    )
    missed: Percent = Field(
        0.05,
        gt=0,
        le=0.5,
        description="How often a release that is worse than `margin` × a limit may pass that limit in a stage by "
        "chance.",
    )
    margin: float = Field(
        2.0,
        gt=1,
        le=10,
        description="A release is good if the data shows that it stays below this many times a limit. A lower value "
        "needs more requests.",
    )
    floor: Percent = Field(
        0.001,
        gt=0,
        lt=0.5,
        description="Below this error rate a release is not stopped for having more errors than the old one.",
    )
    slack: Duration = Field(0.01, description="A release that is slower by less than this is not stopped for it.")
    noticed: Percent = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="A comparison has enough requests when it would find a release with this error rate four times "
        "out of five.",
    )
    settle: Duration = Field(
        30.0,
        description="For how long after traffic has moved the new release's latencies do not count, because caches "
        "and pools are cold at first. It is at most a fifth of a stage. Errors count at once.",
    )
    interval: Duration = Field(30.0, ge=1, description="How often a stage is judged.")
    inconclusive: Literal["hold", "promote", "abort"] = Field(
        "hold", description="What happens at the end of a stage with too few requests."
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
