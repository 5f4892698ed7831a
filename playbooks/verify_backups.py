"""Prove that the latest backups can be restored (G9): PASSED or FAILED a host, written where preflight reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from playbooks.backup import Record, backup_hosts, everybody, look
from playbooks.environment import Environment
from playbooks.errors import ExitStatus, SlipwayError
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.release import now
from playbooks.settings.backup import Database
from playbooks.steps.drill import Drilled, drill_databases, drill_release, record_drill
from playbooks.steps.facts import Facts


@dataclass(frozen=True)
class HostDrill:
    """One host.

    Args:
        status: PASSED or FAILED.
        at: UTC, ISO 8601.
        backup: the id of the backup that was tried.
        seconds: how long restoring it took.
        reasons: why it failed.
        started: whether the restored release was started and answered.
    """

    host: str
    status: str
    at: str
    backup: str | None
    seconds: int
    reasons: tuple[str, ...]
    started: bool = False


@dataclass(frozen=True)
class Verification:
    """The fleet."""

    environment: str
    hosts: tuple[HostDrill, ...]
    unreachable: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """PASSED when every host passed."""
        return "PASSED" if all(host.status == "PASSED" for host in self.hosts) else "FAILED"

    @property
    def exit_status(self) -> ExitStatus:
        """0 PASSED, 1 FAILED, 3 a host cannot be reached."""
        if self.unreachable:
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.DONE if self.status == "PASSED" else ExitStatus.FAILED

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "status": self.status,
            "hosts": [asdict(host) for host in self.hosts],
            "exit_status": int(self.exit_status),
        }


def verify_backups(env: Environment, progress: Progress) -> Verification:
    """Try every host's latest backup for real, and clean up after it. What runs is not touched.

    Databases go first and their scratch copies stay until the end: a restored release is started against them.
    """
    with open_fleet(
        [env.target(name).address for name in everybody(env)], progress=progress, forks=env.settings.forks
    ) as fleet:
        facts = fleet.each("facts", partial(look, env))
        latest = {host: _latest(fact) for host, fact in facts.ok.items()}
        databases = {name: record for name, record in latest.items() if name in backup_hosts(env)}
        apps = {name: record for name, record in latest.items() if name not in databases}
        try:
            progress.phase("loading database dumps")
            loaded = fleet.each("load", partial(_databases, env, databases, "load"), hosts=list(databases))
            progress.phase("restoring releases")
            released = fleet.each("drill", partial(_release, fleet, env, apps), hosts=list(apps))
        finally:
            fleet.each("clean", partial(_databases, env, databases, "drop"), hosts=list(databases), finish=True)
        failed = {**fleet.unreachable, **facts.failed}
        hosts = [*_judge(released, apps), *_judge(loaded, databases), *(_gone(h, e) for h, e in failed.items())]
        _write_down(fleet, env, {host.host: host for host in hosts if host.host in latest})
    return Verification(env.name, tuple(hosts), tuple(failed))


def _latest(facts: Facts) -> Record | None:
    return max(facts.backups, key=lambda record: str(record.get("created", "")), default=None)


def _release(fleet: Fleet, env: Environment, records: Mapping[str, Record | None], remote: Remote) -> Drilled:
    record = records[remote.name]
    if record is None:
        return Drilled(("there is no backup",), 0)
    settings = env.target(remote.name).settings
    return drill_release(remote, settings, record, env.secrets, note=partial(fleet.progress.note, remote.name))


def _databases(
    env: Environment, records: Mapping[str, Record | None], action: Literal["load", "drop"], remote: Remote
) -> Drilled:
    record = records[remote.name]
    if record is None:
        return Drilled(("there is no backup",), 0)
    names = env.database_hosts[remote.name]
    mine: list[Database] = [database for database in env.settings.databases if database.name in names]
    return drill_databases(remote, env.target(remote.name).settings, mine, record, env.secrets, action=action)


def _judge(results: Results[Drilled], records: Mapping[str, Record | None]) -> list[HostDrill]:
    at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    found = []
    for host, record in records.items():
        error = results.failed.get(host)
        drilled = results.ok.get(host) or Drilled((error.message if error else "it was not tried",), 0)
        id_ = str(record["id"]) if record else None
        status = "FAILED" if drilled.problems else "PASSED"
        found.append(HostDrill(host, status, at, id_, drilled.seconds, drilled.problems, drilled.started))
    return found


def _gone(host: str, error: SlipwayError) -> HostDrill:
    return HostDrill(host, "FAILED", now().strftime("%Y-%m-%dT%H:%M:%SZ"), None, 0, (error.message,))


def _write_down(fleet: Fleet, env: Environment, drills: Mapping[str, HostDrill]) -> None:
    def one(remote: Remote) -> None:
        record_drill(remote, env.target(remote.name).settings, asdict(drills[remote.name]))

    results = fleet.each("record", one, hosts=list(drills), finish=True)
    for host, error in results.failed.items():
        fleet.progress.warn(f"{host}: the result could not be written down: {error.message}")
