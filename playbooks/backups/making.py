"""Build the jobs that back up a fleet, or prove that its last backup is current (A2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from playbooks.core import names
from playbooks.core.clock import now
from playbooks.core.counting import few
from playbooks.core.errors import SlipwayError
from playbooks.core.names import stamp
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fanout import Job, Results, combine
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote, StepCall
from playbooks.settings.backup import Database
from playbooks.settings.database_backup import CommandSettings
from playbooks.steps import backup as steps
from playbooks.steps.facts import Facts

Record = dict[str, Any]

# The backup step's codes for a repository whose older backups are unusable too.
UNUSABLE = (StepCode.NO_REPOSITORY, StepCode.WRONG_PASSWORD, StepCode.DAMAGED)


def backup_hosts(env: Environment) -> list[str]:
    """Return the hosts that back up the application's databases."""
    return list(env.database_hosts) if env.settings.backup.enabled else []


def databases_of(env: Environment, host: str) -> list[Database]:
    """Return the databases that a host backs up."""
    names = env.database_hosts.get(host, []) if env.settings.backup.enabled else []
    return [database for database in env.settings.databases if database.name in names]


def dumped(record: Record) -> list[str]:
    """Return the names of the databases in a backup."""
    return [str(database.get("name")) for database in record.get("databases", []) if isinstance(database, dict)]


def kept_release(record: Record) -> str:
    """Return why a rollback cannot use the release in a backup, in a word or two; empty if it can."""
    if changed := record.get("changed"):
        return f"changed by hand: {few(changed)}"
    return "none in it" if record.get("kind") == "application" and not record.get("release") else ""


def hosts_with_data(env: Environment) -> list[str]:
    """Return the application's hosts and its databases' hosts."""
    return list(dict.fromkeys([*(target.name for target in env.targets), *backup_hosts(env)]))


def require_secrets(env: Environment, others: Iterable[str] = ()) -> None:
    """Fetch the secrets that backups need, so that a missing one fails before any host is reached.

    Args:
        env: the environment.
        others: the names of other secrets that the task needs.

    Raises:
        ConfigError: a secret cannot be read.
    """
    env.secrets.require(dict.fromkeys([*_secrets_of_backups(env), *others]))


def _secrets_of_backups(env: Environment) -> Iterator[str]:
    """Return the names of the secrets that backups need; each host may have its own repository."""
    if not env.settings.backup.enabled:
        return
    hosts = [*(target.settings for target in env.targets), *(env.target(name).settings for name in backup_hosts(env))]
    for settings in {id(each): each for each in hosts}.values():
        yield from (settings.backup.password, *settings.backup.environment.values())
    for database in env.settings.databases:
        if database.password:
            yield database.password
        if isinstance(database.backup, CommandSettings):
            yield from database.backup.secrets.values()
        if database.reader:
            yield database.reader[1]


def back_up_jobs(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], *, quickly: bool = False
) -> tuple[list[Job[Record | None]], str | None]:
    """Build the jobs that back up a fleet. The caller runs them beside others.

    Args:
        fleet: the open sessions with `hosts_with_data`.
        env: the environment.
        facts: the facts of the application's hosts.
        quickly: a deploy or a rollback waits for it.

    Returns:
        The jobs and the backup's id; no jobs if backups are off.
    """
    if not env.settings.backup.enabled:
        return [], None
    running = Counter(fact.version for fact in facts.values() if fact.version)
    version, most = running.most_common(1)[0] if running else ("none", 1)
    # A single host's report must not decide the id of all hosts' backups.
    named = f"-{version}" if 2 * most > running.total() else ""
    # The last deploy's background backup may have got its id within this second.
    moment = now() + timedelta(seconds=1)
    known = names.after((record["id"] for fact in facts.values() for record in fact.backups), moment)
    id_ = f"{max(stamp(moment), known)}{named}"
    jobs: list[Job[Record | None]] = []
    for name, remote in _backed_up(fleet, env).items():
        is_application = any(target.name == name for target in env.targets)
        if is_application and name not in facts:
            continue
        job = steps.BackupJob(
            id=id_,
            kind="application" if is_application else "database",
            release=facts[name].intact_current if is_application else None,
            version=(facts[name].version if is_application else None) or version,
            databases=tuple(databases_of(env, name)),
            quickly=quickly,
        )
        note = partial(fleet.progress.note, name)
        act = partial(steps.back_up, remote, env.target(name).settings, job, env.secrets, note=note)
        jobs.append(Job(name, "backup", act))
    return jobs, id_


def back_up_afterwards(env: Environment, version: str, release: str) -> Callable[[str], StepCall] | None:
    """Build the steps that back up a healthy release in the background, so that the next deploy need not.

    Args:
        env: the environment.
        version, release: the version and release that run now.

    Returns:
        The step by host; None if the next deploy could not use its backup.
    """
    if not env.settings.backup.after_deploy or not all(steps.is_provable(target.settings) for target in env.targets):
        return None
    job = steps.BackupJob(f"{stamp(now())}-{version}", "application", release, version)
    return lambda host: steps.ask(host, env.target(host).settings, job, env.secrets, after=True)


def prove_jobs(fleet: Fleet, env: Environment, facts: Mapping[str, Facts]) -> list[Job[str | None]]:
    """Build the jobs that check whether the last backup is current; none if it cannot be.

    Args:
        fleet: the open sessions with `hosts_with_data`.
        env: the environment.
        facts: the facts of the application's hosts.
    """
    jobs: list[Job[str | None]] = []
    for name, remote in _backed_up(fleet, env).items():
        current = facts[name].intact_current if name in facts else None
        settings = env.target(name).settings
        if current is None or not steps.is_provable(settings):
            return []
        jobs.append(Job(name, "backup", partial(steps.prove, remote, settings, current)))
    return jobs


def _backed_up(fleet: Fleet, env: Environment) -> dict[str, Remote]:
    """Return the hosts with data to back up: all except the balancers' hosts."""
    return {name: fleet.remotes[name] for name in hosts_with_data(env) if name in fleet.remotes}


def one_backup(results: Results[str | None]) -> str | None:
    """Return the backup that is current on every host; None if there is none."""
    ids = set(results.ok.values())
    return ids.pop() if len(ids) == 1 and not results.failed else None


def judge_backups(
    fleet: Fleet,
    env: Environment,
    results: Results[Record | None],
) -> list[str]:
    """Decide whether a deploy may continue with the backups it got (A2).

    A host whose backup failed may use one that is younger than ``max_age``; a deploy is refused only if there is none
    and none can be made. If the repository itself is missing, damaged or cannot be opened, its records do not
    count.

    Args:
        fleet: the open sessions.
        env: the environment.
        results: the results of `back_up_jobs`.

    Returns:
        Warnings.

    Raises:
        SlipwayError: a host has neither backup.
    """
    limit = timedelta(seconds=env.settings.backup.max_age)
    usable = [host for host, error in results.failed.items() if error.code not in UNUSABLE]
    # Read the records again: the age counts from now, by the host's own clock.
    known = fleet.each("facts", partial(facts_of, env), hosts=usable).ok
    bad: dict[str, SlipwayError] = {}
    warnings = []
    for host, error in results.failed.items():
        found = _youngest(known[host]) if host in known else None
        if found is not None and found[0] <= limit:
            warnings.append(
                f"{host}: {error.message}; going on with the backup of {_minutes(found[0])} ago, {found[1]}"
            )
        else:
            bad[host] = error
    if bad:
        raise combine("backup", bad, total=len(results.ok) + len(results.failed))
    return warnings


def _youngest(facts: Facts) -> tuple[timedelta, str] | None:
    """Return the age and id of a host's newest backup, by the host's own clock, which dated it."""
    clock = datetime.fromtimestamp(facts.host_time, UTC)
    ages = []
    for record in facts.backups:
        try:
            ages.append((clock - datetime.fromisoformat(str(record.get("created"))), str(record.get("id"))))
        except (ValueError, TypeError):
            continue
    return min(ages, default=None)


def _minutes(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
