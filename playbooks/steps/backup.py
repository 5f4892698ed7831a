"""Back up one host (A2): its release, its data and its databases, as one restic snapshot with a record beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.core import names
from playbooks.core.errors import ExitStatus, SlipwayError, StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.settings.database_backup import CommandSettings, PgBackRestSettings
from playbooks.steps.records import read_record

FIELD = "\037"
_ENDS_A_FIELD = re.compile(r"[\0\n\037]")

HINTS = {
    StepCode.WRONG_PASSWORD: "slipway_backup.password names the secret; is it the one the repository was made with?",
    StepCode.NO_REPOSITORY: "is its disk mounted? To begin a new one, move the records in {state}/backups away first",
    StepCode.NO_ANSWER: "is the store up, and can this host reach it? See slipway_backup.repository and .environment",
    StepCode.NO_SPACE: "make room there, or shorten slipway_backup.keep",
    StepCode.NO_INODES: "remove files there; what takes most: du --inodes -x / | sort -n | tail",
    StepCode.FOREIGN_LINK: "docs/backups.md says which links are followed",
    StepCode.OLD_HOST: "back up from hosts of Debian 12, Ubuntu 22.04, RHEL 9 or later",
    StepCode.NOT_ROOTS: "docs/security.md says why",
    StepCode.SQLITE: "correct slipway_backup.sqlite, or let the application's user read that file",
    StepCode.SQLITE_TYPE: "let slipway_backup.sqlite name the database's own file",
    StepCode.SQLITE_CLOSED: "let that user into the folder (ls -ld shows who may), or correct slipway_backup.sqlite",
    StepCode.SQLITE_WAL: "let that user write to the folder; or take the database out of WAL mode: PRAGMA "
    "journal_mode=DELETE",
    StepCode.BAD_EXCLUDE: "correct slipway_backup.exclude; a pattern without a slash before it counts in every folder "
    "of data",
    StepCode.NO_PATH: "correct slipway_backup.paths or .sqlite",
    StepCode.DATABASE: "is the database up, and are slipway_databases right? See invoke health --env=…",
    StepCode.PG_VERSION: "install the postgresql-client of the server's version on this host",
    StepCode.ARCHIVING: "see the server's log, and docs/backups.md",
    StepCode.STANZA: "docs/backups.md says what pgBackRest's configuration needs; invoke provision --env=… checks it",
    StepCode.PGBACKREST: "see /var/log/pgbackrest on that host",
    StepCode.CLUSTER: "--overrule=REASON restores all the same; else restore it by hand: docs/backups.md",
    StepCode.CLUSTER_DOWN: "see the server's log and /var/log/pgbackrest on that host, and docs/backups.md",
    StepCode.RESTORING: "wait for it to end; docs/backups.md says what it does",
    StepCode.SNAPSHOT: "see slipway_databases[].backup, whose commands these are",
    StepCode.LOCKED: "wait for it to end, then try again",
    StepCode.DAMAGED: "docs/backups.md says what can be saved; keep what runs as it is until there is a good backup",
    StepCode.MISSING_TOOL: "invoke provision --env=… installs it",
}


# With these a database's server may not serve.
PERSON_NEEDED = (StepCode.CLUSTER_DOWN, StepCode.RESTORING)


@dataclass(frozen=True)
class BackupJob:
    """Describe what to back up on a host.

    Args:
        id: the backup's id, the same on every host of a run.
        kind: application or database.
        release: the running release, if any.
        version: the release's version, or the fleet's.
        databases: the databases that this host backs up.
        quickly: a deploy waits for it.
    """

    id: str
    kind: str
    release: str | None
    version: str
    databases: tuple[Database, ...] = ()
    quickly: bool = False


def back_up(
    remote: Remote, settings: Settings, job: BackupJob, secrets: Mapping[str, str], *, note: Note | None = None
) -> dict[str, Any] | None:
    """Back up a host with one restic command, because each one spends half a second on key derivation.

    Args:
        remote: the host.
        settings: its settings.
        job: what to back up.
        secrets: the values by name.
        note: called with each progress message.

    Returns:
        The backup's record, as the host keeps it; None if there was nothing to back up.

    Raises:
        StepFailed: the backup failed; the sentence says why.
        BadAnswer: the record belongs to another backup.
    """
    try:
        (answer,) = remote.chain([ask(remote.name, settings, job, secrets, note=note)])
    except StepFailed as error:
        raise with_hint(error, settings) from None
    record = answer.maybe("record", 1)
    if record is None:
        return None
    document = read_record(record[0], remote.name)
    if document is None or document["id"] != job.id:
        raise answer.bad(f"the record is none of backup {job.id}")
    return document


def ask(
    host: str,
    settings: Settings,
    job: BackupJob,
    secrets: Mapping[str, str],
    *,
    after: bool = False,
    note: Note | None = None,
) -> StepCall:
    """Build the step that backs up a host.

    Args:
        host: its name.
        settings: its settings.
        job: what to back up.
        secrets: the values by name.
        after: once begun, the step continues without a connection, at a low priority.
        note: called with each progress message.
    """
    lines = [*secret_lines(settings, secrets)]
    if job.kind == "application":
        lines += [as_line("path", path) for path in settings.backup.paths]
        lines += [as_line("sqlite", path) for path in settings.backup.sqlite]
        lines += [as_line("exclude", path) for path in settings.backup.exclude]
    lines += [line for database in job.databases for line in database_lines(settings, database, secrets)]
    values = {
        "app": settings.app,
        "home": settings.home,
        "state": settings.state,
        "user": settings.run_user,
        "host": host,
        "kind": job.kind,
        "id": job.id,
        "release": job.release or "-",
        "version": job.version,
        "repository": repository(settings, host),
        "covers": covers(settings),
        "when": "after" if after else "before",
        "haste": "quickly" if job.quickly else "now",
        # Once for restic and once for each SQLite database: the step must end before the controller stops waiting.
        "limit": str(max(1, round(settings.timeouts.command / 2))),
    }
    return StepCall(
        "backup",
        values=values,
        payload=as_payload(lines),
        acts=True,
        leaves=after,
        timeout=settings.timeouts.command,
        note=note,
    )


def covers(settings: Settings) -> str:
    """Return a key that changes when the settings include other data of the host."""
    backup = settings.backup
    # Before November 2026 exclude patterns applied to the release too, so an older backup proves nothing.
    exclude = [f"data: {pattern}" for pattern in backup.exclude]
    return hashlib.sha256(repr((backup.paths, backup.sqlite, exclude)).encode()).hexdigest()[:16]


def is_provable(settings: Settings) -> bool:
    """Return whether an older backup can be proven to be current. Files can be compared; databases cannot."""
    return settings.backup.enabled and not settings.backup.sqlite and not settings.databases


def prove(remote: Remote, settings: Settings, release: str) -> str | None:
    """Find the backup that still holds everything on a host.

    Args:
        remote: the host.
        settings: its settings.
        release: the release that runs there.

    Returns:
        The backup's id; None if something has changed since, or there is no backup.
    """
    backup = settings.backup
    values = {
        "home": settings.home,
        "state": settings.state,
        "release": release,
        "repository": repository(settings, remote.name),
        "covers": covers(settings),
        "user": settings.run_user,
    }
    answer = remote.run("prove", backup.paths, values=values, timeout=settings.timeouts.command)
    found = answer.maybe("stands", 1)
    return answer.fitting(names.BACKUP, found[0], "backup's id") if found else None


def repository(settings: Settings, host: str) -> str:
    """Return the repository that a host's backups go to."""
    return settings.backup.repository.replace("{app}", settings.app).replace("{host}", host)


def backup_values(settings: Settings, record: Mapping[str, Any]) -> dict[str, str]:
    """Build the values by which a step finds a host's backup.

    Args:
        settings: the host's settings.
        record: the backup's record.
    """
    return {
        "state": settings.state,
        "user": settings.run_user,
        "id": str(record["id"]),
        "snapshot": str(record["snapshot"]),
        "repository": str(record["repository"]),
    }


def secret_lines(settings: Settings, secrets: Mapping[str, str]) -> list[str]:
    """Build the payload lines with restic's password and the repository's credentials."""
    named = {"RESTIC_PASSWORD": settings.backup.password, **settings.backup.environment}
    return [as_line("secret", variable, secrets[name]) for variable, name in named.items()]


def method_lines(settings: Settings, database: Database, secrets: Mapping[str, str]) -> list[str]:
    """Build the payload lines that say how a database is backed up; see backup_methods.sh."""
    by = database.backup
    lines = [as_line("method", database.name, by.method)]
    if isinstance(by, PgBackRestSettings):
        options = {"stanza": by.stanza, "archive_timeout": str(max(1, round(by.archive_timeout)))}
        lines += [as_line("option", database.name, key, value) for key, value in options.items()]
    if isinstance(by, CommandSettings):
        user = "root" if by.user == "root" else settings.run_user
        options = {"user": user, "timeout": str(max(1, round(by.timeout))), **by.commands}
        variables = {**by.environment, **{variable: secrets[name] for variable, name in by.secrets.items()}}
        lines += [as_line("option", database.name, key, value) for key, value in options.items()]
        lines += [as_line("variable", database.name, key, value) for key, value in variables.items()]
    return lines


def database_lines(settings: Settings, database: Database, secrets: Mapping[str, str]) -> list[str]:
    """Build the payload lines with a database's connection, the questions to ask after a restore, and its method."""
    password = secrets[database.password] if database.password else ""
    server = (database.host or "", str(database.port), database.user, password)
    return [
        *method_lines(settings, database, secrets),
        # Before the line that begins the backup.
        *([owner_line(database, secrets, database.reader)] if database.reader else []),
        as_line("database", database.name, *server, str(database.min_tables), database.served_by or ""),
        *(as_line("check", database.name, check) for check in database.checks),
    ]


def owner_line(database: Database, secrets: Mapping[str, str], reader: tuple[str, str]) -> str:
    """Build the payload line with the connection of the user that counts a database's rows, and its secret's name."""
    # The local socket knows users of the system, and this one is the database's.
    server = (database.host or "127.0.0.1", str(database.port))
    return as_line("owner", database.name, *server, reader[0], secrets[reader[1]], database.served_by or "")


def as_line(*fields: str) -> str:
    """Join the fields of one line of a payload.

    Raises:
        SlipwayError: a field has a character that would end it, so that what follows would be another field, or
            another line. The message has none of the field's text, which may be a secret.
    """
    for field in fields:
        if found := _ENDS_A_FIELD.search(field):
            raise SlipwayError(
                f"a value for the line '{fields[0]}' has the character U+{ord(found[0]):04X}, which ends a value on "
                "its way to a host; nothing was sent"
            )
    return FIELD.join(fields)


def as_payload(lines: Sequence[str]) -> bytes:
    """Join lines for a step's standard input. A mark ends each line, because a shell drops an empty last field.

    The last line marks the end, so that a broken connection cannot make an incomplete backup.
    """
    return "".join(f"{line}{FIELD}.\n" for line in [*lines, "end"]).encode()


def with_hint(error: StepFailed, settings: Settings) -> StepFailed:
    """Return the error with the hint that belongs to the step's code."""
    hint = HINTS.get(error.code)
    if error.code in PERSON_NEEDED:
        error.exit_status = ExitStatus.PERSON_NEEDED
    error.hint = error.hint or (hint.replace("{state}", settings.state) if hint else None)
    return error
