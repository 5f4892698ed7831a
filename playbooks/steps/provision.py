"""Prepare a host for its role (E4). Each step reports its changes, and a second run changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.settings.database_backup import PgBackRestSettings
from playbooks.settings.health import PostgresCheck
from playbooks.settings.traffic import Balancer
from playbooks.steps.backup import as_line, repository
from playbooks.steps.certificate import certificate_values
from playbooks.steps.traffic import ServerWeight, balancer_values, share_lines

APT_SECONDS = 900.0


def provision_application(remote: Remote, settings: Settings, *, note: Note | None = None) -> list[str]:
    """Install the packages and make the users and folders of an application host.

    Returns:
        The changes, as sentences.

    Raises:
        StepFailed: a user other than root can change a folder that will hold root's units or scripts.
    """
    packages = ["curl", "zstd", "xz-utils"]
    if settings.backup.enabled:
        packages += ["restic", "jq"]
    if settings.backup.sqlite:
        packages.append("sqlite3")
    if settings.kept:
        packages.append("attr")
    if any(isinstance(check, PostgresCheck) for check in settings.health.checks):
        packages.append("postgresql-client")
    if any(getattr(check, "json_path", None) for check in settings.health.checks):
        packages.append("jq")
    build_user = settings.build_user if settings.hooks.install else "-"
    values = {
        "home": settings.home,
        "state": settings.state,
        "user": settings.run_user,
        "build_user": build_user,
        "repository": repository(settings, remote.name),
    }
    answer = remote.run(
        "provision_application", [*dict.fromkeys(packages)], values=values, timeout=APT_SECONDS, note=note
    )
    return [text for (text,) in answer.all("changed", 1)]


def owner_lines(databases: Sequence[Database], secrets: Mapping[str, str]) -> bytes:
    """Build the lines for provision_database.sh: a host's database users, their databases and passwords.

    Raises:
        ConfigError: a password cannot be read.
    """
    lines = [
        as_line(
            database.name,
            database.owner,
            str(database.port),
            secrets[database.owner_password] if database.owner_password else "",
            ".",
        )
        for database in databases
        if database.owner and not database.host
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def provision_databases(
    remote: Remote, settings: Settings, databases: Sequence[Database], owners: bytes, *, note: Note | None = None
) -> list[str]:
    """Make the database users and databases on their host, where the settings name an owner, and check pgBackRest.

    Args:
        remote: the host.
        settings: its settings.
        databases: those that it backs up.
        owners: the result of `owner_lines`.
        note: called with each progress message.

    Returns:
        The changes, as sentences.

    Raises:
        StepFailed: a database cannot be made, or pgBackRest is not set up for its stanza.
    """
    ways = [database.backup for database in databases]
    stanzas = list(dict.fromkeys(way.stanza for way in ways if isinstance(way, PgBackRestSettings)))
    answer = remote.run(
        "provision_database",
        ["restic", "jq", *(["pgbackrest"] if stanzas else [])],
        values={
            "stanzas": " ".join(stanzas),
            "state": settings.state,
            "repository": repository(settings, remote.name),
            "user": settings.run_user,
        },
        payload=owners,
        timeout=APT_SECONDS,
        note=note,
    )
    return [text for (text,) in answer.all("changed", 1)]


@dataclass(frozen=True)
class BalancerFiles:
    """The files of a balancer's host.

    Args:
        shared: the configuration that all its applications share; empty if the project's template is the whole of it.
        config: this application's configuration.
        page: the maintenance page.
        pem: a certificate with its key, if that is a secret.
        shares: the servers' normal weights. A known server keeps its present weight, unless its normal weight
            has changed.
    """

    shared: bytes
    config: bytes
    page: bytes
    pem: bytes
    shares: Sequence[ServerWeight]


def provision_balancer(
    remote: Remote, balancer: Balancer, settings: Settings, given: BalancerFiles, *, note: Note | None = None
) -> list[str]:
    """Install HAProxy or nginx with this configuration, after it has accepted the configuration.

    Returns:
        The changes, as sentences.

    Raises:
        StepFailed: it refuses the configuration or the certificate, or another application conflicts. The old
            configuration stays in use.
    """
    tls = balancer.tls
    packages = ["haproxy", "socat", "curl"] if balancer.kind == "haproxy" else ["nginx-light", "curl"]
    acme = tls.acme if tls else None
    wanted = ["iproute2", *(["openssl"] if tls else []), *(["certbot"] if acme else [])]
    parts = {
        "shared_bytes": given.shared,
        "config_bytes": given.config,
        "page_bytes": given.page,
        "pem_bytes": given.pem,
    }
    no_certificate = {"certificate": "", "certificate_key": "", "least_days": "0"}
    values = {
        **balancer_values(balancer, settings),
        "app": settings.app,
        "ports": " ".join(str(port) for port in (*balancer.listen, *(tls.ports if tls else []))),
        "names": " ".join(balancer.names),
        "packages": " ".join([*packages, *wanted]),
        **{name: str(len(part)) for name, part in parts.items()},
        "acme": acme.server if acme else "-",
        "email": (acme.email if acme else None) or "-",
        **(certificate_values(tls, settings.app) if tls else no_certificate),
    }
    answer = remote.run(
        "provision_balancer",
        balancer.tls_names if tls else [],
        values=values,
        payload=b"".join(parts.values()) + share_lines(given.shares),
        timeout=APT_SECONDS,
        note=note,
    )
    return [text for (text,) in answer.all("changed", 1)]
