"""Bring the databases to the schema that the running release knows, or back to an earlier one (C1)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from playbooks.core.answer import Answer
from playbooks.core.clock import instant, now
from playbooks.core.counting import counted
from playbooks.core.errors import ExitStatus, StepFailed, UsageError
from playbooks.core.names import stamp
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.rollout.databases.allowing import require_allowed, require_ready
from playbooks.rollout.databases.contracts import refuse_early_contracts
from playbooks.rollout.databases.jobs import (
    Done,
    PlannedMigration,
    Wanted,
    contract_jobs,
    expand_jobs,
    jobs_to,
    planned_migration,
    refuse_lossy,
    run_jobs,
)
from playbooks.rollout.databases.reading import (
    compared,
    databases_with_migrations,
    from_release,
    migrating_hosts,
    secrets_of_migrations,
)
from playbooks.rollout.databases.tools import (
    PlannedTool,
    ToolDone,
    databases_with_tools,
    planned_tools,
    require_one_database,
    run_tools,
)
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.recording import record_alone
from playbooks.steps.facts import Facts, version_in


@dataclass(frozen=True)
class MigrateRequest:
    """A person's request.

    Args:
        to: bring the databases to this migration's id; "none" takes all back. Default: all that are pending. The
            application's own tool only goes back to it.
        contract: also apply contracts.
        force: leave kept releases behind that need the old schema; take back also what loses data.
        overrule: why contracts are applied against a rehearsal, or outside of their window; empty: they are not.
        check: only say what would be done.
        wait: seconds to wait for another task's lock.
    """

    to: str | None = None
    contract: bool = False
    force: bool = False
    overrule: str = ""
    check: bool = False
    wait: float = 0.0


@dataclass(frozen=True)
class MigrateResult(Answer):
    """What was done.

    Args:
        id: the task's id in the ledger; empty for a check, and if there was nothing to do.
        release: the release whose migrations they are.
        done: the migrations, in the order in which they were applied or taken back.
        planned: what a check found to do.
        tools: the runs of the application's own migration tools.
        planned_tools: those that a check found to do.
        owed: contracts that wait until nothing needs the old schema.
        message: the same as a sentence.
        warnings: what a person should know.
    """

    schema: ClassVar[str] = "slipway.migrate/1"
    id: str
    release: str
    done: tuple[Done, ...]
    planned: tuple[PlannedMigration, ...]
    tools: tuple[ToolDone, ...]
    planned_tools: tuple[PlannedTool, ...]
    owed: tuple[str, ...]
    message: str
    warnings: tuple[str, ...] = ()


def migrate(env: Environment, wanted: MigrateRequest, progress: Progress) -> MigrateResult:
    """Apply the running release's migrations that its databases lack, or go to another migration.

    Args:
        env: the environment.
        wanted: the request.
        progress: receives what to show a person.

    Raises:
        UsageError: there are no migrations, or no such one.
        MigrationsRefused: no rehearsal speaks for the contracts, or it is not the time for them.
        StepFailed: one failed; it says what stays.
    """
    require_migrations(env)
    if wanted.overrule and not wanted.contract:
        raise UsageError("--overrule is for contracts: it goes with --contract; nothing was touched")
    if wanted.to is not None:
        require_one_database(env, wanted.to)
        planned_tools(env, env.targets[0].name, wanted.to)
    env.secrets.require(secrets_of_migrations(env))
    env.signing.prepare(progress.warn)
    started, began = now(), time.monotonic()
    owner = LockOwner(who(), "migrate", instant(started), stamp(started), "migrate")
    names = list(dict.fromkeys([*(target.name for target in env.targets), *migrating_hosts(env)]))
    addresses = [env.target(name).address for name in names]
    with open_fleet(
        addresses, progress=progress, forks=env.settings.forks, total=env.settings.timeouts.total, acts=True
    ) as fleet:
        fleet.require_all()
        facts = read_all(fleet, env, env.targets)
        if wanted.check:
            host, release, jobs, owed, overruled = _find(fleet, env, wanted, facts)
            plans = tuple(planned_tools(env, host, wanted.to))
            return replace(_result(env, "", release, [], [], jobs, owed, plans), warnings=tuple(overruled))
        with fleet.lock(lock_requests(env, names, owner, wait=wanted.wait)) as held:
            host, release, jobs, owed, overruled = _find(fleet, env, wanted, facts)
            if not jobs and not databases_with_tools(env):
                held.succeeded = True
                return _result(env, "", release, [], [], [], owed)
            done: list[Done] = []
            tools: list[ToolDone] = []
            try:
                run_jobs(fleet, env, jobs, done, by=owner.who, deploy=owner.id)
                warnings = overruled + run_tools(fleet, env, release, host, tools, to=wanted.to)
            except StepFailed as error:
                seconds = time.monotonic() - began
                failed = replace(_result(env, owner.id, release, done, tools, [], owed), warnings=tuple(overruled))
                _record(fleet, env, owner, facts, replace(failed, message=error.message), error.code, seconds)
                raise
            result = replace(_result(env, owner.id, release, done, tools, [], owed), warnings=tuple(warnings))
            _record(fleet, env, owner, facts, result, "", time.monotonic() - began)
            held.succeeded = True
            return result


def require_migrations(env: Environment) -> None:
    """Refuse an environment without migrations.

    Raises:
        UsageError: no database has some.
    """
    if not databases_with_migrations(env) and not databases_with_tools(env):
        raise UsageError(
            f"no database of {env.title} has migrations; nothing was touched",
            hint="set slipway_databases[].migrations: docs/migrations.md",
        )


def running_release(env: Environment, facts: Mapping[str, Facts]) -> tuple[str, str]:
    """Return a host and the release that it runs. All hosts must run the same one, since its migrations count.

    Raises:
        UsageError: nothing runs, or not the same everywhere.
    """
    running = {host: fact.current for host, fact in facts.items() if fact.current}
    found = sorted(set(running.values()))
    if not found:
        raise UsageError(
            f"nothing runs on {env.title} yet, so there are no migrations of a running release; nothing was touched",
            hint=f"a deploy applies those of its release: invoke deploy {env.flag}",
        )
    if len(found) > 1:
        raise UsageError(
            f"the hosts run {' and '.join(found)}, which may have different migrations; nothing was touched",
            hint=f"see invoke status {env.flag}; bring them to one release, then migrate",
        )
    return next(iter(running)), found[0]


def _find(
    fleet: Fleet, env: Environment, wanted: MigrateRequest, facts: Mapping[str, Facts]
) -> tuple[str, str, list[Wanted], list[str], list[str]]:
    """Return a host and the release that it runs, what is to be done, which contracts wait, and what was overruled."""
    host, release = running_release(env, facts)
    if not databases_with_migrations(env):
        return host, release, [], [], []
    having = [name for name, fact in facts.items() if fact.current == release]
    found = compared(fleet, env, from_release(fleet, env, release, having))
    require_ready(env, found)
    owed = [f"{job.database.database.name}: {job.migration.label}" for job in contract_jobs(found)]
    if wanted.to is not None:
        jobs = jobs_to(found, wanted.to)
        if not wanted.force:
            refuse_lossy(jobs)
        return host, release, jobs, owed, []
    jobs = expand_jobs(found)
    if wanted.contract:
        for warning in refuse_early_contracts(fleet, env, facts, found, force=wanted.force):
            fleet.progress.warn(warning)
        overruled = require_allowed(fleet, env, found, facts, version_in(release), wanted.overrule, "contract")
        return host, release, [*jobs, *contract_jobs(found)], [], overruled
    return host, release, jobs, owed, []


def _result(
    env: Environment,
    id_: str,
    release: str,
    done: list[Done],
    tools: list[ToolDone],
    planned: list[Wanted],
    owed: list[str],
    plans: Sequence[PlannedTool] = (),
) -> MigrateResult:
    if plans:
        message = f"{counted(len(planned), 'migration')} and {counted(len(plans), 'tool')} to run; nothing was touched"
    elif tools:
        message = "; ".join([*(f"{one.label} done" for one in done), *(one.sentence for one in tools)])
    elif planned:
        message = f"{counted(len(planned), 'migration')} to run; nothing was touched"
    elif done:
        message = f"{counted(len(done), 'migration')} done in {sum(one.seconds for one in done):.1f} s"
    else:
        message = "every database has what the running release needs"
    planned_files = tuple(planned_migration(job) for job in planned)
    return MigrateResult(
        env.name, id_, release, tuple(done), planned_files, tuple(tools), tuple(plans), tuple(owed), message
    )


def _record(
    fleet: Fleet,
    env: Environment,
    owner: LockOwner,
    facts: Mapping[str, Facts],
    result: MigrateResult,
    code: str,
    seconds: float,
) -> None:
    outcome = Outcome(
        task=owner.task,
        id=owner.id,
        environment=env.name,
        version=", ".join(sorted({fact.version for fact in facts.values() if fact.version})),
        status=TaskStatus.FAILED if code else TaskStatus.DONE,
        code=code,
        message=result.message,
        hosts=(),
        started=owner.since,
        seconds=seconds,
        by=owner.who,
        migrations=result.done,
        tools=result.tools,
        warnings=result.warnings,
        exit_status=ExitStatus.PERSON_NEEDED if code else ExitStatus.DONE,
    )
    for host, why in record_alone(fleet, env, owner, outcome, facts).items():
        fleet.progress.warn(f"{host}: what was done stays, but its ledger has no record of it: {why}")
