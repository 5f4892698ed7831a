"""Make a host ready for its role (E4); each step says what it changed, and changes nothing the second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.fleet.line import Note
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.settings.health import PostgresCheck
from playbooks.steps.backup import repository

FIELD = "\037"
APT_SECONDS = 900.0


def provision_application(remote: Remote, settings: Settings, *, note: Note | None = None) -> list[str]:
    """Packages, user and folders of an application host.

    Returns:
        What was changed, as sentences.
    """
    packages = ["curl", "zstd", "xz-utils"]
    if settings.backup.enabled:
        packages += ["restic", "jq"]
    if settings.backup.sqlite:
        packages.append("sqlite3")
    if any(isinstance(check, PostgresCheck) for check in settings.health.checks):
        packages.append("postgresql-client")
    if any(getattr(check, "json_path", None) for check in settings.health.checks):
        packages.append("jq")
    arguments = [settings.home, settings.state, settings.run_user, repository(settings, remote.name)]
    answer = remote.run("provision_application", [*arguments, *dict.fromkeys(packages)], timeout=APT_SECONDS, note=note)
    return [text for (text,) in answer.all("changed", 1)]


def provision_databases(
    remote: Remote,
    settings: Settings,
    databases: Sequence[Database],
    secrets: Mapping[str, str],
    *,
    note: Note | None = None,
) -> list[str]:
    """Users and databases on their own host, as far as the settings name an owner.

    Returns:
        What was changed, as sentences.
    """
    lines = [
        FIELD.join(
            (
                database.name,
                database.owner,
                str(database.port),
                secrets[database.owner_password] if database.owner_password else "",
                ".",
            )
        )
        for database in databases
        if database.owner and not database.host
    ]
    answer = remote.run(
        "provision_database",
        [settings.state, repository(settings, remote.name), "restic", "jq"],
        payload="".join(f"{line}\n" for line in lines).encode(),
        timeout=APT_SECONDS,
        note=note,
    )
    return [text for (text,) in answer.all("changed", 1)]


def provision_haproxy(remote: Remote, config: bytes, *, note: Note | None = None) -> list[str]:
    """HAProxy with this configuration, once it has accepted it.

    Returns:
        What was changed, as sentences.
    """
    answer = remote.run("provision_haproxy", ["haproxy"], payload=config, timeout=APT_SECONDS, note=note)
    return [text for (text,) in answer.all("changed", 1)]
