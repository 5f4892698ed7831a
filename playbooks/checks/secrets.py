"""Which secrets a deploy will need, so that a missing or misspelt one is found before any host is reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from playbooks.settings import Settings
from playbooks.settings.health import PostgresCheck, RedisCheck


def secrets_of(settings: Iterable[Settings], *, watches: bool) -> list[str]:
    """Names of secrets, except those of backups, and of templates, which are rendered before any host is reached.

    Args:
        settings: of the hosts.
        watches: whether the rollout is judged by numbers.
    """
    return list(dict.fromkeys(name for each in settings for name in _named(each, watches=watches) if name))


def _named(settings: Settings, *, watches: bool) -> Iterator[str | None]:
    for check in settings.health.checks:
        if isinstance(check, PostgresCheck | RedisCheck):
            yield check.password
    for database in settings.databases:
        if database.migrating_user:
            yield database.migrating_user[1]
    server = settings.metrics.prometheus
    if watches and settings.metrics.source == "prometheus" and server is not None:
        yield server.token
        yield server.password
