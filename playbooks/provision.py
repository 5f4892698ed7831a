"""Make hosts ready (E4): application hosts, database hosts, the balancer, sudo on all. Safe to run again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from playbooks.environment import Environment
from playbooks.errors import ExitStatus
from playbooks.fleet.fanout import Job
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.line import Note
from playbooks.fleet.progress import Progress
from playbooks.settings.backup import Database
from playbooks.steps.provision import (
    BalancerFiles,
    provision_application,
    provision_balancer,
    provision_databases,
)
from playbooks.steps.provision_sudo import provision_sudo
from playbooks.traffic.edge import balancer_files
from playbooks.traffic.servers import edges_of


@dataclass(frozen=True)
class Provisioned:
    """What was changed on each host; nothing, the second time."""

    environment: str
    changes: dict[str, tuple[str, ...]]

    @property
    def exit_status(self) -> ExitStatus:
        """What fails is raised."""
        return ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "changed": any(self.changes.values()),
            "hosts": {host: list(changes) for host, changes in self.changes.items()},
            "exit_status": 0,
        }


def provision(env: Environment, progress: Progress) -> Provisioned:
    """Make every host of the environment ready for its role.

    Raises:
        SlipwayError: a host could not be made ready; the others are.
    """
    balancers = list(edges_of(env))
    databases = list(env.database_hosts)
    names = list(dict.fromkeys([*(target.name for target in env.targets), *databases, *balancers]))
    # Rendered before any host is reached, so that a mistake in a template touches none.
    given = {name: balancer_files(env, name) for name in balancers}
    with open_fleet([env.target(name).address for name in names], progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        jobs = _jobs(fleet, env, databases, given)
        changes: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
        for job, result in zip(jobs, fleet.run(jobs), strict=True):
            if isinstance(result, Exception):
                raise result
            changes[job.host] += tuple(result.value)
    return Provisioned(env.name, changes)


def _jobs(
    fleet: Fleet, env: Environment, databases: list[str], given: dict[str, BalancerFiles]
) -> list[Job[list[str]]]:
    def note(name: str) -> Note:
        return partial(fleet.progress.note, name)

    jobs: list[Job[list[str]]] = []
    for target in env.targets:
        act = partial(provision_application, fleet.remotes[target.name], target.settings, note=note(target.name))
        jobs.append(Job(target.name, "provision", act))
    for name in databases:
        mine: list[Database] = [db for db in env.settings.databases if db.name in env.database_hosts[name]]
        settings = env.target(name).settings
        database = partial(provision_databases, fleet.remotes[name], settings, mine, env.secrets, note=note(name))
        jobs.append(Job(name, "database", database))
    if env.settings.balancer:
        for name, files in given.items():
            remote, settings = fleet.remotes[name], env.target(name).settings
            act = partial(provision_balancer, remote, env.settings.balancer, settings, files, note=note(name))
            jobs.append(Job(name, "balancer", act))
    for name, remote in fleet.remotes.items():
        jobs.append(Job(name, "sudo", partial(provision_sudo, remote, note=note(name))))
    return jobs
