"""Check the health of every host of the application once (A4). It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.errors import ExitStatus
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.steps.facts import Facts
from playbooks.steps.health import HealthReport, health_call, wait_until_healthy


@dataclass(frozen=True)
class FleetHealth:
    """The health of the fleet.

    Args:
        reports: the reports by host; a host without a release has none.
        unreachable: the errors of unreachable hosts.
        empty: the hosts without a release.
        stopped: the hosts of a group that was stopped after a while without traffic.
    """

    schema: ClassVar[str] = "slipway.health/1"
    environment: str
    reports: dict[str, HealthReport]
    unreachable: Mapping[str, HostFailure]
    empty: tuple[str, ...]
    stopped: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Return whether every host is reachable and healthy."""
        return not self.unreachable and not self.empty and all(report.healthy for report in self.reports.values())

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0 if healthy, 1 if not, 3 if a host is unreachable."""
        if self.unreachable:
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.DONE if self.healthy else ExitStatus.FAILED

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "healthy": self.healthy,
            "hosts": {host: report.to_json() for host, report in self.reports.items()},
            "unreachable": failures_told(self.unreachable),
            "nothing_deployed": list(self.empty),
            "stopped": list(self.stopped),
            "exit_status": int(self.exit_status),
        }


def health(env: Environment, progress: Progress) -> FleetHealth:
    """Try every check on every host, once."""

    def one(remote: Remote) -> HealthReport | str | None:
        facts = facts_of(env, remote)
        return health_of(env, remote, facts) or facts.current

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each("health", one)
    return FleetHealth(
        environment=env.name,
        reports={host: report for host, report in results.ok.items() if isinstance(report, HealthReport)},
        unreachable=failures({**fleet.unreachable, **results.failed}),
        empty=tuple(host for host, report in results.ok.items() if report is None),
        stopped=tuple(host for host, report in results.ok.items() if isinstance(report, str)),
    )


def health_of(env: Environment, remote: Remote, facts: Facts) -> HealthReport | None:
    """Try every check on one host once; None if it has no release, or the release was stopped on purpose.

    Raises:
        SlipwayError: the host is unreachable.
    """
    if facts.current is None or facts.units_kept_until == 0:
        return None
    settings = env.target(remote.name).settings
    ask = health_call(
        settings,
        units=[unit.name for unit in facts.units],
        release_folder=f"{settings.home}/current",
        secrets=env.secrets,
        once=True,
    )
    return wait_until_healthy(remote, ask)
