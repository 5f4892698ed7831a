"""Contracts of the databases: which releases do not work any more once they are applied (C1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from playbooks.core.errors import SlipwayError, StepFailed, UsageError
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.migrations.sql_files import NAME
from playbooks.rollout.databases.reading import (
    WITNESSES,
    DatabaseMigrations,
    databases_with_migrations,
    migrating_hosts,
    read_states,
)
from playbooks.settings import Settings
from playbooks.steps.facts import Facts
from playbooks.steps.migrations import read_sql

# By database, the ids of the migrations that a release has.
Known = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class KeptRelease:
    """A release that hosts keep, and what it is kept for: running, idle or a way back."""

    id: str
    hosts: tuple[str, ...]
    use: str


def known_ids(fleet: Fleet, env: Environment, releases: Mapping[str, Sequence[str]]) -> dict[str, Known]:
    """Read which migrations releases have: those that several hosts say it has, so that no host alone adds one.

    Args:
        fleet: the open sessions.
        env: the environment.
        releases: the hosts that have it, at least one, by release.

    Raises:
        SlipwayError: a host does not answer.
    """
    by_host: dict[str, list[str]] = {}
    for release, hosts in releases.items():
        for host in hosts[:WITNESSES]:
            by_host.setdefault(host, []).append(release)

    def one(remote: Remote) -> dict[str, Known]:
        settings = env.target(remote.name).settings
        return {
            release: {
                database.name: _ids(remote, settings, release, database.migrations.folder)
                for database in databases_with_migrations(env)
                if database.migrations and database.migrations.folder is not None
            }
            for release in by_host[remote.name]
        }

    found = fleet.each("releases", one, hosts=list(by_host)).all_or_raise("reading migrations")
    return {release: agreed_ids([each[release] for each in found.values() if release in each]) for release in releases}


def agreed_ids(said: Sequence[Known]) -> Known:
    """Return the ids that a release has, as all of these hosts say; at least one."""
    return {name: frozenset.intersection(*(known[name] for known in said)) for name in said[0]}


def _ids(remote: Remote, settings: Settings, release: str, folder: str) -> frozenset[str]:
    try:
        names = read_sql(remote, settings, release, folder)
    except StepFailed as error:
        if error.code == StepCode.NO_MIGRATIONS:
            return frozenset()
        raise
    return frozenset(match["id"] for name in names if (match := NAME.fullmatch(name)))


def contracts_against(fleet: Fleet, env: Environment, releases: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the applied contracts that releases do not know, as sentences' parts; releases without any are left out.

    Args:
        fleet: the open sessions, those of the databases' hosts among them.
        env: the environment.
        releases: the hosts that have it, at least one, by release.

    Raises:
        SlipwayError: a host or a database does not answer.
    """
    states = read_states(fleet, env)
    applied = {
        name: [row for row in state.applied if row.phase == "contract" and row.is_there]
        for name, state in states.items()
    }
    if not any(applied.values()):
        return {}
    known = known_ids(fleet, env, releases)
    found = {
        release: [f"{row.label} in {name}" for name, rows in applied.items() for row in rows if row.id not in ids[name]]
        for release, ids in known.items()
    }
    return {release: rows for release, rows in found.items() if rows}


def refuse_past_contracts(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], targets: Mapping[str, str | None]
) -> list[str]:
    """Refuse to go back to a release that an applied contract has left behind.

    A database that cannot be asked keeps nobody from going back: then it is only a warning.

    Args:
        fleet: the open sessions.
        env: the environment.
        facts: of the hosts.
        targets: the release that each goes back to.

    Returns:
        Warnings.

    Raises:
        UsageError: a release does not know such a contract.
    """
    there: dict[str, list[str]] = {}
    for host, release in targets.items():
        if release and host in facts:
            there.setdefault(release, []).append(host)
    against, unknown = left_behind(fleet, env, there)
    for release, rows in against.items():
        raise UsageError(
            f"{release} does not know {', '.join(rows)}: a contract, after which it does not work. Nothing was touched",
            hint=f"go back to a release that knows it: invoke rollback {env.flag} --list; or restore the database as "
            f"well: invoke rollback {env.flag} --to={release} --with-database",
        )
    return [unknown] if unknown else []


def left_behind(
    fleet: Fleet, env: Environment, releases: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], str]:
    """Return `contracts_against` these releases; and why that is not known, if a database cannot be asked.

    Args:
        fleet: the open sessions.
        env: the environment.
        releases: the hosts that have it, at least one, by release.
    """
    if not databases_with_migrations(env):
        return {}, ""
    try:
        if gone := [host for host in migrating_hosts(env) if host not in fleet.remotes]:
            raise fleet.unreachable[gone[0]]
        return contracts_against(fleet, env, releases), ""
    except SlipwayError as error:
        return {}, f"whether the databases still fit what ran before is not known: {error.message}"


def kept_releases(facts: Mapping[str, Facts]) -> list[KeptRelease]:
    """Return every complete release on the hosts, with what it is for."""
    found: dict[str, KeptRelease] = {}
    for host, fact in facts.items():
        for release in fact.releases:
            if fact.releases[release].state in ("partial", "failed"):
                continue
            use = "runs" if release == fact.current else "is idle" if fact.idle and fact.idle.release == release else ""
            before = found.get(release, KeptRelease(release, (), "is kept to go back to"))
            found[release] = KeptRelease(release, (*before.hosts, host), use or before.use)
    return [found[release] for release in sorted(found)]


def refuse_early_contracts(
    fleet: Fleet,
    env: Environment,
    facts: Mapping[str, Facts],
    databases: Sequence[DatabaseMigrations],
    *,
    force: bool,
) -> list[str]:
    """Refuse contracts while a release on the hosts needs the old schema.

    Args:
        fleet: the open sessions.
        env: the environment.
        facts: of the application's hosts.
        databases: what is owed.
        force: whether those that are only kept may be left behind.

    Returns:
        Warnings about those.

    Raises:
        UsageError: a release would not work any more.
    """
    owed = {one.database.name: one.pending.contract for one in databases if one.pending.contract}
    if not owed:
        return []
    kept = kept_releases(facts)
    known = known_ids(fleet, env, {one.id: one.hosts for one in kept})
    behind = [
        one for one in kept if any(m.id not in known[one.id][name] for name, found in owed.items() for m in found)
    ]
    serving = [one for one in behind if one.use != "is kept to go back to"]
    names = ", ".join(f"{one.id} ({one.use})" for one in behind)
    if serving or (behind and not force):
        hint = "deploy until they are gone" if serving else "deploy until they are gone; --force leaves them behind"
        raise UsageError(
            f"these need the old schema still: {names}. Nothing was touched",
            hint=f"{hint}. See invoke rollback {env.flag} --list",
        )
    return [f"there is no way back any more to {names}"] if behind else []


def contracts_for_deploy(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], databases: Sequence[DatabaseMigrations]
) -> list[DatabaseMigrations]:
    """Return the databases whose contracts a deploy applies, each with those contracts alone as its pending ones.

    Every release on every host must know them, so a deploy that does not see all hosts applies none. Nor does one with
    expands for that database: nobody has rehearsed both together.

    Args:
        fleet: the open sessions.
        env: the environment.
        facts: of the application's hosts, from before the new release was staged.
        databases: what the new release's databases lack.

    Raises:
        SlipwayError: a host does not answer.
    """
    asked = [
        one
        for one in databases
        if one.database.migrations
        and one.database.migrations.contract_in_deploy
        and one.pending.contract
        and not one.pending.expand
    ]
    if not asked or env.limit or len(facts) < len(env.targets):
        return []
    known = known_ids(fleet, env, {one.id: one.hosts for one in kept_releases(facts)})
    ready = []
    for one in asked:
        unknown = (
            index
            for index, contract in enumerate(one.pending.contract)
            if any(contract.id not in ids[one.database.name] for ids in known.values())
        )
        contracts = one.pending.contract[: next(unknown, None)] if known else ()
        if contracts:
            ready.append(replace(one, pending=replace(one.pending, contract=contracts)))
    return ready
