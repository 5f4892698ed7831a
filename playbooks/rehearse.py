"""Rehearse a release's migrations on last night's backup, with the running release on top (C1).

It restores the newest backup into scratch databases, migrates them, starts the release that runs on the migrated copy,
takes the migrations back, compares, and applies them again. Nothing that serves is touched. What it finds is kept
on the databases' hosts, and in the ledger: a deploy may ask for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from playbooks.backups.making import Record, dumped, hosts_with_data, require_secrets
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import cut, stamp
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Certificate, Proof, Rehearsed, held, lost
from playbooks.migrations.sql_files import Direction, Migration
from playbooks.releases.find_artifact import find_artifact
from playbooks.rollout.migrating import (
    DatabaseMigrations,
    compared,
    databases_with_migrations,
    from_artifact,
    migrating_hosts,
    require_ready,
    secrets_of_migrations,
)
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.recording import sealed, write_down
from playbooks.steps import drill as drills
from playbooks.steps.database_measure import Measure, measure
from playbooks.steps.drill import Drilled, scratch_name
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Finished, finish
from playbooks.steps.migrations import Migrated, MigrationJob, keep_rehearsal, migrate


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal has shown.

    Args:
        id: its id in the ledger; empty if nothing is pending.
        version: the release whose migrations they are.
        status: PASSED or FAILED; empty if nothing is pending.
        databases: a certificate for each database with pending migrations.
        problems: why it failed.
        seconds: how long it took.
    """

    schema: ClassVar[str] = "slipway.rehearse/1"
    environment: str
    id: str
    version: str
    status: Literal["PASSED", "FAILED", ""]
    databases: tuple[Certificate, ...]
    problems: tuple[str, ...]
    seconds: float

    @property
    def exit_status(self) -> ExitStatus:
        """Return 1 if it failed."""
        return ExitStatus.FAILED if self.problems else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "exit_status": int(self.exit_status)}


def rehearse(env: Environment, version: str | None, artifact: str | None, progress: Progress) -> Rehearsal:
    """Rehearse the migrations that a deploy of this version would apply.

    Args:
        env: the environment.
        version, artifact: what would be deployed; default: the newest version.
        progress: receives what to show a person.

    Raises:
        UsageError: there are no migrations, or there is no backup to rehearse on.
        Locked: a drill or another rehearsal is running.
        SlipwayError: a host or a database does not answer.
    """
    found = find_artifact(env, version=version, artifact=artifact)
    migrations = from_artifact(env, found)
    if not databases_with_migrations(env) or migrations is None:
        raise UsageError(
            f"no database of {env.title} has migrations; nothing was touched"
            if migrations is not None
            else "a rehearsal needs an artifact that this machine can read; nothing was touched",
            hint="docs/migrations.md says what a rehearsal needs",
        )
    if not env.settings.backup.enabled:
        raise UsageError(
            f"backups are off in {env.name}, so there is nothing to rehearse on; nothing was touched",
            hint="set slipway_backup.enabled",
        )
    require_secrets(env, secrets_of_migrations(env))
    env.signing.prepare(progress.warn)
    started, began = now(), time.monotonic()
    owner = LockOwner(who(), f"rehearse {found.version}", instant(started), stamp(started), "rehearse")
    names = list(dict.fromkeys([*hosts_with_data(env), *migrating_hosts(env)]))
    total = env.settings.timeouts.total
    addresses = [env.target(name).address for name in names]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, total=total, acts=True) as fleet:
        fleet.require_all()
        facts = read_all(fleet, env, [env.target(name) for name in names])
        databases = compared(fleet, env, migrations)
        require_ready(env, databases)
        pending = [one for one in databases if one.pending.expand]
        if not pending:
            return Rehearsal(env.name, "", found.version, "", (), (), time.monotonic() - began)
        stage = _Stage(fleet, env, owner, facts, found.version)
        hosts = stage.hosts(pending)
        with fleet.lock(lock_requests(env, hosts, owner, wait=0, inside="/drill")) as held_locks:
            certificates, problems = stage.hold(pending)
            for one, certificate in certificates.items():
                _keep(fleet, env, pending, one, certificate)
            held_locks.succeeded = True
        result = Rehearsal(
            environment=env.name,
            id=owner.id,
            version=found.version,
            status="FAILED" if problems else "PASSED",
            databases=tuple(certificates.values()),
            problems=tuple(problems),
            seconds=round(time.monotonic() - began, 1),
        )
        _record(fleet, env, owner, facts, result)
        return result


@dataclass(frozen=True)
class _Stage:
    """Where a rehearsal is held: the restored backups of some hosts."""

    fleet: Fleet
    env: Environment
    owner: LockOwner
    facts: Mapping[str, Facts]
    version: str

    def hosts(self, pending: Sequence[DatabaseMigrations]) -> list[str]:
        """Return the hosts whose backups are restored: the databases', and one that has the running release in it.

        Raises:
            UsageError: a database has no backup.
        """
        for one in pending:
            record = self._record(one.host)
            if record is None or one.database.name not in dumped(record):
                raise UsageError(
                    f"the newest backup of {one.host} has no dump of {one.database.name} to rehearse on",
                    hint=f"make one: invoke backup {self.env.flag}",
                )
        first = self._first_host()
        return list(dict.fromkeys([*(one.host for one in pending), *([first] if first else [])]))

    def hold(self, pending: Sequence[DatabaseMigrations]) -> tuple[dict[str, Certificate], list[str]]:
        """Rehearse; returns a certificate for each database, and why it failed."""
        hosts = self.hosts(pending)
        try:
            return self._hold(pending, hosts)
        finally:
            ended = self.fleet.each("clean up", self._end, hosts=hosts, finish=True)
            for host, left in ended.ok.items():
                for sentence in left:
                    self.fleet.progress.warn(f"{host}: {sentence}")
            for host, error in ended.failed.items():
                self.fleet.progress.warn(f"{host}: what the rehearsal made could not be removed: {error.message}")

    def _hold(
        self, pending: Sequence[DatabaseMigrations], hosts: Sequence[str]
    ) -> tuple[dict[str, Certificate], list[str]]:
        self._phase(PhaseCode.RESTORING, "restoring the newest backups into scratch databases")
        restored = self.fleet.each("restore", self._restore, hosts=hosts, finish=True).all_or_raise("restoring")
        bad = [f"{host}: {problem}" for host, drilled in restored.items() for problem in drilled.problems]
        if bad:
            return {}, [f"the backup is not good enough to rehearse on: {cut('; '.join(bad))}"]
        certificates: dict[str, Certificate] = {}
        problems: list[str] = []
        before = {one.database.name: self._measure(one, data=True) for one in pending}
        went: dict[str, dict[str, Migrated]] = {one.database.name: {} for one in pending}
        for one in pending:
            failed = self._all(one, one.pending.expand, "up", went[one.database.name])
            problems += [failed] if failed else []
        if problems:
            return {}, problems
        after = {one.database.name: self._measure(one) for one in pending}
        proof, why = self._old_release()
        for one in pending:
            lossy, failed = self._take_back(one, before[one.database.name])
            problems += [failed] if failed else []
            certificates[one.database.name] = self._certificate(
                one, before[one.database.name], after[one.database.name], went[one.database.name], lossy, proof, why
            )
        if proof == "failed":
            problems.append(f"the release that runs does not work with the new schema: {why}")
        return certificates, problems

    def _take_back(self, one: DatabaseMigrations, before: Measure) -> tuple[dict[str, tuple[str, ...]], str]:
        """Take the migrations back one by one, compare, and apply them again.

        Returns:
            What is lost, by migration; and why they could not be applied again, if so.
        """
        back = [migration for migration in reversed(one.pending.expand) if migration.down]
        if len(back) < len(one.pending.expand):
            back = back[: next(n for n, m in enumerate(reversed(one.pending.expand)) if m.down is None)]
        took: dict[str, Migrated] = {}
        failed = self._all(one, back, "down", took)
        if failed:
            return {back[len(took)].id: (f"it cannot be taken back: {failed}",)}, ""
        lossy: dict[str, tuple[str, ...]] = {}
        if len(back) == len(one.pending.expand) and back:
            now_there = self._measure(one, data=True)
            found = lost(before.schema, now_there.schema)
            found += [
                f"the rows of {table} are not as before ({was.rows}, then {now_there.tables[table].rows})"
                for table, was in before.tables.items()
                if table in now_there.tables and was.checksum != now_there.tables[table].checksum
            ]
            if found:
                lossy[back[-1].id] = tuple(found)
        return lossy, self._all(one, tuple(reversed(back)), "up", {}) or ""

    def _all(
        self,
        one: DatabaseMigrations,
        migrations: Sequence[Migration],
        direction: Direction,
        went: dict[str, Migrated],
    ) -> str | None:
        """Migrate the scratch database; returns why it stopped, if it did."""
        for migration in migrations:
            what = "applying" if direction == "up" else "taking back"
            self._phase(PhaseCode.MIGRATING, f"{what} {migration.label} in a copy of {one.database.name}")
            job = MigrationJob(migration, direction, self.owner.who, self.owner.id, 1, scratch_name(one.database))

            def act(remote: Remote, job: MigrationJob = job) -> Migrated:
                note = partial(self.fleet.progress.note, remote.name)
                settings = self.env.target(remote.name).settings
                return migrate(remote, settings, one.database, self.env.secrets, job, note=note)

            done = self.fleet.each("migrate", act, hosts=[one.host], finish=True)
            if done.failed:
                return done.failed[one.host].message
            went[migration.id] = done.ok[one.host]
        return None

    def _old_release(self) -> tuple[Proof, str]:
        """Start the release that runs on the migrated copy (N-1)."""
        host = self._first_host()
        if host is None:
            return "not tried", "no backup has the release that runs"
        settings = self.env.target(host).settings
        if not settings.backup.drill.command:
            return "not tried", "slipway_backup.drill.command does not say how a release is started"
        release = str((self._record(host) or {}).get("release"))
        self._phase(PhaseCode.STARTING, f"starting {release}, which runs, on the migrated copy")

        def start(remote: Remote) -> Drilled:
            return drills.drill_start(remote, settings, release, self.env.settings.databases)

        started = self.fleet.each("start", start, hosts=[host], finish=True)
        if started.failed:
            return "failed", started.failed[host].message
        drilled = started.ok[host]
        said = [" ".join(line.split()) for line in drilled.log[-4:]]
        return ("failed", "; ".join(said or drilled.problems)) if drilled.problems else ("passed", "")

    def _certificate(
        self,
        one: DatabaseMigrations,
        before: Measure,
        after: Measure,
        went: Mapping[str, Migrated],
        lossy: Mapping[str, tuple[str, ...]],
        proof: Proof,
        why: str,
    ) -> Certificate:
        return Certificate(
            database=one.database.name,
            at=instant(now()),
            by=self.owner.who,
            version=self.version,
            source=str((self._record(one.host) or {}).get("id")),
            before=before.fingerprint,
            after=after.fingerprint,
            bytes=before.bytes,
            grown=after.bytes - before.bytes,
            migrations=tuple(_rehearsed(m, went[m.id], lossy.get(m.id, ())) for m in one.pending.expand),
            tables={name: table.bytes for name, table in before.tables.items()},
            old_release=proof,
            why={"old_release": cut(why)} if why else {},
        )

    def _measure(self, one: DatabaseMigrations, *, data: bool = False) -> Measure:
        def act(remote: Remote) -> Measure:
            limit = self.env.settings.timeouts.command
            name = scratch_name(one.database)
            return measure(remote, one.database, self.env.secrets, name=name, data=data, timeout=limit)

        return self.fleet.each("measure", act, hosts=[one.host]).all_or_raise("measuring")[one.host]

    def _restore(self, remote: Remote) -> Drilled:
        record = self._record(remote.name)
        assert record is not None  # hosts() has looked  # noqa: S101
        settings = self.env.target(remote.name).settings
        note = partial(self.fleet.progress.note, remote.name)
        own = self.env.database_hosts.get(remote.name, [])
        databases = [database for database in self.env.settings.databases if database.name in own]
        return drills.drill(remote, settings, databases, record, self.env.secrets, note=note)

    def _end(self, remote: Remote) -> list[str]:
        own = self.env.database_hosts.get(remote.name, [])
        databases = [database for database in self.env.settings.databases if database.name in own]
        settings = self.env.target(remote.name).settings
        return drills.drill_end(remote, settings, databases, self.env.secrets, None)

    def _record(self, host: str) -> Record | None:
        """Return a host's newest backup."""
        backups = self.facts[host].backups
        return max(backups, key=lambda record: str(record.get("created", "")), default=None)

    def _first_host(self) -> str | None:
        """Return a host whose newest backup has the release that it runs."""
        for target in self.env.targets:
            record = self._record(target.name)
            if record and record.get("release") and record.get("release") == self.facts[target.name].current:
                return target.name
        return None

    def _phase(self, code: PhaseCode, text: str) -> None:
        self.fleet.progress.phase(Phase(code, text))


def _rehearsed(migration: Migration, took: Migrated, lossy: tuple[str, ...]) -> Rehearsed:
    return Rehearsed(
        id=migration.id,
        name=migration.name,
        up_sha256=migration.up.sha256,
        down_sha256=migration.down.sha256 if migration.down else "",
        milliseconds=took.milliseconds,
        held=held(took.locks, took.milliseconds) if migration.up.transaction else {},
        rewrites=tuple(dict.fromkeys(table for table, _ in took.rewrites)),
        lossy=lossy,
        reversible=migration.down is not None,
    )


def _keep(
    fleet: Fleet, env: Environment, pending: Sequence[DatabaseMigrations], name: str, certificate: Certificate
) -> None:
    one = next(one for one in pending if one.database.name == name)
    document = json.dumps(env.secrets.mask_document(certificate.to_json()), ensure_ascii=False)

    def act(remote: Remote) -> None:
        keep_rehearsal(remote, env.target(remote.name).settings, one.database, document)

    fleet.each("keep", act, hosts=[one.host]).all_or_raise("keeping the rehearsal")


def _record(fleet: Fleet, env: Environment, owner: LockOwner, facts: Mapping[str, Facts], result: Rehearsal) -> None:
    """Write the rehearsal into the ledgers."""
    outcome = Outcome(
        task=owner.task,
        id=owner.id,
        environment=env.name,
        version=result.version,
        status=TaskStatus.FAILED if result.problems else TaskStatus.DONE,
        message=cut("; ".join(result.problems) or "the migrations were rehearsed"),
        hosts=(),
        started=owner.since,
        seconds=result.seconds,
        by=owner.who,
        verdicts=tuple(replace(one, tables={}).to_json() for one in result.databases),
        exit_status=result.exit_status,
    )
    there = [target.name for target in env.targets]
    document = sealed(env, owner, outcome, {host: facts[host] for host in there})

    def one(remote: Remote) -> Finished:
        return finish(remote, env.target(remote.name).settings, document)

    for host, error in write_down(fleet, env, "record", there, one).items():
        fleet.progress.warn(f"{host}: the rehearsal is kept, but the ledger has no record of it: {error.message}")
