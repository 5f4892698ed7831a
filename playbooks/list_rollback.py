"""List the targets of a rollback: releases on hosts, and backups. It takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from playbooks.backups.making import dumped
from playbooks.core import names
from playbooks.core.answer import Answer, HostFailure, failures
from playbooks.core.clock import instant
from playbooks.core.errors import UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import interrupted, read_all
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.rollback import backups_of
from playbooks.rollout.databases.contracts import left_behind
from playbooks.rollout.databases.reading import migrating_hosts
from playbooks.rollout.planning.rollback_target import choose_targets
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts, version_in
from playbooks.traffic.groups import read_groups


@dataclass(frozen=True)
class KeptRelease:
    """A release on hosts.

    Args:
        id, version: the values for --to.
        created: the time, UTC, ISO 8601.
        hosts: the hosts that have it.
        runs_on: the hosts that run it.
        failed_on: the hosts on which it was not healthy.
        damaged: the damage by host; empty if it is intact.
        backed_up: whether each host with a damaged copy has a backup of it.
        next: the hosts that a rollback without --to takes to it.
        left_behind: the contracts of databases that it does not know: it does not work any more.
    """

    id: str
    version: str
    created: str | None
    hosts: tuple[str, ...]
    runs_on: tuple[str, ...]
    failed_on: tuple[str, ...]
    damaged: Mapping[str, str]
    backed_up: bool
    next: tuple[str, ...]
    left_behind: tuple[str, ...]


@dataclass(frozen=True)
class KeptBackup:
    """A backup on hosts.

    Args:
        id, release: the values for --to; without a release in the backup, --to refuses it.
        version: the version that ran.
        created: the time, UTC, ISO 8601.
        hosts: the hosts that have it.
        databases: the databases whose dumps are in it.
        on_hosts: whether each of its hosts still has the release.
        lacking: the hosts that ran nothing when it was made.
        changed: changes by hand in its release, by host; then --to takes it for databases only.
    """

    id: str
    release: str | None
    version: str
    created: str | None
    hosts: tuple[str, ...]
    databases: tuple[str, ...]
    on_hosts: bool
    lacking: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class WaysBack(Answer):
    """The possible targets, the newest first.

    Args:
        flag: the flag that names the environment.
        unreachable: the errors of unreachable hosts.
        no_next: why a rollback without --to has no target.
        warnings: what is not known.
    """

    schema: ClassVar[str] = "slipway.list-rollback/1"
    releases: tuple[KeptRelease, ...]
    backups: tuple[KeptBackup, ...]
    unreachable: Mapping[str, HostFailure]
    no_next: str
    flag: str
    warnings: tuple[str, ...] = ()


def ways_back(env: Environment, progress: Progress) -> WaysBack:
    """List the targets of a rollback, and compare every file of every release with its manifest.

    Args:
        env: the environment.
        progress: receives what to show a person.

    Raises:
        SlipwayError: no host is reachable.
    """
    apps_and_databases = dict.fromkeys([*(target.name for target in env.targets), *migrating_hosts(env)])
    addresses = [env.target(name).address for name in apps_and_databases]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        apps = [target for target in env.targets if target.name in fleet.remotes]
        if not apps:
            fleet.require_all()
        facts = read_all(fleet, env, apps)
        try:
            targets = choose_targets(env, read_groups(fleet, env), facts, None, interrupted(facts))
            no_next = ""
        except UsageError as error:
            targets, no_next = {}, error.message

        def one(remote: Remote) -> dict[str, Checked]:
            settings = env.target(remote.name).settings
            kept = [name for name, release in facts[remote.name].releases.items() if release.state != "partial"]
            return {name: check_release(remote, settings, name) for name in kept}

        checked = fleet.each("check", one, hosts=list(facts)).all_or_raise("comparing releases")
        releases = sorted({name for found in checked.values() for name in found}, reverse=True)
        where = {name: [host for host, found in checked.items() if name in found] for name in releases}
        against, unknown = left_behind(fleet, env, where)
        gone = failures(fleet.unreachable)
    return WaysBack(
        environment=env.name,
        releases=tuple(_release(name, facts, checked, targets, against.get(name, ())) for name in releases),
        backups=tuple(_backups(facts)),
        unreachable=gone,
        no_next=no_next,
        flag=env.flag,
        warnings=(unknown,) if unknown else (),
    )


def _release(
    name: str,
    facts: Mapping[str, Facts],
    checked: Mapping[str, Mapping[str, Checked]],
    targets: Mapping[str, str | None],
    against: Sequence[str],
) -> KeptRelease:
    there = {host: found[name] for host, found in checked.items() if name in found}
    damaged = {host: found.reason for host, found in there.items() if not found.intact}
    return KeptRelease(
        id=name,
        version=version_in(name),
        created=_made(name),
        hosts=tuple(there),
        runs_on=tuple(host for host in there if facts[host].current == name),
        failed_on=tuple(host for host in there if facts[host].releases[name].state == "failed"),
        damaged=damaged,
        backed_up=bool(damaged) and all(backups_of(facts[host], name) for host in damaged),
        next=tuple(host for host, target in targets.items() if target == name != facts[host].current),
        left_behind=tuple(against),
    )


def _made(name: str) -> str | None:
    moment = names.moment_of(name)
    return instant(moment) if moment else None


def _backups(facts: Mapping[str, Facts]) -> Iterator[KeptBackup]:
    records: dict[str, dict[str, dict[str, Any]]] = {}
    for host, fact in facts.items():
        for record in fact.backups:
            records.setdefault(str(record.get("id")), {})[host] = record
    for id_, by_host in sorted(records.items(), reverse=True):
        first = next(iter(by_host.values()))
        # A host that a later deploy repaired has the version in a release with another id.
        releases = {host: str(record["release"]) for host, record in by_host.items() if record.get("release")}
        yield KeptBackup(
            id=id_,
            release=max(releases.values(), default=None),
            version=str(first.get("version")),
            created=str(first["created"]) if first.get("created") else _made(id_),
            hosts=tuple(by_host),
            databases=tuple(dict.fromkeys(name for record in by_host.values() for name in dumped(record))),
            on_hosts=all(release in facts[host].releases for host, release in releases.items()),
            lacking=tuple(host for host in by_host if host not in releases),
            changed={host: tuple(record["changed"]) for host, record in by_host.items() if record.get("changed")},
        )
