"""--report: what a rollout told while it ran becomes its story, also of one that failed; no secret is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from playbooks.cli import runner
from playbooks.core.errors import ExitStatus, Unreachable
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.states import TaskStatus
from playbooks.environments.environment import Environment
from playbooks.fleet.progress import Look, Progress, Side
from playbooks.judgement.counts import Counts
from playbooks.judgement.judge import Judge
from playbooks.report import output
from playbooks.report.rollout_page import Story, rollout_page
from playbooks.report.story import Ending, story_of
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.settings.judgement import Criteria, Judgement

STAGE = "5 % of the traffic"
PHASES = (
    (1.0, Phase(PhaseCode.STAGING, "staging 1.1.0")),
    (5.0, Phase(PhaseCode.SWITCHING, "switching, to 5 %", "to 5 %")),
    (8.0, Phase(PhaseCode.SHIFTING, STAGE, STAGE)),
    (70.0, Phase(PhaseCode.TAKING_BACK, "taking app1 back")),
)


def look(passed: float, *, errors: int = 0, stage: str = STAGE, share: float | None = 0.05) -> Look:
    new, old = Side("1.1.0", 100, errors, 5.0, 20.0, 30.0), Side("1.0.0", 1900, 1, 5.0, 21.0, 30.0)
    return Look(stage, share, passed, passed, 60.0, 30.0, new, old, new, old, "bad", "errors: too many")


def outcome(**changes: object) -> Outcome:
    court = Judge(Criteria.model_validate({"errors": "1%", "p95": "2s"}), Judgement.model_validate({}))
    court.feed(60, Counts(200, 60, {20.0: 200}), Counts(3800, 2, {20.0: 3800}))
    record = {"stage": STAGE, "share": 0.05, "went_on": False, **court.verdict().to_json()}
    host = HostOutcome("app1", "1.0.0", "1.0.0", "rolled back")
    failed = Outcome(
        "deploy",
        "7",
        "shop",
        "1.1.0",
        TaskStatus.ROLLED_BACK,
        "went back",
        (host,),
        "t",
        90.0,
        "me",
        verdicts=(record,),
    )
    return replace(failed, **changes)  # type: ignore[arg-type]


def told(ended: Outcome | None, looks: Sequence[tuple[float, Look]]) -> Story:
    ending = Ending("deploy", "shop", 1, ended, "gone", datetime(2026, 11, 21, tzinfo=UTC), 90.0)
    return story_of(ending, PHASES, looks)


def test_traffic_is_drawn_as_it_moved() -> None:
    """It comes when the stage is watched, not when hosts switch, and goes when they are taken back."""
    points = told(outcome(), [(38.0, look(29.0)), (68.0, look(59.0, errors=30))]).points
    assert [(point.at, point.share) for point in points] == [
        *((9.0, 0.0), (38.0, 0.05), (68.0, 0.05)),
        *((70.0, 0.05), (90.0, 0.0)),
    ]
    assert [point.new_errors for point in points] == [None, 0.0, 0.3, None, None]
    by_hosts = told(outcome(status="done"), [(38.0, look(29.0, share=None))]).points
    assert by_hosts[1].share == 0.05  # as it was counted
    assert by_hosts[-1].share == 0.05


def test_stages_have_their_verdict_and_limits() -> None:
    """What a person looks for: which stage ended it, by which rule, and what the limit was."""
    acts = told(outcome(), [(38.0, look(29.0))]).acts
    assert [act.name for act in acts] == ["reaching the hosts", *(phase.text for _, phase in PHASES)]
    assert [act.verdict.outcome if act.verdict else None for act in acts] == [None, None, None, "bad", None]
    assert (acts[3].began, acts[3].ended, acts[3].errors, acts[3].latency) == (8.0, 70.0, 0.01, 2000.0)


def test_who_let_a_stage_go_on_is_in_the_story() -> None:
    """Months later somebody asks why a release went on that nobody could judge."""
    (record,) = outcome().verdicts
    kept = outcome(verdicts=({**record, "outcome": "inconclusive", "went_on": True, "promoted_by": "eve@laptop"},))
    assert told(kept, []).acts[3].decision == "promoted by eve@laptop"


def test_a_rollout_that_was_cut_short_has_what_was_seen_last() -> None:
    """Ctrl-C, or a fault of ours: there is no record of a verdict then."""
    acts = told(None, [(38.0, look(29.0))]).acts
    assert acts[3].verdict
    assert acts[3].verdict.sentence == "errors: too many"


def test_no_secret_is_in_the_page() -> None:
    """The page is kept with a build: whatever hosts, hooks and stages are called, it must not be read there."""
    (record,) = outcome().verdicts
    findings = [{**one, "sentence": "pa<ss"} for one in record["findings"]]  # type: ignore[attr-defined]
    signals = [{"host": "app1", "rule": "health", "bad": True, "sentence": "pa<ss"}]
    evil = {**record, "sentence": "pa<ss", "findings": findings, "signals": signals, "promoted_by": "pa<ss"}
    story = told(outcome(message="pa<ss", version="pa<ss", verdicts=(evil,)), [(38.0, look(29.0))])
    output.strike_with(lambda text: text.replace("pa<ss", "****"))
    try:
        page = rollout_page(story)
    finally:
        output.strike_with(None)
    assert "pa<ss" not in page
    assert "pa&lt;ss" not in page
    assert page.count("****") > 4


def test_the_page_is_written_also_when_the_task_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A deploy that was taken back is the one to look into; a bad path is refused before anything is done."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {slipway_app: shop, slipway_artifact: x}}}\n")
    page = tmp_path / "page.html"
    begun: list[str] = []

    def act(_: Environment, progress: Progress) -> Outcome:
        begun.append("")
        progress.phase(Phase(PhaseCode.SHIFTING, STAGE, STAGE))
        progress.look(look(0.0))
        if len(begun) == 2:
            raise Unreachable("no route", host="a")
        return outcome(exit_status=ExitStatus.FAILED)

    def run(path: Path) -> int | None:
        with pytest.raises(Exit) as ended:
            runner.perform(str(tmp_path), act, lambda _: None, observers=runner.reported("deploy", str(path)))
        return ended.value.code

    assert run(tmp_path / "no" / "page.html") == 2
    assert "--report=" in capsys.readouterr().err
    assert not begun
    assert run(page) == 1
    assert "60 of 200 requests (30 %) failed" in page.read_text()
    assert f"rollout: {page}" in capsys.readouterr().err
    assert run(page) == 1
    assert re.search("no route", page.read_text())
