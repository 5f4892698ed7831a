"""Rehearse a release's migrations on last night's backup, with the running release and the new one on top (C1).

It restores the newest backup into scratch databases, migrates them, starts the release that runs and then the new one
on the migrated copy, takes the migrations back, compares, and applies them again. Nothing that serves is touched. What
it finds is kept on the databases' hosts, and in the ledger: a deploy may ask for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

from playbooks.backup import backup
from playbooks.backups.making import hosts_with_data, require_secrets
from playbooks.core.artifact import Artifact
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import cut, stamp
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.migrate import running_release
from playbooks.migrations.certificate import Certificate
from playbooks.migrations.sql_files import Migration, MigrationPhase
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.render import new_release
from playbooks.releases.renderings import render_all
from playbooks.rollout.databases.allowing import require_ready
from playbooks.rollout.databases.reading import (
    DatabaseMigrations,
    compared,
    databases_with_migrations,
    from_artifact,
    from_release,
    migrating_hosts,
    secrets_of_migrations,
)
from playbooks.rollout.databases.rehearsing import Rehearsing
from playbooks.rollout.databases.tools import databases_with_tools
from playbooks.rollout.databases.trying import NewRelease
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.recording import record_alone
from playbooks.steps.facts import Facts, version_in
from playbooks.steps.migrations import keep_rehearsal


@dataclass(frozen=True)
class RehearsalRequest:
    """A person's request.

    Args:
        version, artifact: what would be deployed; default: the newest version.
        contract: rehearse the contracts that are owed, those of the release that runs, instead.
        backup: which backup it is held on: the newest, one made now, or one made now if the newest is not good for it.
        found: the artifact, if it is known already.
        wait: seconds to wait for another task's lock before a backup is made.
    """

    version: str | None = None
    artifact: str | None = None
    contract: bool = False
    backup: Literal["newest", "now", "if needed"] = "newest"
    found: Artifact | None = None
    wait: float = 0.0


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal has shown.

    Args:
        id: its id in the ledger; empty if nothing is pending.
        version: the release whose migrations they are.
        contract: whether contracts were rehearsed.
        status: PASSED or FAILED; empty if nothing is pending.
        databases: a certificate for each database with pending migrations.
        problems: why it failed.
        seconds: how long it took.
    """

    schema: ClassVar[str] = "slipway.rehearse/1"
    environment: str
    id: str
    version: str
    contract: bool
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


@dataclass(frozen=True)
class _New:
    """What would be deployed, and its migrations by database."""

    release: NewRelease
    migrations: Mapping[str, tuple[Migration, ...]]

    @property
    def version(self) -> str:
        return self.release.release.version


def rehearse(env: Environment, wanted: RehearsalRequest, progress: Progress) -> Rehearsal:
    """Rehearse the migrations that a deploy would apply, or the contracts that are owed.

    Args:
        env: the environment.
        wanted: the request.
        progress: receives what to show a person.

    Raises:
        UsageError: there are no migrations, or there is no backup to rehearse on.
        Locked: a drill or another rehearsal is running.
        SlipwayError: a host or a database does not answer.
    """
    _require_rehearsable(env, wanted, progress)
    new = None if wanted.contract else _new(env, wanted)
    require_secrets(env, secrets_of_migrations(env))
    if wanted.backup == "now":
        backup(env, progress, wait=wanted.wait)
    env.signing.prepare(progress.warn)
    started, began = now(), time.monotonic()
    what = f"rehearse {new.version}" if new else "rehearse contracts"
    owner = LockOwner(who(), what, instant(started), stamp(started), "rehearse")
    names = list(dict.fromkeys([*hosts_with_data(env), *migrating_hosts(env)]))
    total = env.settings.timeouts.total
    addresses = [env.target(name).address for name in names]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, total=total, acts=True) as fleet:
        fleet.require_all()
        facts = read_all(fleet, env, [env.target(name) for name in names])
        version, migrations = (new.version, new.migrations) if new else _of_running_release(fleet, env, facts)
        databases = compared(fleet, env, migrations)
        require_ready(env, databases)
        stage = Rehearsing(fleet, env, owner, facts, version, new.release if new else None)
        pending = [one for one in databases if one.lacking(stage.phase)]
        if not pending:
            return Rehearsal(env.name, "", version, wanted.contract, "", (), (), time.monotonic() - began)
        if wanted.backup == "if needed" and not stage.is_backed_up(pending):
            backup(env, progress, wait=wanted.wait)
            stage = replace(stage, facts=read_all(fleet, env, [env.target(name) for name in names]))
        hosts = stage.hosts(pending)
        with fleet.lock(lock_requests(env, hosts, owner, wait=0, inside="/drill")) as held_locks:
            certificates, problems = stage.hold(pending)
            for one, certificate in certificates.items():
                _keep(fleet, env, pending, one, certificate, stage.phase)
            held_locks.succeeded = True
        result = Rehearsal(
            environment=env.name,
            id=owner.id,
            version=version,
            contract=wanted.contract,
            status="FAILED" if problems else "PASSED",
            databases=tuple(certificates.values()),
            problems=tuple(problems),
            seconds=round(time.monotonic() - began, 1),
        )
        _record(fleet, env, owner, stage.facts, result)
        return result


def _new(env: Environment, wanted: RehearsalRequest) -> _New:
    """Find what would be deployed, and render its configuration.

    Raises:
        UsageError, ConfigError: this machine cannot read it, or it is wrong.
    """
    found = wanted.found or find_artifact(env, version=wanted.version, artifact=wanted.artifact)
    migrations = from_artifact(env, found)
    if migrations is None:
        raise UsageError(
            "a rehearsal needs an artifact that this machine can read; nothing was touched",
            hint="docs/migrations.md says what a rehearsal needs",
        )
    release = new_release(found)
    # If no release is started, the configuration's secrets are not needed.
    starts = any(target.settings.backup.drill.command for target in env.targets)
    return _New(NewRelease(release, render_all(env, release) if starts else {}), migrations)


def _of_running_release(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts]
) -> tuple[str, Mapping[str, tuple[Migration, ...]]]:
    """Return the version of the release that runs, and its migrations.

    Raises:
        UsageError: nothing runs, or not the same everywhere.
    """
    _, release = running_release(env, facts)
    having = [name for name, fact in facts.items() if fact.current == release]
    return version_in(release), from_release(fleet, env, release, having)


def _require_rehearsable(env: Environment, wanted: RehearsalRequest, progress: Progress) -> None:
    """Refuse what cannot be rehearsed here.

    Raises:
        UsageError: with the reason.
    """
    if wanted.contract and (wanted.version or wanted.artifact):
        raise UsageError(
            "--contract rehearses the contracts of the release that runs, so it goes with no --version and no "
            "--artifact; nothing was touched"
        )
    _tools_are_not_rehearsed(env, progress)
    if not databases_with_migrations(env):
        raise UsageError(
            f"no database of {env.title} has migrations; nothing was touched",
            hint="docs/migrations.md says what a rehearsal needs",
        )
    if not env.settings.backup.enabled:
        raise UsageError(
            f"backups are off in {env.name}, so there is nothing to rehearse on; nothing was touched",
            hint="set slipway_backup.enabled",
        )


def _tools_are_not_rehearsed(env: Environment, progress: Progress) -> None:
    """Say which databases a rehearsal leaves out.

    Raises:
        UsageError: it leaves out all of them.
    """
    names = ", ".join(one.name for one in databases_with_tools(env))
    if not names:
        return
    why = f"the application's own tool migrates {names}, and a rehearsal can only run SQL files"
    if databases_with_migrations(env):
        progress.warn(f"{why}: what the tool does is not rehearsed")
        return
    raise UsageError(
        f"{why}; nothing was touched",
        hint="rehearse it by hand on a restored copy: docs/migrations.md, The application's own tool",
    )


def _keep(
    fleet: Fleet,
    env: Environment,
    pending: Sequence[DatabaseMigrations],
    name: str,
    certificate: Certificate,
    phase: MigrationPhase,
) -> None:
    one = next(one for one in pending if one.database.name == name)
    document = json.dumps(env.secrets.mask_document(certificate.to_json()), ensure_ascii=False)

    def act(remote: Remote) -> None:
        keep_rehearsal(remote, env.target(remote.name).settings, one.database, document, phase)

    fleet.each("keep", act, hosts=[one.host]).all_or_raise("keeping the rehearsal")


def _record(fleet: Fleet, env: Environment, owner: LockOwner, facts: Mapping[str, Facts], result: Rehearsal) -> None:
    """Write the rehearsal into the ledgers."""
    outcome = Outcome(
        task=owner.task,
        id=owner.id,
        environment=env.name,
        version=result.version,
        status=TaskStatus.FAILED if result.problems else TaskStatus.DONE,
        message=cut(
            "; ".join(result.problems) or f"the {'contracts' if result.contract else 'migrations'} were rehearsed"
        ),
        hosts=(),
        started=owner.since,
        seconds=result.seconds,
        by=owner.who,
        verdicts=tuple(replace(one, tables={}).to_json() for one in result.databases),
        exit_status=result.exit_status,
    )
    there = {target.name: facts[target.name] for target in env.targets}
    for host, why in record_alone(fleet, env, owner, outcome, there).items():
        fleet.progress.warn(f"{host}: the rehearsal is kept, but the ledger has no record of it: {why}")
