"""Which plan a deploy or a rollback follows. An impossible plan is refused before a host is reached."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from playbooks.core.errors import UsageError
from playbooks.environments.environment import Environment
from playbooks.settings.rollout import RolloutSettings
from playbooks.settings.types import parse_batch
from playbooks.strategies.blue_green import side_by_side
from playbooks.strategies.canary import canary
from playbooks.strategies.plan import FleetShape, Plan, Stage
from playbooks.strategies.rolling import rolling
from playbooks.traffic.groups import require_whole

STRATEGIES = ("rolling", "blue-green", "canary")


def plan_deploy(
    env: Environment,
    hosts: Sequence[str],
    *,
    strategy: str | None = None,
    batch: str | None = None,
    watch: float | None = None,
    fresh: bool = False,
    in_place: bool = False,
) -> Plan:
    """In which order hosts change and traffic moves.

    Args:
        env: the environment.
        hosts: those that change.
        strategy, batch: instead of the settings'.
        watch: seconds of the watch after the switch, instead of the settings'.
        fresh: nothing runs yet, so there is nothing to compare with, and no traffic to move in steps.
        in_place: what runs is in no slot, and stops for the new release.

    Raises:
        UsageError: there is no such strategy or batch size, or this fleet cannot have it.
    """
    settings = env.settings
    name = strategy or _usual(env)
    if name not in STRATEGIES:
        raise UsageError(f"--strategy={name}: there is no such strategy; there is: {', '.join(STRATEGIES)}")
    require_batch(batch)
    rollout = _with_watch(settings.rollout, watch)
    fleet = FleetShape(len(env.targets), settings.balancer is not None, settings.production)
    if settings.groups:
        _require_groups(env, name)
    elif name != "rolling":
        _require_traffic(env, name)
    if fresh:
        return rolling(hosts, rollout, fleet, batch=batch or f"{len(hosts) or 1}")
    if settings.groups or (settings.slots and not in_place):
        return side_by_side(hosts, rollout, fleet, strategy=name, batch=batch)
    return (canary if name == "canary" and not in_place else rolling)(hosts, rollout, fleet, batch=batch)


def plan_rollback(
    env: Environment, hosts: Sequence[str], batch: str | None, *, in_place: bool = False, back: bool = True
) -> Plan:
    """A rollback's plan: all at once if the old release has a slot of its own; else in two halves behind a balancer.

    Args:
        env: the environment.
        hosts: those that change.
        batch: hosts that change at the same time.
        in_place: on some of them the old release replaces what runs, in a slot or without one.
        back: with groups of hosts, whether the traffic goes to the other one, none of whose hosts may have to change.

    Raises:
        UsageError: there is no such batch size.
    """
    require_batch(batch)
    if env.settings.groups:
        starts = [Stage("start beside", tuple(hosts), share=0.0)] if hosts else []
        return Plan("blue-green", (*starts, Stage("all of the traffic", share=1.0)) if back else ())
    if env.settings.slots and not in_place:
        stages = [Stage("start beside", tuple(hosts), share=0.0), Stage("all of the traffic", share=1.0)]
        return Plan("rolling", tuple(stages) if hosts else ())
    size = batch or ("50%" if env.settings.balancer else "100%")
    quiet = RolloutSettings.model_validate({"watch": {"for": 0}})
    return rolling(hosts, quiet, FleetShape(len(env.targets)), batch=size)


def adjust_for_traffic(
    plan: Plan, hosts: Sequence[str], *, misrouted: bool, partially_shifted: Collection[str]
) -> Plan:
    """A rollback's plan, if an earlier task has left the traffic half-way.

    Args:
        plan: the plan for traffic that is where the hosts' releases are.
        hosts: those that change.
        misrouted, partially_shifted: see `Traffic`.
    """
    if not plan.stages and misrouted:
        # A task that failed half-way or died has switched the hosts, but not the traffic.
        return Plan(plan.strategy, (Stage("all of the traffic"),))
    if plan.stages and hosts and set(hosts) <= set(partially_shifted):
        # After a halted deploy: a stage that starts the old release first would give the bad one all of the traffic.
        return Plan(plan.strategy, (Stage("all of the traffic", tuple(hosts), share=1.0, serves=True),))
    return plan


def require_batch(batch: str | None) -> None:
    """Refuse an invalid --batch.

    Raises:
        UsageError: it is neither a number nor a percentage.
    """
    if batch is None:
        return
    try:
        parse_batch(batch)
    except ValueError as error:
        raise UsageError(f"--batch={batch}: {error}") from None


def _usual(env: Environment) -> str:
    """The strategy of the settings; with groups of hosts, their own one unless the settings name another."""
    rollout = env.settings.rollout
    unsaid = env.settings.groups and "strategy" not in rollout.model_fields_set
    return "blue-green" if unsaid else rollout.strategy


def _require_groups(env: Environment, name: str) -> None:
    require_whole(env)
    if name == "rolling":
        first, second = env.settings.groups
        raise UsageError(
            "--strategy=rolling would change hosts that serve; with slipway_groups a release goes to the one of "
            f"{first} and {second} that has no traffic. Nothing was touched",
            hint="--strategy=blue-green moves the traffic by the steps of slipway_rollout.blue_green, "
            "--strategy=canary by those of slipway_rollout.canary",
        )


def _require_traffic(env: Environment, name: str) -> None:
    if env.settings.balancer is None:
        raise UsageError(
            f"--strategy={name} needs a balancer, and slipway_balancer is not set; nothing was touched",
            hint="set slipway_balancer; or --strategy=rolling",
        )
    if env.settings.slots:
        return
    if name == "blue-green":
        raise UsageError(
            "--strategy=blue-green: the new release has no place to run beside the old one",
            hint="set slipway_slots, e.g. {blue: 8001, green: 8002}; or --strategy=canary",
        )
    if len(env.targets) < 2 and env.limited:
        raise UsageError(
            f"--strategy=canary: --limit leaves {env.targets[0].name} alone, and one host cannot run two versions",
            hint="without --limit no more hosts change than each share needs; or --strategy=rolling",
        )
    if len(env.targets) < 2:
        raise UsageError(
            "--strategy=canary: one host cannot run two versions",
            hint="set slipway_slots, e.g. {blue: 8001, green: 8002}; or --strategy=rolling",
        )


def _with_watch(rollout: RolloutSettings, seconds: float | None) -> RolloutSettings:
    if seconds is None:
        return rollout
    return rollout.model_copy(update={"watch": rollout.watch.model_copy(update={"for_": seconds})})
