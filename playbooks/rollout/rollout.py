"""Runs a plan: move hosts and traffic, judge, take back what is not good (A5, B1). No other code does this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from playbooks.core.errors import Interrupted, SlipwayError, StepFailed, Unreachable, stopped
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.step_codes import StepCode
from playbooks.fleet.fleet import Fleet
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.rollout.mover import Mover
from playbooks.strategies.plan import Plan, Stage
from playbooks.traffic.shares import TrafficSplit
from playbooks.traffic.traffic import Traffic

OnFailure = Literal["rollback", "halt", "guards"]


class HostState(StrEnum):
    """A host's state at the end."""

    UNTOUCHED = "untouched"
    UNCHANGED = "unchanged"  # it ran the wanted release already
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    UNHEALTHY = "unhealthy"  # on the new release, and left there
    GUARDED = "left to its guard"  # the task cannot act on it any more, or does not wait for it; its guard acts
    STUCK = "stuck"  # it could not be brought to a known good state
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class StageVerdict:
    """The result of watching a stage.

    Args:
        stage: its name.
        good: whether to go on.
        sentence: why, for a person.
        record: the verdict with its numbers, for the ledger.
        seconds: how long it was watched.
        code: why it is not good; empty if it is.
    """

    stage: str
    good: bool
    sentence: str
    record: dict[str, object]
    seconds: float = 0.0
    code: str = ""


class Watcher(Protocol):
    """Whoever judges a stage by what happens after it."""

    def begin(self) -> None:
        """Start to count before anything changes; these counts are the baseline."""

    def watch(self, stage: Stage, split: TrafficSplit) -> StageVerdict:
        """Watch a stage for its time, or until it is bad."""


@dataclass(frozen=True)
class RolloutContext:
    """What carries out a plan.

    Args:
        fleet: the open sessions.
        mover: moves hosts.
        traffic: moves traffic.
        watcher: judges; None if no stage of the plan is watched.
    """

    fleet: Fleet
    mover: Mover
    traffic: Traffic
    watcher: Watcher | None


@dataclass
class Rollout:
    """How far a plan got.

    Args:
        host_states: the state of each host of the plan.
        reasons: why hosts failed, balancers' hosts included, by host.
        stage_verdicts: the verdicts on its stages.
        verdict: the result of the whole.
        stopped: by whom it was ended, if it was; see `errors.stopped`.
        share: of the traffic that the new release has as it stands; None: what the number of its servers gives.
        batch: how many hosts change at the same time, at the most.
    """

    host_states: dict[str, HostState]
    reasons: dict[str, SlipwayError] = field(default_factory=dict)
    stage_verdicts: list[StageVerdict] = field(default_factory=list)
    verdict: Literal["deployed", "rolled back", "halted", "guarded", "stuck"] = "deployed"
    stopped: str = ""
    share: float | None = None
    batch: int = 1

    @property
    def moved(self) -> frozenset[str]:
        """Hosts that serve the new release."""
        return frozenset(self.hosts(HostState.DEPLOYED))

    @property
    def is_all_back(self) -> bool:
        """Whether the fleet was taken back, and every host runs what it ran before."""
        back = self.hosts(HostState.ROLLED_BACK, HostState.UNTOUCHED)
        return self.verdict == "rolled back" and len(back) == len(self.host_states)

    @property
    def why(self) -> str:
        """Why it failed, if it did."""
        bad = [stage_verdict.sentence.rstrip(".") for stage_verdict in self.stage_verdicts if not stage_verdict.good]
        return "; ".join([*(f"{host}: {error.message}" for host, error in self.reasons.items()), *bad])

    @property
    def code(self) -> str:
        """The same as a code, of what came first; empty if nothing failed."""
        if self.stopped:
            return Interrupted.code
        bad = [stage_verdict.code for stage_verdict in self.stage_verdicts if not stage_verdict.good]
        return next(iter([*(error.code for error in self.reasons.values()), *bad]), "")

    @property
    def hint(self) -> str:
        """What a person can do about the first failure, if it has a hint."""
        return next((error.hint for error in self.reasons.values() if error.hint), "")

    @property
    def for_lack_of_headroom(self) -> bool:
        """Whether it ended because there was no headroom, which is not the release's fault."""
        return any(isinstance(error, StepFailed) and error.code == StepCode.HEADROOM for error in self.reasons.values())

    @property
    def watched(self) -> float:
        """Seconds spent watching."""
        return sum(stage_verdict.seconds for stage_verdict in self.stage_verdicts)

    def hosts(self, *states: HostState) -> list[str]:
        """The hosts in one of these states."""
        return [host for host, state in self.host_states.items() if state in states]


def roll_out(context: RolloutContext, plan: Plan, *, on_failure: OnFailure) -> Rollout:
    """Run a plan to its end, or to the failure that ends it.

    Args:
        context: the context that does it.
        plan: stages.
        on_failure: what to do if more hosts fail than the plan tolerates, or a stage is bad. "rollback": all hosts go
            back. "halt": all hosts stay as they are. "guards": all stay, and guards finish the change on lost hosts;
            rollbacks use this.

    Returns:
        The state of every host. A host that fails is taken back, whatever happens to the others.
    """
    rollout = Rollout({host: HostState.UNTOUCHED for stage in plan.stages for host in stage.hosts})
    rollout.share = next((stage.share for stage in plan.stages), None)
    rollout.batch = max((len(stage.hosts) for stage in plan.stages), default=1)
    try:
        context.traffic.begin()
        if context.watcher is not None:
            context.watcher.begin()
        passed = all(_run_stage(context, plan, stage, rollout) for stage in plan.stages)
        # A rollback goes back to its release even if that does not stay up: a person decided.
        if passed and (on_failure == "guards" or _stays_up(context, plan, rollout)):
            _confirm(context, plan, rollout, on_failure)
        else:
            _end_failed(context, rollout, on_failure)
    except (Interrupted, KeyboardInterrupt) as ended:
        rollout.stopped = stopped(ended)
        _end_failed(context, rollout, "rollback")
    return rollout


def request_summary(context: RolloutContext, rollout: Rollout) -> RequestSummary | None:
    """Requests while the plan ran. If a host was lost, the balancers are not asked."""
    return None if rollout.verdict in ("guarded", "stuck") else context.traffic.meanwhile()


def _run_stage(context: RolloutContext, plan: Plan, stage: Stage, rollout: Rollout) -> bool:
    code, text = (PhaseCode.SWITCHING, f"switching, {stage.name}") if stage.hosts else (PhaseCode.SHIFTING, stage.name)
    context.fleet.progress.phase(Phase(code, text, stage.name))
    try:
        if stage.hosts:
            failed = _change(context, stage, rollout)
            if len(rollout.reasons) > plan.tolerate:
                return False
            _take_back(context, failed, rollout)
        split = _give_share(context, plan, stage, rollout)
        if split is None:
            return False
    except Interrupted:
        raise
    except SlipwayError as error:
        rollout.reasons[error.host or "the balancer"] = error
        return False
    if stage.watch is not None and context.watcher is not None:
        stage_verdict = context.watcher.watch(stage, split)
        rollout.stage_verdicts.append(stage_verdict)
        if not stage_verdict.good:
            return False
    return True


def _give_share(context: RolloutContext, plan: Plan, stage: Stage, rollout: Rollout) -> TrafficSplit | None:
    """Give a stage its traffic. Hosts that a balancer finds unhealthy have failed; None: more than are tolerated."""
    while True:
        split = TrafficSplit(rollout.moved, share=stage.share)
        failed = context.traffic.move(split)
        rollout.share = stage.share
        if not failed:
            return split
        rollout.host_states.update(dict.fromkeys(failed, HostState.UNHEALTHY))
        rollout.reasons.update(failed)
        if len(rollout.reasons) > plan.tolerate:
            return None
        context.traffic.move(TrafficSplit(rollout.moved, out=frozenset(failed), share=stage.share))
        _take_back(context, list(failed), rollout)


def _stays_up(context: RolloutContext, plan: Plan, rollout: Rollout) -> bool:
    """Whether units that were healthy still are, so that a release that dies after a while is not kept."""
    looked = context.fleet.each("units", context.mover.require_up, hosts=rollout.hosts(HostState.DEPLOYED), finish=True)
    # The confirmation reports hosts that are lost by now.
    failed = {host: error for host, error in looked.failed.items() if not _is_left_to_guard(error)}
    if not failed:
        return True
    rollout.host_states.update(dict.fromkeys(failed, HostState.UNHEALTHY))
    rollout.reasons.update(failed)
    if len(rollout.reasons) > plan.tolerate:
        return False
    try:
        context.traffic.move(TrafficSplit(rollout.moved, out=frozenset(failed), share=rollout.share))
        _take_back(context, list(failed), rollout)
        context.traffic.move(TrafficSplit(rollout.moved, share=rollout.share))
    except Interrupted:
        raise
    except SlipwayError as error:
        rollout.reasons[error.host or "the balancer"] = error
        return False
    return True


def _change(context: RolloutContext, stage: Stage, rollout: Rollout) -> list[str]:
    """Switch a stage's hosts, with no traffic on what changes, and wait for their health; returns those that failed."""
    hosts = frozenset(stage.hosts)
    before = (
        TrafficSplit(rollout.moved | hosts, share=stage.share)
        if stage.serves
        else TrafficSplit(rollout.moved, out=hosts)
    )
    if not stage.serves:
        context.traffic.require_headroom(hosts)
    context.traffic.move(before)
    # Assumed until the host answers: one whose switch was cut may be on either release.
    rollout.host_states.update(dict.fromkeys(stage.hosts, HostState.UNHEALTHY))
    moved = context.fleet.each("", context.mover.forward, hosts=stage.hosts, finish=True)
    rollout.host_states.update(dict.fromkeys(moved.ok, HostState.DEPLOYED))
    rollout.reasons.update(moved.failed)
    return list(moved.failed)


def _confirm(context: RolloutContext, plan: Plan, rollout: Rollout, on_failure: OnFailure) -> None:
    """Confirm the new release. If a host is lost now, its guard takes it back, and the others go back too."""
    touched = [*rollout.hosts(HostState.DEPLOYED, HostState.ROLLED_BACK), *context.traffic.balancers]
    lost = context.mover.confirm(touched)
    for host, error in lost.items():
        rollout.reasons[host] = error
        if host in rollout.host_states:
            rollout.host_states[host] = HostState.GUARDED if isinstance(error, Unreachable) else HostState.UNHEALTHY
    # A lost balancer moves the traffic back by its guard: no number of tolerated hosts makes up for that.
    if len(rollout.reasons) > plan.tolerate or lost.keys() & set(context.traffic.balancers):
        _end_failed(context, rollout, on_failure)
    elif lost:
        context.mover.confirm([host for host in touched if host not in lost])


def _end_failed(context: RolloutContext, rollout: Rollout, how: OnFailure) -> None:
    rollout.verdict = "rolled back" if how == "rollback" else "halted"
    if how == "rollback":
        lost = _go_back(context, rollout)
    elif how == "guards":
        lost = _leave_to_guards(context, rollout)
    else:
        # A release that is bad at a share must not get more than that share.
        unhealthy = frozenset(rollout.hosts(HostState.UNHEALTHY))
        lost = _move_or_warn(context, TrafficSplit(rollout.moved, out=unhealthy, share=rollout.share))
    # A person decides now, so guards are removed on hosts that can be reached. On the others they act.
    settled = [
        host for host, state in rollout.host_states.items() if state not in (HostState.UNTOUCHED, HostState.GUARDED)
    ]
    context.mover.confirm([*settled, *(() if lost else context.traffic.balancers)], together=False)
    if how == "rollback":
        if rollout.hosts(HostState.GUARDED) or lost:
            rollout.verdict = "guarded"
        if rollout.hosts(HostState.STUCK):
            rollout.verdict = "stuck"


def _go_back(context: RolloutContext, rollout: Rollout) -> bool:
    """Take back every host that was changed; returns whether the balancers' guards must move the traffic."""
    touched = rollout.hosts(HostState.DEPLOYED, HostState.UNHEALTHY)
    if touched:
        count = f"{len(touched)} hosts" if len(touched) > 1 else touched[0]
        context.fleet.progress.phase(Phase(PhaseCode.TAKING_BACK, f"taking {count} back"))
    lost = False
    for wave in _waves(touched, context.traffic, rollout.batch if rollout.for_lack_of_headroom else None):
        lost |= _move_or_warn(context, TrafficSplit(rollout.moved - frozenset(wave), out=frozenset(wave)))
        _take_back(context, wave, rollout)
    return _move_or_warn(context, TrafficSplit()) or lost


def _leave_to_guards(context: RolloutContext, rollout: Rollout) -> bool:
    """Let guards finish the change on lost hosts; returns whether the balancers' guards must move the traffic."""
    lost = [host for host in rollout.hosts(HostState.UNHEALTHY) if _is_left_to_guard(rollout.reasons.get(host))]
    rollout.host_states.update(dict.fromkeys(lost, HostState.GUARDED))
    ill, guarded = rollout.hosts(HostState.UNHEALTHY), rollout.hosts(HostState.GUARDED)
    out = frozenset([*ill, *guarded])
    moved = rollout.moved - out
    # With old and new side by side, all traffic leaves the bad release, if the remaining hosts can carry it.
    side_by_side = any(place.side_by_side for place in context.traffic.places)
    share = 1.0 if side_by_side and 2 * len(moved) >= len(context.traffic.places) else None
    # A balancer's guard does not check health, so unhealthy hosts are taken out here, and then the balancers' guards
    # must not act. They must act if hosts are lost and no other host is unhealthy.
    return _move_or_warn(context, TrafficSplit(moved, out=out, share=share)) or bool(guarded and not ill)


def _waves(hosts: Sequence[str], traffic: Traffic, gently: int | None = None) -> Iterator[list[str]]:
    """All hosts at once, unless the others could not carry the traffic; then half of the fleet first.

    Args:
        hosts: to be taken back.
        traffic: the balancers.
        gently: how many at a time, if the release is not at fault and the others have no headroom.
    """
    size = len(traffic.places)
    side_by_side = any(place.side_by_side for place in traffic.places)
    most = len(hosts) if not traffic.balancers or side_by_side or 2 * len(hosts) <= size else max(1, size // 2)
    most = most if gently is None or not traffic.balancers or side_by_side else min(most, gently)
    for start in range(0, len(hosts), max(1, most)):
        yield list(hosts[start : start + most])


def _move_or_warn(context: RolloutContext, split: TrafficSplit) -> bool:
    """Move traffic back. A balancer that fails must not keep hosts from going back; returns whether one failed."""
    try:
        context.traffic.move(split, back=True)
    except Interrupted:
        return True
    except SlipwayError as error:
        context.fleet.progress.warn(f"the traffic could not be moved; the balancers' guards move it: {error.message}")
        return bool(context.traffic.balancers)
    return False


def _take_back(context: RolloutContext, hosts: Sequence[str], rollout: Rollout) -> None:
    if not hosts:
        return
    try:
        results = context.fleet.each("", context.mover.back, hosts=hosts, finish=True)
    except Interrupted:
        # A second Ctrl-C: this task does not wait for the hosts; their guards finish the work.
        rollout.host_states.update(dict.fromkeys(hosts, HostState.GUARDED))
        return
    rollout.host_states.update(dict.fromkeys(results.ok, HostState.ROLLED_BACK))
    for host, error in results.failed.items():
        by_itself = _is_left_to_guard(error)
        rollout.host_states[host] = HostState.GUARDED if by_itself else HostState.STUCK
        rollout.reasons.setdefault(host, error)
        how = "is left to its guard, which takes it back" if by_itself else "could not be taken back"
        context.fleet.progress.warn(f"{host} {how}: {error.message}")


def _is_left_to_guard(error: SlipwayError | None) -> bool:
    """Whether only its guard acts on a host now."""
    return isinstance(error, Unreachable) or (isinstance(error, StepFailed) and error.code == StepCode.FENCED)
