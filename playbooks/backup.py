"""Back up the application (A2): its hosts and its databases' hosts, at the same time, under one id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from playbooks.backups.making import (
    Record,
    back_up_jobs,
    databases_of,
    hosts_with_data,
    require_secrets,
)
from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import stamp
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import drifted, facts_of, odd
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fanout import by_host
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.steps.retention import Expired, apply_retention


@dataclass(frozen=True)
class Backups:
    """Backup records of the fleet, newest first.

    Args:
        id: the id of the new backup; None for a list.
        records: the records as the hosts keep them.
        nothing: the hosts without anything to back up.
        unreachable: the errors of unreachable hosts.
        expired: the ids of backups that retention removed.
    """

    schema: ClassVar[str] = "slipway.backups/1"
    environment: str
    id: str | None
    records: tuple[Record, ...]
    nothing: tuple[str, ...] = ()
    unreachable: Mapping[str, HostFailure] = field(default_factory=dict)
    expired: tuple[str, ...] = ()

    @property
    def exit_status(self) -> ExitStatus:
        """Return 3 if a host is unreachable, which needs a person."""
        return ExitStatus.PERSON_NEEDED if self.unreachable else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "id": self.id,
            "backups": list(self.records),
            "nothing_to_back_up": list(self.nothing),
            "expired": list(self.expired),
            "unreachable": failures_told(self.unreachable),
            "exit_status": int(self.exit_status),
        }


def backup(env: Environment, progress: Progress, *, wait: float = 0.0) -> Backups:
    """Make a backup now, and remove expired ones.

    Raises:
        SlipwayError: the backup of a host failed; the other hosts keep theirs.
    """
    if not env.settings.backup.enabled:
        raise UsageError(f"backups are off in {env.name}: slipway_backup.enabled is false")
    require_secrets(env)
    names = hosts_with_data(env)
    started = now()
    with open_fleet([env.target(name).address for name in names], progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        owner = LockOwner(who(), "backup", instant(started), stamp(started), "backup")
        with fleet.lock(lock_requests(env, names, owner, wait=wait)):
            progress.phase(Phase(PhaseCode.BACKING_UP, "backing up"))
            facts = fleet.each("facts", partial(facts_of, env, drift=True)).all_or_raise("reading facts")
            for sentence in [*odd(facts), *drifted(facts)]:
                progress.warn(sentence)
            jobs, id_ = back_up_jobs(fleet, env, facts)
            made = by_host(jobs, fleet.run(jobs)).all_or_raise("backup")
            expired = fleet.each("retention", partial(_expire, env))
            for host, done in expired.ok.items():
                for sentence in done.strange:
                    progress.warn(f"{host}: {sentence}")
            for host, error in expired.failed.items():
                progress.warn(f"{host}: the backup is made, but old ones could not expire: {error.message}")
    return Backups(
        environment=env.name,
        id=id_,
        records=tuple(record for record in made.values() if record),
        nothing=tuple(host for host, record in made.items() if not record),
        expired=tuple(sorted({id_ for done in expired.ok.values() for id_ in done.ids})),
    )


def backups(env: Environment, progress: Progress) -> Backups:
    """List the backups that the hosts have."""
    addresses = [env.target(name).address for name in hosts_with_data(env)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        facts = fleet.each("facts", partial(facts_of, env))
    for sentence in odd(facts.ok):
        progress.warn(sentence)
    records = [record for fact in facts.ok.values() for record in fact.backups]
    failed = {**fleet.unreachable, **facts.failed}
    return Backups(
        environment=env.name,
        id=None,
        records=tuple(sorted(records, key=lambda r: (str(r.get("id")), str(r.get("host"))), reverse=True)),
        unreachable=failures(failed),
    )


def _expire(env: Environment, remote: Remote) -> Expired:
    return apply_retention(remote, env.target(remote.name).settings, databases_of(env, remote.name), env.secrets)
