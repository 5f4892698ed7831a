"""Watching a stage: what a person may decide, what not, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from playbooks.core.errors import Interrupted, SlipwayError
from playbooks.fleet.progress import Look, Silent
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal
from playbooks.rollout.sides import Sides
from playbooks.rollout.watching.watch import StageObserver
from playbooks.settings.rollout import RolloutSettings
from playbooks.steps.traffic import Server
from playbooks.strategies.canary import canary
from playbooks.strategies.plan import FleetShape, Stage, last_watch
from playbooks.strategies.rolling import rolling
from playbooks.traffic.shares import HostBackends, TrafficSplit

HOSTS = ("app1", "app2")


class Told(Silent):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.looks: list[Look] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def look(self, look: Look) -> None:
        self.looks.append(look)


class Person:
    """What hosts say: nothing bad until so many looks, and a person's word from so many on."""

    def __init__(self, *, word_after: int, bad_after: int = 10**9) -> None:
        self.word_after, self.bad_after = word_after, bad_after
        self.looked = 0
        self.held: list[str | None] = []

    def look(self, moved: frozenset[str]) -> Sequence[Signal]:
        self.looked += 1
        return [Signal(host, "health", bad=self.looked >= self.bad_after, sentence="no answer") for host in moved]

    def hold(self, stage: str | None) -> None:
        self.held.append(stage)

    def promoted(self, stage: str) -> str | None:
        return "eve@laptop" if self.held[-1:] == [stage] and self.looked >= self.word_after else None


class Nobody:
    """A site without a visitor; at some reads it cannot be asked."""

    buckets = ()
    signals: Sequence[Signal] = ()

    def __init__(self, failures: Sequence[str | None] = ()) -> None:
        self._failures = list(failures)

    def read(self) -> Mapping[str, Counts]:
        failure = self._failures.pop(0) if self._failures else None
        if failure:
            raise SlipwayError(failure)
        return {}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes when somebody sleeps."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += max(0.01, seconds)

    monkeypatch.setattr("playbooks.rollout.watching.watch.time.monotonic", lambda: now)
    monkeypatch.setattr("playbooks.rollout.watching.watch.time.sleep", sleep)


def watching(hosts: Person, told: Told, source: Nobody | None = None) -> tuple[StageObserver, Stage]:
    rollout = RolloutSettings.model_validate({"hold": "10m", "judgement": {"interval": "30s"}})
    plan = canary(HOSTS, rollout, FleetShape(2))
    places = [HostBackends(host, Server(host, "192.0.2.1", 80), Server(host, "192.0.2.1", 80)) for host in HOSTS]
    sides = Sides(places, frozenset(), new="2", old="1")
    observer = StageObserver(source or Nobody(), hosts, sides, rollout, plan, "invoke promote --env=x", told)
    return observer, next(stage for stage in plan.stages if stage.watch)


def test_a_word_counts_once_the_stage_is_held_and_is_on_record() -> None:
    """A word that was there before its time is of another stage, or of nobody who saw the numbers."""
    person, told = Person(word_after=1), Told()
    observer, stage = watching(person, told)
    stage_verdict = observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert (stage_verdict.good, stage_verdict.record["promoted_by"]) == (True, "eve@laptop")
    assert stage_verdict.record["outcome"] == "inconclusive"
    assert person.held == [stage.name, None]
    assert [look.held for look in told.looks] == [False] * 30 + [True]
    assert "invoke promote --env=x lets it go on" in told.looks[-1].then
    assert any(rule == "errors" for rule, _ in told.looks[-1].lacking)


def test_what_is_known_to_be_bad_cannot_be_let_go_on() -> None:
    """Between the look that a person has seen and the next one it may have turned bad."""
    person = Person(word_after=33, bad_after=33)
    observer, stage = watching(person, Told())
    stage_verdict = observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert not stage_verdict.good
    assert "promoted_by" not in stage_verdict.record
    assert person.held == [stage.name, None]


def test_a_stage_without_requests_is_never_called_good() -> None:
    """--watch=1s where nobody asks for anything, or nothing counts, would end with a release that was "good"."""
    told = Told()
    watched, _ = watching(Person(word_after=10**9), told)
    (last,) = last_watch(RolloutSettings.model_validate({"watch": {"for": "1s"}}), FleetShape(2))
    unasked, _ = watching(Person(word_after=10**9), told)
    unasked._source = None
    for observer, said in ((watched, "Not enough data"), (unasked, "No request was judged: no source counts")):
        observer._plan = replace(observer._plan, stages=(*observer._plan.stages, last))
        stage_verdict = observer.watch(last, TrafficSplit(frozenset(HOSTS)))
        assert (stage_verdict.good, stage_verdict.record["outcome"], told.looks[-1].outcome) == (
            True,
            "inconclusive",
            "inconclusive",
        )
        assert said in stage_verdict.sentence


def test_nobody_says_a_word() -> None:
    """A held stage does not stand for ever."""
    person, told = Person(word_after=10**9), Told()
    observer, stage = watching(person, told)
    stage_verdict = observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert not stage_verdict.good
    assert told.looks[-1].passed == 900 + 600
    assert person.held == [stage.name, None]


def test_ctrl_c_leaves_no_held_stage_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else somebody would let a stage go on that is being taken back, and be told that it does."""
    person = Person(word_after=10**9)
    observer, stage = watching(person, Told())
    monkeypatch.setattr(person, "promoted", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert person.held == [stage.name, None]


def test_ctrl_c_while_numbers_are_read_is_no_failed_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was one once: the canary that a person wanted back went on to every host."""
    source = Nobody()
    observer, stage = watching(Person(word_after=1), Told(), source)
    monkeypatch.setattr(source, "read", lambda: (_ for _ in ()).throw(Interrupted("stopped by Ctrl-C")))
    with pytest.raises(Interrupted):
        observer.begin()
    with pytest.raises(Interrupted):
        observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))


def test_numbers_that_cannot_be_read_are_told_once_until_they_can_be() -> None:
    """A line a look would hide all others; a new reason, or the same one after a while, is news."""
    person, told = Person(word_after=1), Told()
    observer, stage = watching(person, told, Nobody([None, *["down"] * 9, "odd", None, "down"]))
    observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert [text.rpartition(": ")[2] for text in told.warnings if "metrics" in text] == ["down", "odd", "down"]


class Shop(Nobody):
    """So many requests a look, each of them as slow as it is at that moment."""

    def __init__(self, *milliseconds: float) -> None:
        super().__init__()
        self._times = list(milliseconds)

    def read(self) -> Mapping[str, Counts]:
        slow = self._times.pop(0) if len(self._times) > 1 else self._times[0]
        return {host: Counts(500, 0, {slow: 500}) for host in HOSTS}


@pytest.mark.parametrize(("after", "good"), [(130.0, True), (170.0, False)])
def test_the_watch_after_the_switch_remembers_how_fast_the_old_release_was(after: float, good: bool) -> None:
    """A5: 50 % above the baseline is too slow, also when nothing runs the old release any more to compare with."""
    settings = {"watch": {"for": "10m"}}
    rollout = RolloutSettings.model_validate(settings)
    plan = rolling(HOSTS, rollout, FleetShape(2))
    places = [HostBackends(host, Server(host, "192.0.2.1", 80), Server(host, "192.0.2.1", 80)) for host in HOSTS]
    source, person = Shop(100.0, 100.0, after), Person(word_after=10**9)
    sides = Sides(places, frozenset(), new="2", old="1")
    observer = StageObserver(source, person, sides, rollout, plan, "promote", Told())
    observer.start()
    observer.begin()
    stage_verdict = observer.watch(plan.stages[-1], TrafficSplit(frozenset(HOSTS)))
    assert stage_verdict.good is good
    assert good or "p50" in stage_verdict.sentence or "p95" in stage_verdict.sentence


@pytest.mark.parametrize("bad", [True, False])
def test_a_number_of_ones_own_above_its_limit_ends_a_stage_once_it_has_settled(bad: bool) -> None:
    """It was read, and nobody looked at it; while caches are cold it tells nothing."""
    source, told = Nobody(), Told()
    source.signals = [Signal("app1", "queue", bad=bad, sentence="queue is 7, limit 5")]
    observer, stage = watching(Person(word_after=1), told, source)
    stage_verdict = observer.watch(stage, TrafficSplit(frozenset({"app1"}), share=0.05))
    assert stage_verdict.good is not bad
    assert ("app1: queue is 7, limit 5" in stage_verdict.sentence) is bad
    assert told.looks[0].outcome == "inconclusive"
    assert len(told.looks) == (2 if bad else 31), "two looks: the first one is within slipway_rollout.judgement.settle"
