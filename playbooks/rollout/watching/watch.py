"""Watches a stage: reads the counts of both versions, judges them, and decides whether to go on (A5, B2, B3, B5)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from playbooks.core.errors import Interrupted, SlipwayError
from playbooks.core.states import StageCode
from playbooks.fleet.progress import Look, Progress, Side
from playbooks.judgement.counts import Counts, total
from playbooks.judgement.judge import Judge
from playbooks.judgement.verdict import Signal, Verdict
from playbooks.rollout.rollout import StageVerdict
from playbooks.rollout.sides import Sides
from playbooks.settings.judgement import Criteria
from playbooks.settings.rollout import RolloutSettings
from playbooks.strategies.plan import Plan, Stage, WatchPeriod, following, seconds
from playbooks.traffic.shares import TrafficSplit

# The least number of judgements in a stage, however short it is.
LOOKS = 30
SHORTEST = 1.0
# How many requests of the old release are enough to keep its latencies for later comparison.
MIN_BEFORE = 200
# Without a source of counts, hosts are judged by their own signals only.
NOTHING = Criteria.model_construct(worse_errors=None, worse_latency=None)


class RequestCounts(Protocol):
    """Where the numbers come from."""

    @property
    def buckets(self) -> tuple[float, ...]:
        """The bounds of its histogram in milliseconds; none if it knows each latency."""

    @property
    def signals(self) -> Sequence[Signal]:
        """The servers' own metrics at the last reading; none if that failed."""

    def read(self) -> Mapping[str, Counts]:
        """The counts since the last reading, by server. The first reading sets the start, and gives nothing.

        Raises:
            SlipwayError: it cannot be read now.
        """


class Hosts(Protocol):
    """The signals of the application's hosts."""

    def look(self, moved: frozenset[str]) -> Sequence[Signal]:
        """Restarts, failing health, memory and log of hosts on the new release, compared with those on the old one."""

    def hold(self, stage: str | None) -> None:
        """Tell the hosts which stage is held, for `invoke promote`; None: no stage is held any more."""

    def promoted(self, stage: str) -> str | None:
        """Who promoted the held stage, if the last look saw it."""


class StageObserver:
    """Watches the stages of one deploy.

    Args:
        source: where the numbers come from; None if nothing counts requests.
        hosts: the hosts' own signals.
        sides: which servers run which version.
        rollout: how it is judged.
        plan: the stages to watch.
        promote: the command that lets a held stage go on.
        progress: where to report.
    """

    def __init__(
        self,
        source: RequestCounts | None,
        hosts: Hosts,
        sides: Sides,
        rollout: RolloutSettings,
        plan: Plan,
        promote: str,
        progress: Progress,
    ) -> None:
        self._source, self._hosts, self._sides = source, hosts, sides
        self._rollout, self._plan = rollout, plan
        self._promote, self._progress = promote, progress
        self._before: Counts | None = None
        self._began = time.monotonic()
        self._held = False
        self._unread = ""  # why the last reading failed: reported once

    def start(self) -> None:
        """Begin to count, and report metrics that do not exist now, before anything changes.

        Raises:
            SlipwayError: that.
        """
        if self._source is not None:
            self._source.read()

    def begin(self) -> None:
        """Start to count before anything changes; the counts until the next reading are the baseline."""
        counts = total(self._read().values())
        self._before = counts if counts.requests else self._before

    def watch(self, stage: Stage, split: TrafficSplit) -> StageVerdict:
        """Watch a stage for its time, or until it is bad."""
        began = time.monotonic()
        try:
            return replace(self._watch(stage, split), seconds=time.monotonic() - began)
        finally:
            if self._held:
                self._held = False
                self._hosts.hold(None)

    def _watch(self, stage: Stage, split: TrafficSplit) -> StageVerdict:
        watch = stage.watch
        assert watch is not None  # nobody asks otherwise  # noqa: S101
        every = max(SHORTEST, min(self._rollout.judgement.interval, watch.seconds / LOOKS))
        self._read()  # counts from while hosts and traffic moved belong to neither stage
        judge = self._judge(watch, split)
        now = time.monotonic()
        watched = _Watched(stage, split, watch, judge, began=now, last=now, until=now + watch.seconds)
        while True:
            time.sleep(max(0.0, min(every, watched.until - time.monotonic())))
            verdict = self._look(watched)
            stage_verdict = self._rule(watched, verdict)
            if stage_verdict is not None:
                return stage_verdict
            if watched.is_over:
                watched.until = watched.last + self._rollout.hold
                self._hold(stage, verdict)

    def _look(self, watched: _Watched) -> Verdict:
        """Read what has happened since the last look, and report it."""
        now = time.monotonic()
        new, old = self._sides.counts(self._read(), watched.split)
        signals = self._hosts.look(self._sides.hosts(watched.split))
        # Caches and pools are cold at first: until then only requests and errors count.
        if now - watched.began <= min(self._rollout.judgement.settle, watched.watch.seconds / 5):
            watched.judge.feed(now - watched.last, _untimed(new), old, signals)
        else:
            watched.judge.feed(now - watched.last, new, old, [*signals, *self._own_signals()])
        verdict = watched.judge.verdict()
        watched.new, watched.old = watched.new + new, watched.old + (old or Counts())
        so_far = self._sides.told(watched.new, watched.old if old is not None else None)
        self._tell(watched, now, self._sides.told(new, old), so_far, verdict)
        watched.last = now
        return verdict

    def _tell(
        self,
        watched: _Watched,
        now: float,
        sides: tuple[Side, Side | None],
        so_far: tuple[Side, Side | None],
        verdict: Verdict,
    ) -> None:
        held = f"{self._promote} lets it go on; Ctrl-C takes the release back"
        then = held if self._held else following(self._plan, watched.stage)
        self._progress.look(
            Look(
                stage=watched.stage.name,
                share=watched.split.share,
                at=now - self._began,
                passed=now - watched.began,
                seconds=watched.until - watched.began,
                window=now - watched.last,
                new=sides[0],
                old=sides[1],
                new_so_far=so_far[0],
                old_so_far=so_far[1],
                outcome=verdict.outcome,
                sentence=verdict.sentence,
                lacking=tuple((found.rule, found.lacking) for found in verdict.findings if found.lacking),
                then=then,
                held=self._held,
            )
        )

    def _rule(self, watched: _Watched, verdict: Verdict) -> StageVerdict | None:
        """Whether to go on or back; None: keep watching."""
        stage = watched.stage
        if verdict.outcome == "bad":
            return _ruling(stage, verdict, good=False)
        by = self._hosts.promoted(stage.name) if self._held else None
        if by is not None:
            self._progress.warn(f"{stage.name}: promoted by {by}; the rollout goes on")
            return _ruling(stage, verdict, good=True, promoted_by=by)
        good = verdict.outcome == "good"
        if not watched.is_over and not (self._held and good):
            return None
        inconclusive = self._rollout.judgement.inconclusive
        # Where there is no rule no time and no request would bring a verdict.
        if good or watched.watch.lenient or not verdict.findings or inconclusive == "promote":
            return _ruling(stage, verdict, good=True)
        if self._held or inconclusive == "abort":
            return _ruling(stage, verdict, good=False)
        return None

    def _hold(self, stage: Stage, verdict: Verdict) -> None:
        """Hold a stage that is inconclusive at its end, until more requests come or a person decides."""
        self._held = True
        self._hosts.hold(stage.name)
        self._progress.warn(
            f"{stage.name}: {verdict.sentence} The rollout waits. {self._promote} lets it go on. Ctrl-C takes the "
            f"release back. Without a verdict it is taken back after {seconds(self._rollout.hold)}."
        )

    def _judge(self, watch: WatchPeriod, split: TrafficSplit) -> Judge:
        if self._source is None:
            return Judge(NOTHING, self._rollout.judgement, stages=self._plan.watches, before=self._before)
        return Judge(
            self._criteria(watch, split),
            self._rollout.judgement,
            stages=self._plan.watches,
            before=self._before,
            buckets=self._source.buckets,
        )

    def _criteria(self, watch: WatchPeriod, split: TrafficSplit) -> Criteria:
        """In the final watch nothing runs the old release, so its earlier latencies are compared with (A5)."""
        criteria, before = watch.criteria, self._before
        if not watch.lenient or criteria.worse_latency is None or self._sides.counts({}, split)[1] is not None:
            return criteria
        if before is None or sum(before.latencies.values()) < MIN_BEFORE:
            return criteria
        limits = {}
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            was = (before.quantile(share) or 0.0) / 1000
            limit = max(was * (1 + criteria.worse_latency), was + self._rollout.judgement.slack)
            limits[name] = min(limit, getattr(criteria, name) or limit)
        return criteria.model_copy(update=limits)

    def _own_signals(self) -> Sequence[Signal]:
        """The user's own metrics, of servers on either release."""
        return self._source.signals if self._source else ()

    def _read(self) -> Mapping[str, Counts]:
        if self._source is None:
            return {}
        try:
            counts = self._source.read()
        except Interrupted:
            raise
        except SlipwayError as error:
            # Missing data is neither good nor bad.
            if error.message != self._unread:
                self._progress.warn(f"the metrics could not be read: {error.message}")
            self._unread = error.message
            return {}
        self._unread = ""
        return counts


@dataclass
class _Watched:
    """A stage while it is watched. Moments are seconds by the monotonic clock.

    Args:
        stage, split, watch: the stage, the state of the rollout in it, and how it is judged.
        judge: of this stage alone.
        began, last, until: when it began, when it was last judged, and when its time is over.
        new, old: the counts of both releases so far.
    """

    stage: Stage
    split: TrafficSplit
    watch: WatchPeriod
    judge: Judge
    began: float
    last: float
    until: float
    new: Counts = field(default_factory=Counts)
    old: Counts = field(default_factory=Counts)

    @property
    def is_over(self) -> bool:
        """Whether the last look was at the end of its time."""
        return self.last >= self.until


def _ruling(stage: Stage, verdict: Verdict, *, good: bool, promoted_by: str | None = None) -> StageVerdict:
    record = {"stage": stage.name, "share": stage.share, "went_on": good, **verdict.to_json()}
    if promoted_by is not None:
        record["promoted_by"] = promoted_by
    why = StageCode.BAD if verdict.outcome == "bad" else StageCode.INCONCLUSIVE
    return StageVerdict(stage.name, good, f"{stage.name}: {verdict.sentence}", record, code="" if good else why)


def _untimed(counts: Counts) -> Counts:
    return Counts(counts.requests, counts.errors)
