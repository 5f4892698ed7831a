"""Prepare a host for its role (E4); each step reports what it changed, and changes nothing the second time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.settings.health import PostgresCheck
from playbooks.settings.traffic import Balancer
from playbooks.steps.backup import repository
from playbooks.steps.certificate import certificate_arguments
from playbooks.steps.traffic import ServerWeight, place, share_lines

FIELD = "\037"
APT_SECONDS = 900.0


def provision_application(remote: Remote, settings: Settings, *, note: Note | None = None) -> list[str]:
    """Packages, users and folders of an application host.

    Returns:
        What was changed, as sentences.

    Raises:
        StepFailed: somebody else than root can change a folder that root's units or scripts are to lie in.
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
    arguments = [settings.home, settings.state, settings.run_user, repository(settings, remote.name), build_user]
    answer = remote.run("provision_application", [*arguments, *dict.fromkeys(packages)], timeout=APT_SECONDS, note=note)
    return [text for (text,) in answer.all("changed", 1)]


def owner_lines(databases: Sequence[Database], secrets: Mapping[str, str]) -> bytes:
    """The users and databases that one host is to have, with their passwords, as provision_database.sh reads them.

    Raises:
        ConfigError: a password cannot be had.
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
    return "".join(f"{line}\n" for line in lines).encode()


def provision_databases(remote: Remote, settings: Settings, owners: bytes, *, note: Note | None = None) -> list[str]:
    """Users and databases on their own host, as far as the settings name an owner.

    Args:
        owners: owner_lines.

    Returns:
        What was changed, as sentences.
    """
    answer = remote.run(
        "provision_database",
        [settings.state, repository(settings, remote.name), "restic", "jq"],
        payload=owners,
        timeout=APT_SECONDS,
        note=note,
    )
    return [text for (text,) in answer.all("changed", 1)]


@dataclass(frozen=True)
class BalancerFiles:
    """What a balancer's host is given.

    Args:
        shared: what all applications on it share; nothing where a template of one's own is all of the configuration.
        config: this application's configuration.
        page: the maintenance page.
        pem: a certificate with its key, where that is a secret.
        shares: what servers get at normal times; those that it knows already keep what they have, unless that was
            otherwise at normal times before.
    """

    shared: bytes
    config: bytes
    page: bytes
    pem: bytes
    shares: Sequence[ServerWeight]


def provision_balancer(
    remote: Remote, balancer: Balancer, settings: Settings, given: BalancerFiles, *, note: Note | None = None
) -> list[str]:
    """HAProxy or nginx with this configuration, once it has accepted it.

    Returns:
        What was changed, as sentences.

    Raises:
        StepFailed: it does not accept it, the certificate is not fit, or another application is in the way; what ran
            before runs on.
    """
    tls = balancer.tls
    packages = ["haproxy", "socat", "curl"] if balancer.kind == "haproxy" else ["nginx-light", "curl"]
    acme = tls.acme if tls else None
    wanted = ["iproute2", *(["openssl"] if tls else []), *(["certbot"] if acme else [])]
    arguments = [
        *place(balancer, settings),
        *(str(len(part)) for part in (given.shared, given.config, given.page, given.pem)),
        " ".join(str(port) for port in (*balancer.listen, *(tls.ports if tls else []))),
        " ".join(balancer.names),
        " ".join([*packages, *wanted]),
        acme.server if acme else "-",
        (acme.email if acme else None) or "-",
        *(certificate_arguments(balancer, tls, settings.app) if tls else []),
    ]
    payload = given.shared + given.config + given.page + given.pem + share_lines(given.shares)
    answer = remote.run("provision_balancer", arguments, payload=payload, timeout=APT_SECONDS, note=note)
    return [text for (text,) in answer.all("changed", 1)]
