"""A plan: what a strategy decides, before anything is done. It can be printed, tested without a host, and run."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.settings.judgement import Criteria
from playbooks.settings.rollout import RolloutSettings

# B5: how long production is watched after the switch, unless somebody asks for less.
WATCH_SECONDS = 1800.0
LAST_WATCH = "the watch after the switch"


@dataclass(frozen=True)
class FleetShape:
    """What a strategy knows of the whole fleet.

    Args:
        size: hosts that the application runs on, those that do not change included.
        balanced: whether balancers are in front of them.
        production: whether it is production.
    """

    size: int
    balanced: bool = False
    production: bool = False


@dataclass(frozen=True)
class WatchPeriod:
    """How a stage is judged.

    Args:
        seconds: for how long.
        criteria: by what.
        lenient: what cannot be told for want of requests does not stop it; only what is known to be bad does.
    """

    seconds: float
    criteria: Criteria
    lenient: bool = False


@dataclass(frozen=True)
class Stage:
    """Hosts that change at the same time, and the traffic that moves then.

    Args:
        name: what a person calls it, e.g. "batch 1 of 3".
        hosts: inventory names of those that change; none where only traffic moves.
        share: of the traffic that the new release gets from then on, 0 to 1; None: what its servers' number gives.
        watch: how it is judged before the next one begins; None: by the hosts' health alone.
        serves: what the hosts change to has traffic already, beside what they leave; it gets its share before they do.
    """

    name: str
    hosts: tuple[str, ...] = ()
    share: float | None = None
    watch: WatchPeriod | None = None
    serves: bool = False


@dataclass(frozen=True)
class Plan:
    """The order in which hosts change and traffic moves.

    Args:
        strategy: what made it.
        stages: one after the other.
        tolerate: how many hosts may fail before the whole deploy does.
    """

    strategy: str
    stages: tuple[Stage, ...]
    tolerate: int = 0

    @property
    def host_by_host(self) -> bool:
        """Whether a host has traffic again as soon as it has changed: no stage gives the new release a share."""
        return all(stage.share is None for stage in self.stages)

    @property
    def watches(self) -> int:
        """How many stages are judged: they share the false alarms."""
        return sum(stage.watch is not None for stage in self.stages)

    def watched(self, rollout: RolloutSettings) -> float:
        """For how many seconds it may be watched, those included for which stages may be held."""
        watches = [stage.watch for stage in self.stages if stage.watch]
        held = sum(not watch.lenient for watch in watches) * rollout.hold
        return sum(watch.seconds for watch in watches) + (held if rollout.judgement.inconclusive == "hold" else 0.0)


def following(plan: Plan, stage: Stage) -> str:
    """What comes after a stage, up to what is watched next, for a person."""
    rest = plan.stages[plan.stages.index(stage) + 1 :]
    until = next((number for number, one in enumerate(rest, start=1) if one.watch), len(rest))
    hosts = [host for one in rest[:until] for host in one.hosts]
    changing = f"{hosts[0] if len(hosts) == 1 else f'{len(hosts)} hosts'} to switch" if hosts else ""
    last = rest[until - 1] if rest else None
    watched = f"{last.name} for {seconds(last.watch.seconds)}" if last and last.watch else ""
    return ", then ".join(filter(None, [changing, watched])) or "it is done"


def last_watch(rollout: RolloutSettings, fleet: FleetShape, *, share: float | None = None) -> tuple[Stage, ...]:
    """The watch after everything has moved (B5), if there is to be one."""
    duration = rollout.watch.for_
    if duration is None:
        duration = WATCH_SECONDS if fleet.production else 0.0
    if not duration:
        return ()
    watch = WatchPeriod(duration, rollout.watch.criteria, lenient=True)
    return (Stage(LAST_WATCH, share=share, watch=watch),)


def seconds(value: float) -> str:
    """A duration as a person writes it: 40 s, 15 min."""
    return f"{value:g} s" if value < 120 or value % 6 else f"{value / 60:g} min"


def percent(share: float) -> str:
    """A share as a person writes it: 5 %, 0.5 %."""
    return f"{100 * share:g} %"
