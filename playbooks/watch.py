"""Watches a stage: counts what both versions do, judges it, and says whether to go on (A5, B2, B3, B5)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from playbooks.errors import SlipwayError
from playbooks.fleet.progress import Look, Progress, Side
from playbooks.judgement.counts import Counts, total
from playbooks.judgement.judge import Judge
from playbooks.judgement.verdict import Signal, Verdict
from playbooks.rollout import Ruling
from playbooks.settings.judgement import Criteria
from playbooks.settings.rollout import Rollout
from playbooks.shares import Place, Split
from playbooks.strategies.plan import Plan, Stage, Watch, following, percent, seconds

# A stage is looked at so often at the least, however short it is.
LOOKS = 30
SHORTEST = 1.0
# Requests of the old release that its latencies can be taken from, once it is gone.
LEAST_BEFORE = 200
# Where nobody counts requests, hosts are judged by what they say of themselves.
NOTHING = Criteria(errors=None, p50=None, p95=None, p99=None, worse_errors=None, worse_latency=None)


class Source(Protocol):
    """Where the numbers come from."""

    @property
    def buckets(self) -> tuple[float, ...]:
        """Bounds, in milliseconds, of its histogram; none if it knows each latency."""

    @property
    def signals(self) -> Sequence[Signal]:
        """What servers' own numbers came to when it was last read; none if it could not be."""

    def read(self) -> Mapping[str, Counts]:
        """What was counted since the last time, by server. The first time sets the start, and gives nothing.

        Raises:
            SlipwayError: it cannot be read now.
        """


class Hosts(Protocol):
    """What the application's hosts say of themselves."""

    def look(self, moved: frozenset[str]) -> Sequence[Signal]:
        """Restarts, failing health, memory, the log, of hosts on the new release beside those on the old one."""

    def hold(self, stage: str | None) -> None:
        """Let everybody know which stage is held, for `invoke promote`; None: none is any more."""

    def promoted(self, stage: str) -> str | None:
        """Who lets a stage go on that is held, if somebody was seen to at the last look."""


class Observer:
    """Watches the stages of one deploy.

    Args:
        source: where the numbers come from; None where nothing counts.
        hosts: what hosts say of themselves.
        places: the application's hosts, as the balancers see them.
        steady: hosts that run the wanted release from the start.
        rollout: how it is judged.
        plan: what is to be watched, and what follows.
        versions: the new and the old one, for whoever is told.
        promote: the command that lets a stage go on that is held.
        progress: who is told.
    """

    def __init__(
        self,
        source: Source | None,
        hosts: Hosts,
        places: Sequence[Place],
        steady: frozenset[str],
        rollout: Rollout,
        plan: Plan,
        versions: tuple[str, str],
        promote: str,
        progress: Progress,
    ) -> None:
        self._source, self._hosts, self._places, self._steady = source, hosts, places, steady
        self._rollout, self._plan, self._promote = rollout, plan, promote
        self._versions, self._progress = versions, progress
        self._before: Counts | None = None
        self._began = time.monotonic()
        self._held = False
        self._unread = ""  # why the numbers could not be read the last time: it is told once

    def start(self) -> None:
        """Begin to count. What the settings ask for and is not there is told now, before anything changes.

        Raises:
            SlipwayError: that.
        """
        if self._source is not None:
            self._source.read()

    def begin(self) -> None:
        """Nothing has changed yet: what is counted from now on, until the next time, is how things were."""
        counts = total(self._read().values())
        self._before = counts if counts.requests else self._before

    def watch(self, stage: Stage, split: Split) -> Ruling:
        """Watch a stage for as long as it says, or until it is known to be bad."""
        began = time.monotonic()
        try:
            return replace(self._watch(stage, split), seconds=time.monotonic() - began)
        finally:
            if self._held:
                self._held = False
                self._hosts.hold(None)

    def _watch(self, stage: Stage, split: Split) -> Ruling:
        watch = stage.watch
        assert watch is not None  # nobody asks otherwise  # noqa: S101
        settings = self._rollout.judgement
        criteria = self._criteria(watch, split) if self._source else NOTHING
        every = max(SHORTEST, min(settings.interval, watch.seconds / LOOKS))
        self._read()  # what was counted while things moved is of neither stage
        buckets = self._source.buckets if self._source else ()
        judge = Judge(criteria, settings, stages=self._plan.watches, before=self._before, buckets=buckets)
        started = last = time.monotonic()
        until = started + watch.seconds
        then = following(self._plan, stage)
        settle = min(settings.settle, watch.seconds / 5)
        sums = Counts(), Counts()
        while True:
            time.sleep(max(0.0, min(every, until - time.monotonic())))
            now = time.monotonic()
            counts = self._read()
            new, old = self._sides(counts, split)
            # Caches and pools are cold at first: until then only requests and errors count.
            settled = now - started > settle
            signals = [*self._hosts.look(split.moved | self._steady), *(self._own_signals() if settled else ())]
            judge.feed(now - last, new if settled else _untimed(new), old, signals)
            verdict = judge.verdict()
            sums = sums[0] + new, sums[1] + (old or Counts())
            self._progress.look(
                Look(
                    stage=stage.name,
                    share=split.share,
                    at=now - self._began,
                    passed=now - started,
                    seconds=until - started,
                    window=now - last,
                    new=_side(self._versions[0], new),
                    old=_side(self._versions[1], old) if old else None,
                    new_so_far=_side(self._versions[0], sums[0]),
                    old_so_far=_side(self._versions[1], sums[1]) if old else None,
                    outcome=verdict.outcome,
                    sentence=verdict.sentence,
                    lacking=tuple((found.rule, found.lacking) for found in verdict.findings if found.lacking),
                    then=f"{self._promote} lets it go on; Ctrl-C takes it back" if self._held else then,
                    held=self._held,
                )
            )
            last = now
            if verdict.outcome == "bad":
                return self._ruling(stage, verdict, good=False)
            by = self._hosts.promoted(stage.name) if self._held else None
            if by is not None:
                self._progress.warn(f"{stage.name}: {by} lets it go on")
                return self._ruling(stage, verdict, good=True, promoted_by=by)
            if now < until and not (self._held and verdict.outcome == "good"):
                continue
            if verdict.outcome == "good" or watch.lenient or settings.inconclusive == "promote":
                return self._ruling(stage, verdict, good=True)
            if settings.inconclusive == "abort" or self._held:
                return self._ruling(stage, verdict, good=False)
            self._held, until = True, now + self._rollout.hold
            self._hosts.hold(stage.name)
            self._progress.warn(
                f"{stage.name}: {verdict.sentence} It is held as it is. {self._promote} lets it go on; Ctrl-C takes it "
                f"back, and so does the end of {seconds(self._rollout.hold)} without a verdict."
            )

    def _own_signals(self) -> Sequence[Signal]:
        """Numbers of the user's own, of servers on either release."""
        return self._source.signals if self._source else ()

    def _criteria(self, watch: Watch, split: Split) -> Criteria:
        """In the watch after the switch nobody runs the old release: what it took before stands in for it (A5)."""
        criteria, before = watch.criteria, self._before
        if not watch.lenient or criteria.worse_latency is None or self._sides({}, split)[1] is not None:
            return criteria
        if before is None or sum(before.latencies.values()) < LEAST_BEFORE:
            return criteria
        limits = {}
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            was = (before.quantile(share) or 0.0) / 1000
            limit = max(was * (1 + criteria.worse_latency), was + self._rollout.judgement.slack)
            limits[name] = min(limit, getattr(criteria, name) or limit)
        return criteria.model_copy(update=limits)

    def _ruling(self, stage: Stage, verdict: Verdict, *, good: bool, promoted_by: str | None = None) -> Ruling:
        record = {"stage": stage.name, "share": stage.share, "went_on": good, **verdict.to_json()}
        if promoted_by is not None:
            record["promoted_by"] = promoted_by
        return Ruling(stage.name, good, f"{stage.name}: {verdict.sentence}", record)

    def _sides(self, counts: Mapping[str, Counts], split: Split) -> tuple[Counts, Counts | None]:
        moved = split.moved | self._steady
        new = [place.after.name for place in self._places if place.host in moved]
        old = [place.before.name for place in self._places if place.before and place.before.name not in new]
        if split.share is not None and split.share >= 1:
            old = [name for place in self._places for name in _stays(place, moved)]
        return _of(counts, new), _of(counts, old) if old else None

    def _read(self) -> Mapping[str, Counts]:
        if self._source is None:
            return {}
        try:
            counts = self._source.read()
        except SlipwayError as error:
            # No data is no data: neither good nor bad.
            if error.message != self._unread:
                self._progress.warn(f"the metrics could not be read: {error.message}")
            self._unread = error.message
            return {}
        self._unread = ""
        return counts


def _stays(place: Place, moved: frozenset[str]) -> Iterable[str]:
    """The server of a host that is left out of this deploy."""
    return [place.before.name] if place.before and not place.beside and place.host not in moved else []


def _side(version: str, counts: Counts) -> Side:
    quantiles = (counts.quantile(share) for share in (0.5, 0.95, 0.99))
    return Side(version, counts.requests, counts.errors, *quantiles)


def _untimed(counts: Counts) -> Counts:
    return Counts(counts.requests, counts.errors)


def _of(counts: Mapping[str, Counts], names: Iterable[str]) -> Counts:
    return total(counts[name] for name in names if name in counts)


def as_said(watch: Watch, *, compared: bool = True) -> str:
    """What a stage is judged by, for a person.

    Args:
        watch: its criteria.
        compared: whether the old release still serves, so that there is something to compare with.
    """
    criteria = watch.criteria
    limits = [
        f"errors ≤ {percent(criteria.errors)}" if criteria.errors is not None else "",
        *(
            f"{name} ≤ {1000 * seconds:g} ms"
            for name in ("p50", "p95", "p99")
            if (seconds := getattr(criteria, name)) is not None
        ),
        f"at most {percent(criteria.worse_errors)} more errors than the old release"
        if compared and criteria.worse_errors is not None
        else "",
        f"at most {percent(criteria.worse_latency)} slower than the old release"
        if compared and criteria.worse_latency is not None
        else "",
    ]
    return ", ".join(limit for limit in limits if limit)
