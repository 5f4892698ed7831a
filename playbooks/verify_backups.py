"""Prove that the latest backups can be restored (G9). Each host records PASSED or FAILED for preflight."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from playbooks.backups.making import Record, databases_of, hosts_with_data, require_secrets
from playbooks.core.clock import instant, now
from playbooks.core.counting import few
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import stamp
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.settings.backup import Database
from playbooks.steps import drill as steps
from playbooks.steps.drill import Drilled
from playbooks.steps.facts import Facts

# How much of its reasons a host keeps: enough to act on, short enough for a command's argument.
MAX_REASONS = 20


@dataclass(frozen=True)
class HostDrill:
    """The drill of one host.

    Args:
        status: PASSED or FAILED.
        at: the time, UTC, ISO 8601.
        backup: the id of the tested backup.
        seconds: how long the drill took.
        reasons: why it failed.
        started: whether the restored release was started and answered.
        log: the last lines of the release's log, if it did not answer.
        release: the release in the backup; None if there is none.
        notes: what the drill did not prove.
    """

    host: str
    status: Literal["PASSED", "FAILED"]
    at: str
    backup: str | None
    seconds: float
    reasons: tuple[str, ...]
    started: bool = False
    log: tuple[str, ...] = ()
    release: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """The drill of the fleet."""

    schema: ClassVar[str] = "slipway.verify-backups/1"
    environment: str
    hosts: tuple[HostDrill, ...]
    unreachable: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Return PASSED if every host passed."""
        return "PASSED" if all(host.status == "PASSED" for host in self.hosts) else "FAILED"

    @property
    def sentence(self) -> str:
        """Return the status, and what it does not prove."""
        applications = [host for host in self.hosts if host.release or host.notes]
        bare = bool(applications) and not any(host.release for host in applications)
        return f"{self.status}{', for data alone: no release was in these backups' if bare else ''}"

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0 for PASSED, 1 for FAILED, 3 if a host is unreachable."""
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
    """Restore and test every host's latest backup, and clean up afterwards.

    It does not change what runs, and does not delay a deploy, because drills have their own lock.

    Raises:
        UsageError: backups are off.
        ConfigError: a secret is missing.
        Locked: another drill is running.
    """
    if not env.settings.backup.enabled:
        raise UsageError(f"backups are off in {env.name}: slipway_backup.enabled is false")
    require_secrets(env)
    moment = now()
    owner = LockOwner(who(), "verify-backups", instant(moment), stamp(moment), "verify-backups")
    addresses = [env.target(name).address for name in hosts_with_data(env)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        facts = fleet.each("facts", partial(facts_of, env))
        gone = {**fleet.unreachable, **facts.failed}
        requests = lock_requests(env, facts.ok, owner, wait=0, inside="/drill")
        if not requests:
            fleet.require_all()
            facts.all_or_raise("reading facts")
        with fleet.lock(requests):
            found = _Drill(fleet, env, {host: _latest(fact) for host, fact in facts.ok.items()}).hold()
    absent = [_verdict(host, None, (error.message,), 0.0) for host, error in gone.items()]
    return Verification(env.name, (*found, *absent), tuple(gone))


def _latest(facts: Facts) -> Record | None:
    return max(facts.backups, key=lambda record: str(record.get("created", "")), default=None)


@dataclass(frozen=True)
class _Drill:
    """A fleet's drill in three parts, each on all hosts at once, because a release may need another host's database."""

    fleet: Fleet
    env: Environment
    records: Mapping[str, Record | None]

    def hold(self) -> list[HostDrill]:
        began = time.monotonic()
        tried = [host for host, record in self.records.items() if record]
        verdicts: dict[str, HostDrill] = {}
        try:
            self.fleet.progress.phase(Phase(PhaseCode.RESTORING, "restoring the latest backups"))
            restored = self.fleet.each("drill", self._restore, hosts=tried, finish=True)
            there = [host for host in tried if host in restored.ok and restored.ok[host].restored]
            runnable = [host for host in there if self._release(host)]
            if runnable:
                self.fleet.progress.phase(Phase(PhaseCode.STARTING, "starting what was restored"))
            started = self.fleet.each("start", self._start, hosts=runnable, finish=True)
            seconds = round(time.monotonic() - began, 1)
            verdicts = {host: self._judge(host, restored, started, seconds) for host in self.records}
        finally:
            # An interrupted drill proves nothing, so the last result stays.
            ended = self.fleet.each("clean up", partial(self._end, verdicts), hosts=list(self.records), finish=True)
            self._tell(ended)
        return list(verdicts.values())

    def _restore(self, remote: Remote) -> Drilled:
        record = self.records[remote.name]
        assert record is not None  # hosts without a record are not tested  # noqa: S101
        settings = self.env.target(remote.name).settings
        note = partial(self.fleet.progress.note, remote.name)
        return steps.drill(remote, settings, self._databases(remote.name), record, self.env.secrets, note=note)

    def _start(self, remote: Remote) -> Drilled:
        settings = self.env.target(remote.name).settings
        return steps.drill_start(remote, settings, self._release(remote.name), self._databases(remote.name))

    def _end(self, verdicts: Mapping[str, HostDrill], remote: Remote) -> list[str]:
        verdict = verdicts.get(remote.name)
        # The text contains the application's log and becomes an argument, so strike out secrets.
        document = self.env.secrets.mask_document(asdict(verdict)) if verdict else None
        databases = self._databases(remote.name) if self.records[remote.name] else []
        return steps.drill_end(remote, self.env.target(remote.name).settings, databases, self.env.secrets, document)

    def _databases(self, host: str) -> list[Database]:
        return databases_of(self.env, host)

    def _release(self, host: str) -> str:
        """Return the release to start on a host; empty for none."""
        record = self.records[host] or {}
        drill = self.env.target(host).settings.backup.drill
        return str(record.get("release") or "") if drill.command and not self._out_of_reach(host) else ""

    def _out_of_reach(self, host: str) -> list[str]:
        """Return the databases of which the release would need a scratch copy, where there is none that it reaches."""
        texts = self.env.target(host).settings.backup.drill.environment.values()
        found = []
        for index, database in enumerate(self.env.settings.databases):
            places = [f"{{database.{database.name}}}", *(["{database}"] if index == 0 else [])]
            if database.backup.method != "dump" and any(place in text for place in places for text in texts):
                found.append(database.name)
        return found

    def _judge(self, host: str, restored: Results[Drilled], started: Results[Drilled], seconds: float) -> HostDrill:
        record = self.records[host]
        if record is None:
            hint = f"make one: invoke backup {self.env.flag}"
            return _verdict(host, None, (f"there is no backup on this host; {hint}",), 0.0)
        reasons: list[str] = []
        for results in (restored, started):
            if host in results.failed:
                reasons.append(results.failed[host].message)
            elif host in results.ok:
                reasons += results.ok[host].problems
        begun = started.ok.get(host) or Drilled(())
        verdict = _verdict(host, str(record["id"]), tuple(reasons), seconds, begun)
        there = host in restored.ok and restored.ok[host].restored
        notes = (*restored.ok[host].unproven, *self._not_proven(host, record)) if there else ()
        return replace(verdict, release=record.get("release"), notes=notes)

    def _not_proven(self, host: str, record: Record) -> tuple[str, ...]:
        """Return what the drill did not prove."""
        if record.get("kind") != "application":
            return ()
        if not record.get("release"):
            return ("no release is in it: none was there when it was made. Only data was restored and compared",)
        told = []
        if apart := self._out_of_reach(host):
            told.append(
                f"its release was compared with its manifest, and not started: it would need a scratch copy of "
                f"{', '.join(apart)}, and there is none for a database whose backup is no dump"
            )
        elif not self._release(host):
            told.append(
                "its release was compared with its manifest, and not started: slipway_backup.drill.command says how"
            )
        if changed := record.get("changed"):
            what = f"its release was changed by hand ({few(changed)})"
            told.append(f"{what}; a rollback goes only to a release as it was deployed")
        return tuple(told)

    def _tell(self, ended: Results[list[str]]) -> None:
        for host, left in ended.ok.items():
            for sentence in left:
                self.fleet.progress.warn(f"{host}: {sentence}")
        for host, error in ended.failed.items():
            self.fleet.progress.warn(
                f"{host}: the drill's files could not be removed, or its result could not be recorded: {error.message}"
            )


def _verdict(
    host: str, backup: str | None, reasons: tuple[str, ...], seconds: float, begun: Drilled | None = None
) -> HostDrill:
    return HostDrill(
        host=host,
        status="FAILED" if reasons else "PASSED",
        at=instant(now()),
        backup=backup,
        seconds=seconds,
        reasons=reasons[:MAX_REASONS],
        started=begun is not None and begun.started,
        log=begun.log if begun else (),
    )
