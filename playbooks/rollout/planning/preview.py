"""A plan as ``--check`` shows it: what each stage changes, and by which criteria it is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from playbooks.environments.environment import Environment
from playbooks.settings import Settings
from playbooks.strategies.plan import Plan, WatchPeriod, percent, seconds
from playbooks.traffic.servers import application_hosts

BY_HOSTS = "the hosts' own signals (units, health, memory, log)"


@dataclass(frozen=True)
class Planned:
    """One stage.

    Args:
        name: what a person calls it.
        hosts: those that change in it.
        slots: hosts of these where the new release starts beside the old one, each with the new release's slot.
        after: how many hosts have the new release then, of how many.
        share: the new release's share of the traffic then, 0 to 1; None if nothing known moves the traffic.
        watch: how it is judged; None if it is not.
        criteria: the same as a sentence; empty if it is not judged.
    """

    name: str
    hosts: tuple[str, ...]
    slots: Mapping[str, str]
    after: tuple[int, int]
    share: float | None
    watch: WatchPeriod | None
    criteria: str

    @property
    def changes(self) -> str:
        """What happens on which hosts."""
        ways: dict[str, list[str]] = {}
        for host in self.hosts:
            slot = self.slots.get(host)
            ways.setdefault(f"start in {slot}, beside the old one" if slot else "switch", []).append(host)
        return "; ".join(f"{', '.join(hosts)}: {way}" for way, hosts in ways.items())

    @property
    def traffic(self) -> str:
        """The new release's share, for a person."""
        return "" if self.share is None else percent(round(self.share, 3))

    @property
    def sentence(self) -> str:
        """The whole stage, for a person."""
        there, total = self.after
        parts = []
        if self.hosts:
            of_traffic = f", with {self.traffic} of the traffic" if self.traffic else ""
            parts.append(f"{self.changes}. The new release is on {there} of {total} hosts then{of_traffic}")
        if self.watch:
            judged = f"for {seconds(self.watch.seconds)}: {self.criteria}"
            parts.append(f"Watched {judged}" if self.hosts else judged)
        elif not self.hosts:
            parts.append("at once")
        text = ". ".join(parts)
        return f"{self.name} {text}" if not self.hosts else f"{self.name}: {text}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        watch = self.watch
        return {
            "name": self.name,
            "hosts": list(self.hosts),
            "slots": dict(self.slots),
            "after": {"hosts": self.after[0], "of": self.after[1]},
            "share": self.share,
            "watch": None
            if watch is None
            else {
                "seconds": watch.seconds,
                "lenient": watch.lenient,
                # Shares from 0 to 1, times in seconds; null: no limit.
                "criteria": watch.criteria.model_dump(),
                "said": self.criteria,
            },
        }


def planned(env: Environment, plan: Plan, slots: Mapping[str, str]) -> tuple[Planned, ...]:
    """Every stage of a plan.

    Args:
        env: the environment.
        plan: what would be done.
        slots: hosts where the new release starts beside the old one, each with the new release's slot.
    """
    return tuple(_stages(env, plan, slots))


def _stages(env: Environment, plan: Plan, slots: Mapping[str, str]) -> Iterator[Planned]:
    settings = env.settings
    balanced = settings.balancer is not None
    # The first deploy changes both groups, batch by batch. Later deploys change one of them, and have shares.
    grouped = bool(settings.groups) and any(stage.share is not None for stage in plan.stages)
    # Without a balancer or another source of metrics there are no numbers to judge by.
    counted = balanced or settings.metrics.source != "balancer"
    changing = {host for stage in plan.stages for host in stage.hosts}
    total = len(application_hosts(env))  # those that --limit leaves out go on as they are
    there = 0 if grouped else len(env.targets) - len(changing)
    for stage in plan.stages:
        there += len(stage.hosts)
        # Shares are of the traffic of the hosts that take part; the others keep theirs.
        share = there / max(1, total) if stage.share is None or (stage.share >= 1 and not grouped) else stage.share
        said = _criteria(stage.watch, compared=share < 1) if stage.watch and counted else ""
        yield Planned(
            name=stage.name,
            hosts=stage.hosts,
            slots={host: slots[host] for host in stage.hosts if host in slots},
            after=(there, total),
            share=share if balanced else None,
            watch=stage.watch,
            criteria=", ".join(filter(None, [said, BY_HOSTS])) if stage.watch else "",
        )


def _criteria(watch: WatchPeriod, *, compared: bool) -> str:
    """The criteria of a stage, for a person.

    Args:
        watch: its criteria.
        compared: whether the old release still serves, so that there is something to compare with.
    """
    criteria = watch.criteria
    limits = [
        f"errors ≤ {percent(criteria.errors)}" if criteria.errors is not None else "",
        *(
            f"{name} ≤ {1000 * most:g} ms"
            for name in ("p50", "p95", "p99")
            if (most := getattr(criteria, name)) is not None
        ),
        f"at most {percent(criteria.worse_errors)} more errors than the old release"
        if compared and criteria.worse_errors is not None
        else "",
        f"at most {percent(criteria.worse_latency)} slower than the old release"
        if compared and criteria.worse_latency is not None
        else "",
    ]
    return ", ".join(limit for limit in limits if limit)


def waits(settings: Settings, port: int | None, version: str) -> list[str]:
    """What a host's health is waited for, as sentences.

    Args:
        settings: the host's settings.
        port: that of the release's slot; None where it runs in none.
        version: the release's.
    """
    health = settings.health
    asked = [check for check in health.checks if port is not None or not check.asks_slot]
    told = [f"wait for {check.label_at(port, version)}, {health.patience:g} s at the most" for check in asked]
    left = [check.label for check in health.checks if check not in asked]
    if left:
        told.append(f"leave out {', '.join(left)}: a release in place has no port of a slot")
    if left and not health.model_copy(update={"checks": asked}).proves:
        told.append(
            "wait until its services have stayed up for a while: no other check asks the application for anything"
        )
    return told
