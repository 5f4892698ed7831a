"""Builds the content of a rollout's page from its progress and its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, cast

from playbooks.core.phases import Phase
from playbooks.core.states import TaskStatus
from playbooks.fleet.progress import Look, Side
from playbooks.judgement.verdict import Finding, Outcome, Signal, Verdict
from playbooks.report.rollout_page import Point, StageOnPage, Story
from playbooks.rollout.outcome import Outcome as TaskOutcome


@dataclass(frozen=True)
class Ending:
    """How a task ended.

    Args:
        task: its name.
        environment: where.
        exit_status: its exit status.
        outcome: its result; None if an error ended it before anything was changed.
        message: the error, if there is no outcome.
        ended: when it ended.
        seconds: how long it took.
    """

    task: str
    environment: str
    exit_status: int
    outcome: TaskOutcome | None
    message: str
    ended: datetime
    seconds: float


def story_of(
    ending: Ending,
    phases: Sequence[tuple[float, Phase]],
    looks: Sequence[tuple[float, Look]],
) -> Story:
    """The content of the page.

    Args:
        ending: how it ended.
        phases: the task's phases and when they began, in seconds since the beginning.
        looks: what was measured, and when.
    """
    outcome = ending.outcome
    newest = looks[-1][1] if looks else None
    before = sorted({host.before for host in outcome.hosts if host.before}) if outcome else []
    version = outcome.version if outcome else newest.new.version if newest else ""
    old_versions = [look.old.version for _, look in looks[:1] if look.old] or [", ".join(before)]
    return Story(
        task=ending.task,
        environment=ending.environment,
        version=version,
        old_version=old_versions[0],
        strategy=outcome.strategy if outcome else "",
        exit_status=ending.exit_status,
        message=outcome.message if outcome else ending.message,
        ended=ending.ended,
        seconds=ending.seconds,
        acts=tuple(_acts(ending, phases, looks)),
        points=tuple(_points(ending, phases, looks)),
    )


def _acts(
    ending: Ending, phases: Sequence[tuple[float, Phase]], looks: Sequence[tuple[float, Look]]
) -> Iterator[StageOnPage]:
    records = {str(record.get("stage")): record for record in (ending.outcome.verdicts if ending.outcome else ())}
    last = {look.stage: look for _, look in looks}
    begins = phases[0][0] if phases else ending.seconds
    if phases and begins > ending.seconds / 100:
        yield StageOnPage("reaching the hosts", 0.0, begins)
    ends = [*(at for at, _ in phases[1:]), ending.seconds]
    for (began, phase), ended in zip(phases, ends, strict=False):
        record, look = records.get(phase.stage), last.get(phase.stage)
        verdict = _verdict(record) if record else None
        if verdict is None and look is not None:
            # The task was stopped while this stage was watched.
            verdict = Verdict(cast(Outcome, look.outcome), "", look.sentence)
        limits = {found.rule: found for found in verdict.findings} if verdict else {}
        errors, p95 = limits.get("errors"), limits.get("p95")
        yield StageOnPage(
            name=phase.text,
            began=began,
            ended=ended,
            verdict=verdict,
            decision=_decision(record) if record else "",
            errors=errors.limit if errors else None,
            latency=p95.threshold if p95 else None,
        )


def _verdict(record: Mapping[str, Any]) -> Verdict:
    """A verdict from its record (see `Verdict.to_json`)."""
    findings = tuple(Finding(**one) for one in record["findings"])
    signals = tuple(Signal(**one) for one in record["signals"])
    return Verdict(record["outcome"], record["rule"], record["sentence"], findings, signals)


def _decision(record: Mapping[str, Any]) -> str:
    """What followed from an inconclusive verdict; empty otherwise."""
    if record.get("promoted_by"):
        return f"promoted by {record['promoted_by']}"
    if record["outcome"] == "inconclusive":
        return "went on" if record["went_on"] else "did not go on"
    return ""


def _points(
    ending: Ending, phases: Sequence[tuple[float, Phase]], looks: Sequence[tuple[float, Look]]
) -> Iterator[Point]:
    """The measurements. Between two stages the traffic is that of the earlier one."""
    share: float | None = 0.0
    for _, group in groupby(looks, key=lambda one: one[1].stage):
        for number, (at, look) in enumerate(group):
            if not number:
                yield Point(max(0.0, at - look.passed), share)
            share = _share(look)
            yield Point(at, share, _rate(look.new), _rate(look.old), look.new.p95, look.old.p95 if look.old else None)
    if not looks:
        return
    # After the last look, the traffic goes back first.
    back = next((at for at, _ in phases if at >= looks[-1][0]), ending.seconds)
    yield Point(back, share)
    yield Point(ending.seconds, 0.0 if ending.outcome and ending.outcome.status == TaskStatus.ROLLED_BACK else share)


def _share(look: Look) -> float | None:
    """The share that the stage sets, or else the measured one."""
    if look.share is not None:
        return look.share
    both = look.new.requests + (look.old.requests if look.old else 0)
    return look.new.requests / both if both else None


def _rate(side: Side | None) -> float | None:
    return side.errors / side.requests if side and side.requests else None
