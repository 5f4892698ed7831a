"""Prepare hosts (E4): application hosts, database hosts, the balancer, sudo on all. It is safe to repeat."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from playbooks.core.answer import Answer
from playbooks.core.errors import StepFailed
from playbooks.environments.environment import Environment
from playbooks.fleet.fanout import Job
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote_shell import Note
from playbooks.settings.backup import Database
from playbooks.steps.provision import (
    BalancerFiles,
    owner_lines,
    provision_application,
    provision_balancer,
    provision_databases,
)
from playbooks.steps.provision_sudo import provision_sudo
from playbooks.steps.traffic_state import read_state, state_call
from playbooks.traffic.balancer_host import balancer_files
from playbooks.traffic.registration import left_behind
from playbooks.traffic.servers import balancers_of


@dataclass(frozen=True)
class Provisioned(Answer):
    """The changes on each host; a second run changes nothing."""

    schema: ClassVar[str] = "slipway.provision/1"
    changes: dict[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "changed": any(self.changes.values()),
            "hosts": {host: list(changes) for host, changes in self.changes.items()},
            "exit_status": 0,
        }


def provision(env: Environment, progress: Progress) -> Provisioned:
    """Prepare every host of the environment for its role.

    Raises:
        SlipwayError: a host failed; the others are ready.
    """
    balancers = list(balancers_of(env))
    databases = list(env.database_hosts)
    names = list(dict.fromkeys([*(target.name for target in env.targets), *databases, *balancers]))
    # Render and read before any host is reached, so that a mistake or a missing secret changes no host.
    owners = {name: owner_lines(_databases_on(env, name), env.secrets) for name in databases}
    given = {name: balancer_files(env, name) for name in balancers}
    with open_fleet([env.target(name).address for name in names], progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        _warn_of_root(fleet, env)
        jobs = _jobs(fleet, env, owners, given)
        changes: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
        for job, result in zip(jobs, fleet.run(jobs), strict=True):
            if isinstance(result, Exception):
                raise result
            changes[job.host] += tuple(result.value)
    return Provisioned(env.name, changes)


def _warn_of_root(fleet: Fleet, env: Environment) -> None:
    """Warn if the application runs as the login user, which can become root with sudo."""
    for target in env.targets:
        user = str(fleet.remotes[target.name].session.connection.user)
        if user == target.settings.run_user and user != "root":
            fleet.progress.warn(
                f"{target.name}: the application runs as {user}, who logs in and becomes root by sudo: so does whoever "
                "breaks into it. Give it a user of its own in slipway_user"
            )


def _jobs(
    fleet: Fleet, env: Environment, owners: dict[str, bytes], given: dict[str, BalancerFiles]
) -> list[Job[list[str]]]:
    def note(name: str) -> Note:
        return partial(fleet.progress.note, name)

    jobs: list[Job[list[str]]] = []
    for target in env.targets:
        act = partial(provision_application, fleet.remotes[target.name], target.settings, note=note(target.name))
        jobs.append(Job(target.name, "provision", act))
    for name, lines in owners.items():
        settings = env.target(name).settings
        database = partial(
            provision_databases, fleet.remotes[name], settings, _databases_on(env, name), lines, note=note(name)
        )
        jobs.append(Job(name, "database", database))
    if env.settings.balancer:
        for name, files in given.items():
            jobs.append(Job(name, "balancer", partial(_balancer, fleet, env, name, files, note(name))))
    for name, remote in fleet.remotes.items():
        jobs.append(Job(name, "sudo", partial(provision_sudo, remote, note=note(name))))
    return jobs


def _databases_on(env: Environment, name: str) -> list[Database]:
    return [database for database in env.settings.databases if database.name in env.database_hosts[name]]


def _balancer(fleet: Fleet, env: Environment, name: str, files: BalancerFiles, note: Note) -> list[str]:
    balancer, remote, settings = env.settings.balancer, fleet.remotes[name], env.target(name).settings
    assert balancer is not None  # a balancer's host has its settings  # noqa: S101
    gone: list[str] = []
    with contextlib.suppress(StepFailed):  # a new balancer has no state yet
        (answer,) = remote.chain([state_call(balancer, settings)])
        gone = left_behind(read_state(answer), [share.server for share in files.shares])
    changes = provision_balancer(remote, balancer, settings, files, note=note)
    if gone and changes:
        fleet.progress.warn(
            f"{name}: clients were served at {', '.join(gone)}, where the balancer sends nobody any more. If nothing "
            "answers at the new addresses they get errors: put the former port back and provision again"
        )
    return changes
