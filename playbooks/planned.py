"""A plan as it is told before anything is done: what each stage changes, and what it is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from playbooks.environment import Environment
from playbooks.servers import application_hosts
from playbooks.strategies.plan import Plan, Watch, percent, seconds
from playbooks.watch import as_said

BY_HOSTS = "what the hosts say of themselves"


@dataclass(frozen=True)
class Planned:
    """One stage.

    Args:
        name: what a person calls it.
        hosts: those that change in it.
        beside: whether the new release starts beside the old one there, which goes on serving.
        after: how many hosts have the new release then, of how many.
        share: of the traffic that the new release has then, 0 to 1; None where nothing is known that moves it.
        watch: how it is judged, if it is.
        criteria: the same as a sentence; empty if it is not.
    """

    name: str
    hosts: tuple[str, ...]
    beside: bool
    after: tuple[int, int]
    share: float | None
    watch: Watch | None
    criteria: str

    @property
    def changes(self) -> str:
        """What happens on which hosts."""
        if not self.hosts:
            return ""
        return f"{', '.join(self.hosts)}: {'start beside the old one' if self.beside else 'switch'}"

    @property
    def traffic(self) -> str:
        """The new release's share, for a person."""
        return "" if self.share is None else percent(round(self.share, 3))

    @property
    def lasts(self) -> str:
        """For how long it is watched."""
        return seconds(self.watch.seconds) if self.watch else ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        watch = self.watch
        return {
            "name": self.name,
            "hosts": list(self.hosts),
            "beside": self.beside,
            "after": {"hosts": self.after[0], "of": self.after[1]},
            "share": self.share,
            "watch": None
            if watch is None
            else {
                "seconds": watch.seconds,
                "lenient": watch.lenient,
                # Shares from 0 to 1, times in seconds; null: not asked for.
                "criteria": watch.criteria.model_dump(),
                "said": self.criteria,
            },
        }


def planned(env: Environment, plan: Plan) -> tuple[Planned, ...]:
    """Every stage of a plan.

    Args:
        env: settings.
        plan: what would be done.
    """
    return tuple(_stages(env, plan))


def _stages(env: Environment, plan: Plan) -> Iterator[Planned]:
    settings = env.settings
    balanced, beside = settings.balancer is not None, bool(settings.slots)
    # Without a balancer, and with nobody else who counts, there are no numbers to judge by.
    counted = balanced or settings.metrics.source != "balancer"
    changing = {host for stage in plan.stages for host in stage.hosts}
    total = len(application_hosts(env))  # those that --limit leaves out go on as they are
    there = len(env.targets) - len(changing)
    for stage in plan.stages:
        there += len(stage.hosts)
        share = stage.share if stage.share is not None else there / max(1, total)
        said = "" if stage.watch is None else as_said(stage.watch) if counted else ""
        yield Planned(
            name=stage.name,
            hosts=stage.hosts,
            beside=beside,
            after=(there, total),
            share=share if balanced else None,
            watch=stage.watch,
            criteria=", ".join(filter(None, [said, BY_HOSTS])) if stage.watch else "",
        )
