"""Restore from backups: files into a separate folder, databases into their place (C3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from playbooks.backups.making import (
    Record,
    back_up_jobs,
    backup_hosts,
    databases_of,
    dumped,
    hosts_with_data,
    kept_release,
    require_secrets,
)
from playbooks.core import names
from playbooks.core.answer import Answer
from playbooks.core.clock import now
from playbooks.core.errors import ExitStatus, SlipwayError, UsageError
from playbooks.core.names import stamp
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of, odd
from playbooks.fleet.fanout import by_host
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.settings.database_backup import PgBackRestSettings
from playbooks.settings.types import absolute_path
from playbooks.steps.facts import Facts
from playbooks.steps.restore import restore_files
from playbooks.steps.restore_database import restore_database


@dataclass(frozen=True)
class Restored(Answer):
    """The restored files.

    Args:
        folder: the folder on each host.
        files: the number of files by host.
        lacking: the hosts that have other backups but not this one; they restore nothing.
        releases: why a rollback cannot use the release in it, by host; other hosts are not listed.
        bare: the hosts without any backup.
    """

    schema: ClassVar[str] = "slipway.restore/1"
    backup: str
    folder: str
    files: dict[str, int]
    lacking: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    releases: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a host lacks the backup, because the restored data is then incomplete."""
        return ExitStatus.PERSON_NEEDED if self.lacking else ExitStatus.DONE


def newest_backup(facts: Mapping[str, Facts]) -> tuple[str, str]:
    """Return the newest backup that every host with backups has, and the newest of all; both empty if there is none.

    A backup that some hosts lack failed there, or is still being made.

    Args:
        facts: the facts by host.
    """
    moment = now()
    held = [{str(record["id"]) for record in fact.backups} for fact in facts.values() if fact.backups]
    sound = [{id_ for id_ in ids if not names.is_ahead(id_, moment)} for ids in held]
    newest = max((id_ for ids in sound for id_ in ids), default="")
    return max(set.intersection(*sound), default=newest) if sound else "", newest


def restore(env: Environment, progress: Progress, *, backup: str | None, to_dir: str) -> Restored:
    """Restore a backup into a new folder on each host that has it. It does not change what runs.

    Args:
        env: the environment.
        progress: receives what to show a person.
        backup: its id; default: the newest.
        to_dir: the folder on the hosts, which must be missing or empty.

    Raises:
        UsageError: no host has that backup, or the folder is not allowed.
    """
    if not to_dir:
        raise UsageError(
            "restore needs a folder to restore into; nothing was touched",
            hint="give --to-dir=/new/folder, on the hosts",
        )
    try:
        folder = absolute_path(to_dir)
    except ValueError as error:
        raise UsageError(f"--to-dir={to_dir!r}: {error}") from None
    require_secrets(env)
    addresses = [env.target(name).address for name in hosts_with_data(env)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        facts = fleet.each("facts", partial(facts_of, env)).all_or_raise("reading facts")
        for sentence in odd(facts):
            progress.warn(sentence)
        ids = {record["id"] for fact in facts.values() for record in fact.backups}
        whole, newest = newest_backup(facts)
        wanted = backup or whole
        if not backup and whole != newest:
            progress.warn(f"{newest} is newer, and not on every host; --backup={newest} restores it where it exists")
        if wanted not in ids:
            raise UsageError(f"no host has a backup '{wanted}'", hint=f"list them: invoke backups {env.flag}")
        records = {
            host: record for host, fact in facts.items() for record in fact.backups if record.get("id") == wanted
        }
        lacking = tuple(host for host, fact in facts.items() if host not in records and fact.backups)
        bare = tuple(host for host, fact in facts.items() if not fact.backups)

        def one(remote: Remote) -> int:
            return restore_files(
                remote, env.target(remote.name).settings, records[remote.name], env.secrets, f"{folder}/{remote.name}"
            )

        files = fleet.each("restore", one, hosts=list(records)).all_or_raise("restoring")
    odd_ones = {host: told for host in files if (told := kept_release(records[host]))}
    return Restored(env.name, wanted, folder, dict(files), lacking, bare, odd_ones)


def restore_databases(
    fleet: Fleet,
    env: Environment,
    running: Mapping[str, Facts],
    releases: Mapping[str, str],
    to: str | None,
    overrule: str,
) -> list[str]:
    """Restore every database from the backup that belongs to a release.

    Args:
        fleet: the open sessions, including the databases' hosts.
        env: the environment.
        running: the facts of the application's hosts.
        releases: the release that each application host goes back to.
        to: a backup's id, if the person named one.
        overrule: why to restore also where databases of others go back with them, or what is there cannot be kept.

    Returns:
        A sentence for each database.

    Raises:
        UsageError: the backup does not exist.
        SlipwayError: what is there could not be backed up first, or a restore failed.
    """
    facts = fleet.each("backups", partial(facts_of, env), hosts=backup_hosts(env)).all_or_raise("reading backups")
    chosen = choose_dumps(env, facts, releases, to)
    before = _back_up_present(fleet, env, running, overrule)
    moment = stamp(now()).lower()

    def one(remote: Remote) -> list[str]:
        settings = env.target(remote.name).settings
        told = []
        beside = databases_of(env, remote.name)
        clusters: dict[str, Any] = {}
        for database in beside:
            record, by = chosen[database.name], database.backup
            kept = ""
            # Databases of one cluster go back together.
            if not (isinstance(by, PgBackRestSettings) and clusters.setdefault(by.stanza, database) is not database):
                kept = restore_database(
                    remote,
                    settings,
                    database,
                    record,
                    env.secrets,
                    beside=beside,
                    stamp=moment,
                    before=before,
                    overruled=bool(overrule),
                )
            sentence = f"{database.name} is as in backup {record['id']}"
            if kept:
                sentence += f", what was there is kept as {kept}"
            elif by.method != "dump" and before:
                sentence += f", what was there is backup {before}"
            told.append(sentence)
        return told

    results = fleet.each("restore", one, hosts=backup_hosts(env), finish=True).all_or_raise("restoring databases")
    return [sentence for told in results.values() for sentence in told]


def _back_up_present(fleet: Fleet, env: Environment, running: Mapping[str, Facts], overrule: str) -> str | None:
    """Back up what is there now, if a restore overwrites it. A dump does not: what is there gets another name.

    Returns:
        The backup's id; None if none was needed, or none could be made and that was overruled.

    Raises:
        SlipwayError: none could be made.
    """
    needing = [
        host for host in backup_hosts(env) if any(one.backup.method != "dump" for one in databases_of(env, host))
    ]
    if not needing:
        return None
    fleet.progress.phase(Phase(PhaseCode.BACKING_UP, "backing up what is there"))
    jobs, id_ = back_up_jobs(fleet, env, running, quickly=True)
    made = by_host(jobs, fleet.run(jobs))
    for host, error in made.failed.items():
        if host in needing and not overrule:
            raise SlipwayError(
                f"what is there now could not be backed up, so nothing would lead back to it: {error.message}; "
                "nothing was restored",
                host=host,
                hint="--overrule=REASON restores all the same",
            )
        fleet.progress.warn(f"{host}: what is there now was not backed up: {error.message}")
    return id_ if not set(needing) & set(made.failed) else None


def choose_dumps(
    env: Environment, facts: Mapping[str, Facts], releases: Mapping[str, str], to: str | None
) -> dict[str, Record]:
    """Choose the backup for each database, by name.

    Args:
        env: the environment.
        facts: the facts of the hosts that dump databases.
        releases, to: see `restore_databases`.

    Raises:
        UsageError: the backup does not exist.
    """
    version = "" if _is_backup(facts, to) else version_of_most(releases, env.flag)
    chosen: dict[str, Record] = {}
    for database in env.settings.databases:
        host = next(host for host, names in env.database_hosts.items() if database.name in names)
        fits = [
            record
            for record in facts[host].backups
            if database.name in dumped(record)
            and (record.get("id") == to or (record.get("version") == version and not _is_backup(facts, to)))
        ]
        if not fits:
            raise UsageError(
                f"no backup of database {database.name} was made while {version or 'nothing'} ran",
                hint=f"list them: invoke backups {env.flag}; name one with --to",
            )
        chosen[database.name] = max(fits, key=lambda record: str(record.get("created")))
    return chosen


def version_of_most(releases: Mapping[str, str], flag: str) -> str:
    """Return the version that most hosts go back to. A single host's report must not choose the data of all hosts.

    Args:
        releases: the releases by host.
        flag: the flag that names the environment.

    Raises:
        UsageError: no version is the target of more than half of them.
    """
    versions = Counter(release.partition("-")[2] for release in releases.values())
    version, most = versions.most_common(1)[0] if versions else ("", 0)
    if versions and 2 * most <= versions.total():
        raise UsageError(
            f"the hosts go back to {' and '.join(sorted(versions))}, and a database has one state; none was restored",
            hint=f"name the backup: --to=ID, see invoke backups {flag}; or go back to one version: --to=VERSION",
        )
    return version


def _is_backup(facts: Mapping[str, Any], to: str | None) -> bool:
    return to is not None and any(record.get("id") == to for fact in facts.values() for record in fact.backups)
