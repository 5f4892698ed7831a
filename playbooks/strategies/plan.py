"""A plan: what a strategy decides before anything is done. It can be printed, tested without a host, and run."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.settings.judgement import Criteria
from playbooks.settings.rollout import RolloutSettings

# B5: how long production is watched after the last stage, unless the settings or --watch say otherwise.
WATCH_SECONDS = 1800.0
LAST_WATCH = "the watch after the switch"


@dataclass(frozen=True)
class FleetShape:
    """What a strategy knows about the whole fleet.

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
        lenient: whether only a verdict of bad stops it, and an inconclusive one does not.
    """

    seconds: float
    criteria: Criteria
    lenient: bool = False


@dataclass(frozen=True)
class Stage:
    """Hosts that change at the same time, and the traffic that moves then.

    Args:
        name: what a person calls it, e.g. "batch 1 of 3".
        hosts: inventory names of those that change; none if only traffic moves.
        share: the new release's share of the traffic from then on, 0 to 1; None: by the number of its servers.
        watch: how it is judged before the next one begins; None: only by the hosts' health.
        serves: whether the release that the hosts change to has traffic already; its share moves before they change.
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
        strategy: the strategy that made it.
        stages: in order.
        tolerate: how many hosts may fail before the whole deploy does.
    """

    strategy: str
    stages: tuple[Stage, ...]
    tolerate: int = 0

    @property
    def host_by_host(self) -> bool:
        """Whether a host gets traffic as soon as it has changed, because no stage sets a share."""
        return all(stage.share is None for stage in self.stages)

    @property
    def watches(self) -> int:
        """How many stages are judged; they share the rate of false alarms."""
        return sum(stage.watch is not None for stage in self.stages)

    def watched(self, rollout: RolloutSettings) -> float:
        """How many seconds it may be watched, including the time for which stages may be held."""
        watches = [stage.watch for stage in self.stages if stage.watch]
        held = sum(not watch.lenient for watch in watches) * rollout.hold
        return sum(watch.seconds for watch in watches) + (held if rollout.judgement.inconclusive == "hold" else 0.0)


def following(plan: Plan, stage: Stage) -> str:
    """What follows a stage, up to the next watched one, for a person."""
    rest = plan.stages[plan.stages.index(stage) + 1 :]
    until = next((number for number, one in enumerate(rest, start=1) if one.watch), len(rest))
    hosts = [host for one in rest[:until] for host in one.hosts]
    changing = f"{hosts[0] if len(hosts) == 1 else f'{len(hosts)} hosts'} to switch" if hosts else ""
    last = rest[until - 1] if rest else None
    watched = f"{last.name} for {seconds(last.watch.seconds)}" if last and last.watch else ""
    return ", then ".join(filter(None, [changing, watched])) or "it is done"


def last_watch(rollout: RolloutSettings, fleet: FleetShape, *, share: float | None = None) -> tuple[Stage, ...]:
    """The watch after the last stage (B5), if there is one."""
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
