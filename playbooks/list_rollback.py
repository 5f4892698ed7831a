"""List what a person can go back to: releases on the hosts, and backups. It takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from playbooks.backups.making import dumped
from playbooks.core import names
from playbooks.core.answer import Answer
from playbooks.core.clock import instant
from playbooks.core.errors import UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import interrupted, read_all
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.rollback import backups_of
from playbooks.rollout.planning.rollback_target import choose_targets
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import Facts, version_in
from playbooks.traffic.groups import read_groups


@dataclass(frozen=True)
class KeptRelease:
    """A release that is on hosts.

    Args:
        id, version: what --to takes.
        created: UTC, ISO 8601.
        hosts: those that have it.
        runs_on: those that run it.
        failed_on: those on which it was not healthy.
        damaged: what is wrong with it, by host; empty where it is what was staged.
        backed_up: whether a backup of each host on which it is damaged has it.
        next: hosts that go to it by a rollback without --to.
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


@dataclass(frozen=True)
class KeptBackup:
    """A backup that hosts keep.

    Args:
        id, release: what --to takes; a release is in it, or none is, and then --to does not take it.
        version: what ran.
        created: UTC, ISO 8601.
        hosts: those that have it.
        databases: whose dumps are in it.
        on_hosts: whether its release is on each of them, too.
        lacking: hosts that ran nothing when it was made.
        changed: what had been changed by hand of the release in it, by host: --to takes it for databases only.
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
    """All of it, the newest first.

    Args:
        flag: --env as it was given.
        unreachable: hosts that could not be asked, and why.
        no_next: why a rollback without --to has nothing to go to.
    """

    schema: ClassVar[str] = "slipway.list-rollback/1"
    releases: tuple[KeptRelease, ...]
    backups: tuple[KeptBackup, ...]
    unreachable: Mapping[str, str]
    no_next: str
    flag: str


def ways_back(env: Environment, progress: Progress) -> WaysBack:
    """List what a rollback can go to. Every file of every release is compared with its manifest.

    Args:
        env: whose.
        progress: who watches.

    Raises:
        SlipwayError: hosts could not be asked.
    """
    addresses = [target.address for target in env.targets]
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
            kept = [name for name, release in facts[remote.name].releases.items() if release.stand != "partial"]
            return {name: check_release(remote, settings, name) for name in kept}

        checked = fleet.each("check", one, hosts=list(facts)).all_or_raise("comparing releases")
        gone = {host: error.message for host, error in fleet.unreachable.items()}
    releases = sorted({name for found in checked.values() for name in found}, reverse=True)
    return WaysBack(
        environment=env.name,
        releases=tuple(_release(name, facts, checked, targets) for name in releases),
        backups=tuple(_backups(facts)),
        unreachable=gone,
        no_next=no_next,
        flag=env.flag,
    )


def _release(
    name: str,
    facts: Mapping[str, Facts],
    checked: Mapping[str, Mapping[str, Checked]],
    targets: Mapping[str, str | None],
) -> KeptRelease:
    there = {host: found[name] for host, found in checked.items() if name in found}
    damaged = {host: found.reason for host, found in there.items() if not found.intact}
    return KeptRelease(
        id=name,
        version=version_in(name),
        created=_made(name),
        hosts=tuple(there),
        runs_on=tuple(host for host in there if facts[host].current == name),
        failed_on=tuple(host for host in there if facts[host].releases[name].stand == "failed"),
        damaged=damaged,
        backed_up=bool(damaged) and all(backups_of(facts[host], name) for host in damaged),
        next=tuple(host for host, target in targets.items() if target == name != facts[host].current),
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
        # A host that a deploy has put right has the same version in a release of its own.
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
