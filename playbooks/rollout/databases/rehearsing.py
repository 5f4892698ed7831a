"""Hold a rehearsal: restore, migrate, start both releases on the copy, take the migrations back, compare (C1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import Literal

from playbooks.backups.making import Record, databases_of, dumped
from playbooks.core.clock import instant, now
from playbooks.core.errors import UsageError
from playbooks.core.names import cut, parse_time
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.migrations.certificate import Certificate, Proof, Rehearsed, failed_proofs, held, lost, over_budget
from playbooks.migrations.sql_files import Direction, Migration, MigrationPhase
from playbooks.rollout.databases.allowing import budget_of
from playbooks.rollout.databases.reading import DatabaseMigrations
from playbooks.rollout.databases.trying import NewRelease, Trial, try_new_release, try_running_release
from playbooks.steps import drill as drills
from playbooks.steps.database_measure import Measure, measure
from playbooks.steps.drill import Drilled, scratch_name
from playbooks.steps.facts import Facts, version_in
from playbooks.steps.migrations import Migrated, MigrationJob, migrate

MAKE_ONE = "make a new one: invoke backup {flag}, or with --fresh the rehearsal makes it"


@dataclass(frozen=True)
class Rehearsing:
    """Where a rehearsal is held: the restored backups of the databases' hosts, and of one that has the running release.

    Args:
        fleet: the open sessions.
        env: the environment.
        owner: who rehearses.
        facts: of all hosts that have backups.
        version: the release whose migrations they are.
        new: the release that is to be deployed; None if contracts are rehearsed, those of the release that runs.
    """

    fleet: Fleet
    env: Environment
    owner: LockOwner
    facts: Mapping[str, Facts]
    version: str
    new: NewRelease | None

    @property
    def phase(self) -> MigrationPhase:
        """Whether contracts are rehearsed."""
        return "expand" if self.new else "contract"

    def is_backed_up(self, pending: Sequence[DatabaseMigrations]) -> bool:
        """Return whether the newest backups are good for a rehearsal, and none is older than the rehearsal may be."""
        try:
            self.hosts(pending)
        except UsageError:
            return False
        return all(self._is_young(one) for one in pending)

    def _is_young(self, one: DatabaseMigrations) -> bool:
        assert one.database.migrations is not None  # it has pending ones  # noqa: S101
        made = parse_time(str((self._record(one.host) or {}).get("created", "")))
        limit = timedelta(seconds=one.database.migrations.rehearsal.max_age)
        return made is not None and now() - made <= limit

    def hosts(self, pending: Sequence[DatabaseMigrations]) -> list[str]:
        """Return the hosts whose backups are restored: the databases', and one that has the running release in it.

        Raises:
            UsageError: a database has no backup, or one from before its last migration, or from before what runs.
        """
        for one in pending:
            if one.database.backup.method != "dump":
                raise UsageError(
                    f"{one.database.name} is backed up by {one.database.backup.method}, and a rehearsal can only use "
                    "dumps. Nothing was touched",
                    hint="rehearse on an environment whose backup.method is dump: docs/backups.md",
                )
            record = self._record(one.host)
            if record is None or one.database.name not in dumped(record):
                raise UsageError(
                    f"the newest backup of {one.host} has no dump of {one.database.name} to rehearse on",
                    hint=MAKE_ONE.format(flag=self.env.flag),
                )
            later = [row.label for row in one.state.applied if row.ended >= str(record.get("created", ""))]
            if later:
                raise UsageError(
                    f"the newest backup of {one.host}, {record.get('id')}, is older than what {one.database.name} has "
                    f"now: {', '.join(later)} came after it. Nothing was touched",
                    hint=MAKE_ONE.format(flag=self.env.flag),
                )
        first = self._first_host()
        running = {target.name: self.facts[target.name].current for target in self.env.targets}
        behind = [host for host, release in running.items() if release]
        if first is None and behind and self.env.target(behind[0]).settings.backup.drill.command:
            # A deploy backs up before it switches, so that backup has the release before it.
            raise UsageError(
                f"the newest backup of {behind[0]} does not have {running[behind[0]]}, which runs, so it cannot be "
                "tried on the new schema. Nothing was touched",
                hint=MAKE_ONE.format(flag=self.env.flag),
            )
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
        before = {one.database.name: self._measure(one, "yes") for one in pending}
        for one in pending:
            if before[one.database.name].fingerprint != self._measure(one, real=True).fingerprint:
                backup = str((self._record(one.host) or {}).get("id"))
                problems.append(
                    f"{one.database.name} has another schema now than in the backup {backup}, so this would say "
                    f"nothing about it; {MAKE_ONE.format(flag=self.env.flag)}"
                )
        if problems:
            return {}, problems
        went: dict[str, dict[str, Migrated]] = {one.database.name: {} for one in pending}
        for one in pending:
            failed = self._all(one, one.lacking(self.phase), "up", went[one.database.name])
            problems += [failed] if failed else []
        if problems:
            # An older rehearsal must not speak for them any more.
            return {
                one.database.name: self._certificate(one, before[one.database.name], None, {}, {}, {})
                for one in pending
            }, problems
        after = {one.database.name: self._measure(one, "writes") for one in pending}
        host = self._first_host()
        trial = Trial(self.fleet, self.env, self.owner, host, self.facts[host]) if host else None
        proofs = {"old_release": try_running_release(trial), "new_release": try_new_release(trial, self.new)}
        checks = {one.database.name: self._checks(one) for one in pending}
        for one in pending:
            name = one.database.name
            written = self._written(one, after[name])
            lossy, failed = self._take_back(one, before[name], written)
            problems += [failed] if failed else []
            made = self._certificate(one, before[name], after[name], went[name], lossy, proofs)
            certificates[name] = replace(made, checks=checks[name], written=written)
            problems += self._over_budget(one, certificates[name])
        # The releases are the same for all databases.
        problems += dict.fromkeys(sentence for one in certificates.values() for sentence in failed_proofs(one))
        return certificates, problems

    def _over_budget(self, one: DatabaseMigrations, certificate: Certificate) -> list[str]:
        """Return which locks were held for longer than a deploy allows."""
        assert one.database.migrations is not None  # it has pending ones  # noqa: S101
        pending = {migration.id for migration in one.lacking(self.phase)}
        return list(over_budget(certificate, pending, budget_of(one.database.migrations.rehearsal)))

    def _written(self, one: DatabaseMigrations, before: Measure) -> tuple[str, ...]:
        """Return the tables that a release has written to since."""
        now_there = self._measure(one, "writes").writes
        return tuple(table for table, count in now_there.items() if count != before.writes.get(table, 0))

    def _take_back(
        self, one: DatabaseMigrations, before: Measure, written: Sequence[str]
    ) -> tuple[dict[str, tuple[str, ...]], str]:
        """Take the migrations back one by one, compare, and apply them again.

        Returns:
            What is lost, by migration; and why they could not be applied again, if so.
        """
        back = list(takewhile(lambda migration: migration.down, reversed(one.lacking(self.phase))))
        took: dict[str, Migrated] = {}
        failed = self._all(one, back, "down", took)
        if failed:
            return {back[len(took)].id: (f"it cannot be taken back: {failed}",)}, ""
        lossy: dict[str, tuple[str, ...]] = {}
        if len(back) == len(one.lacking(self.phase)) and back:
            now_there = self._measure(one, "yes")
            found = lost(before.schema, now_there.schema)
            found += [
                f"the rows of {table} are not as before ({_rows(was.rows, now_there.tables[table].rows)})"
                for table, was in before.tables.items()
                if table in now_there.tables and was.checksum != now_there.tables[table].checksum
                if table not in written
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

    def _checks(self, one: DatabaseMigrations) -> tuple[str, ...]:
        """Ask the drill's queries of the migrated copy, on which releases have run."""

        def act(remote: Remote) -> tuple[str, ...]:
            settings = self.env.target(remote.name).settings
            return drills.drill_checks(remote, settings, [one.database], self.env.secrets)

        return self.fleet.each("checks", act, hosts=[one.host]).all_or_raise("asking the drill's checks")[one.host]

    def _running(self) -> str:
        """Return the version that runs."""
        host = self._first_host()
        return version_in(self.facts[host].current or "") if host else ""

    def _certificate(
        self,
        one: DatabaseMigrations,
        before: Measure,
        after: Measure | None,
        went: Mapping[str, Migrated],
        lossy: Mapping[str, tuple[str, ...]],
        proofs: Mapping[str, tuple[Proof, str]],
    ) -> Certificate:
        not_tried: tuple[Proof, str] = ("not tried", "")
        return Certificate(
            database=one.database.name,
            at=instant(now()),
            by=self.owner.who,
            version=self.version,
            source=str((self._record(one.host) or {}).get("id")),
            before=before.fingerprint,
            after=after.fingerprint if after else "",
            bytes=before.bytes,
            grown=after.bytes - before.bytes if after else 0,
            migrations=tuple(
                _rehearsed(m, went[m.id], lossy.get(m.id, ())) for m in one.lacking(self.phase) if m.id in went
            )
            if after
            else (),
            tables={name: table.bytes for name, table in before.tables.items()},
            running=self._running() if proofs.get("old_release", not_tried)[0] != "not tried" else "",
            old_release=proofs.get("old_release", not_tried)[0],
            new_release=proofs.get("new_release", not_tried)[0],
            why={name: cut(why) for name, (_, why) in proofs.items() if why},
        )

    def _measure(
        self, one: DatabaseMigrations, data: Literal["no", "yes", "writes"] = "no", *, real: bool = False
    ) -> Measure:
        def act(remote: Remote) -> Measure:
            limit = self.env.settings.timeouts.command
            name = None if real else scratch_name(one.database)
            settings = self.env.target(remote.name).settings
            return measure(remote, settings, one.database, self.env.secrets, name=name, data=data, timeout=limit)

        return self.fleet.each("measure", act, hosts=[one.host]).all_or_raise("measuring")[one.host]

    def _restore(self, remote: Remote) -> Drilled:
        record = self._record(remote.name)
        assert record is not None  # hosts() has looked  # noqa: S101
        settings = self.env.target(remote.name).settings
        note = partial(self.fleet.progress.note, remote.name)
        return drills.drill(remote, settings, databases_of(self.env, remote.name), record, self.env.secrets, note=note)

    def _end(self, remote: Remote) -> list[str]:
        settings = self.env.target(remote.name).settings
        return drills.drill_end(remote, settings, databases_of(self.env, remote.name), self.env.secrets, None)

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
        phase=migration.phase,
    )


def _rows(before: int, after: int) -> str:
    return f"{before}, then {after}" if before != after else f"{before}, but with other values"
