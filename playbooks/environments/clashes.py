"""Find what two applications of one inventory would take from each other, when the settings are read.

Hosts refuse most of it later too, but here the error comes before any connection and names both places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from playbooks.settings import Settings
from playbooks.settings.load import PREFIX
from playbooks.settings.services import Service
from playbooks.settings.traffic import Balancer


@dataclass(frozen=True)
class Seen:
    """An application's settings, for comparison.

    Args:
        name: the application's name.
        hosts: the settings of its hosts, by name.
        balancers: the names of its balancers' hosts.
        database_hosts: the names of the hosts that dump databases, in the order of the databases.
        machine: returns a host's address, because two names may be the same machine.
        runs_on: returns whether a thing with this ``hosts`` pattern belongs on a host.
        origin: returns where a host's setting was written, or "".
    """

    name: str
    hosts: Mapping[str, Settings]
    balancers: Sequence[str]
    database_hosts: Mapping[int, str]
    machine: Callable[[str], str]
    runs_on: Callable[[str, str | None], bool]
    origin: Callable[..., str]


@dataclass(frozen=True)
class _Claim:
    """A resource that an application claims on a machine.

    Args:
        kind: the kind of resource.
        value: the resource.
        host: the host's inventory name.
        said: the resource as a part of a sentence.
        place: where the claim is written.
        instead: what to do about a clash.
        shared: how several applications may share it by host names; "" if they may not.
    """

    kind: str
    value: str
    host: str
    said: str
    place: str
    instead: str
    shared: str = ""


def clashes(applications: Sequence[Seen]) -> list[str]:
    """Return a sentence for each resource that two applications claim on one machine."""
    claims = {one.name: _by_machine(one) for one in applications}
    found: dict[tuple[str, str, str], tuple[_Claim, _Claim, list[str]]] = {}
    for (one, ones), (other, others) in combinations(claims.items(), 2):
        for machine in [place for place in ones if place in others]:
            for mine in ones[machine]:
                for theirs in others[machine]:
                    if not _same(mine, theirs):
                        continue
                    key = (one, other, f"{mine.kind} {mine.said} {theirs.said}")
                    _, _, hosts = found.setdefault(key, (mine, theirs, []))
                    if mine.host not in hosts:
                        hosts.append(mine.host)
    return [_sentence(one, other, *clash) for (one, other, _), clash in found.items()]


def _sentence(one: str, other: str, mine: _Claim, theirs: _Claim, hosts: list[str]) -> str:
    where = ", ".join(sorted(hosts)[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
    there = f" ({theirs.place})" if theirs.place not in ("", mine.place) else ""
    said = mine.said if mine.said == theirs.said else f"{mine.said} of {one} and {theirs.said} of {other}"
    both = f"{one} and {other} both have " if mine.said == theirs.said else ""
    at = f"{mine.place}: " if mine.place else ""
    return f"{at}{both}{said} on {where}{' meet' if not both else ''}{there}; {mine.instead}"


def _same(mine: _Claim, theirs: _Claim) -> bool:
    if mine.kind != theirs.kind or (mine.shared and mine.shared == theirs.shared):
        return False
    if mine.kind == "folder":
        return f"{mine.value}/".startswith(f"{theirs.value}/") or f"{theirs.value}/".startswith(f"{mine.value}/")
    if mine.kind == "socket":  # HAProxy has one socket for all applications
        return mine.value != theirs.value
    return mine.value == theirs.value


def _by_machine(seen: Seen) -> dict[str, list[_Claim]]:
    found: dict[str, list[_Claim]] = {}
    for host, settings in seen.hosts.items():
        found.setdefault(seen.machine(host), []).extend(_on_host(seen, host, settings))
    first = next(iter(seen.hosts), None)
    if first is None:
        return found
    settings = seen.hosts[first]
    for balancer in seen.balancers:
        assert settings.balancer is not None  # a balancer's host has its settings  # noqa: S101
        found.setdefault(seen.machine(balancer), []).extend(
            _on_balancer(seen, first, balancer, settings, settings.balancer)
        )
    for index, host in seen.database_hosts.items():
        database = settings.databases[index]
        claim = _Claim(
            "database",
            f"{database.host or ''}:{database.port}/{database.name}",
            host,
            f"the database {database.name}",
            seen.origin(first, f"{PREFIX}databases", index, "name"),
            "a rollback of one would take the other's data back; leave it to one of them",
        )
        found.setdefault(seen.machine(host), []).append(claim)
    return found


def _on_host(seen: Seen, host: str, settings: Settings) -> Iterator[_Claim]:
    def place(key: str, *inside: str | int) -> str:
        return seen.origin(host, PREFIX + key, *inside)

    own = place("path") or place("app")
    yield _Claim(
        "folder", settings.home, host, f"the folder {settings.home}", own, f"{{app}} in {PREFIX}path is the name"
    )
    if settings.config:
        said = f"the user {settings.run_user}"
        why = f"it reads the configuration of both, secrets in it; give each one of its own in {PREFIX}user"
        yield _Claim("user", settings.run_user, host, said, place("user"), why)
    for index, service in enumerate(settings.services):
        if seen.runs_on(host, service.hosts):
            yield from _of_service(host, service, place("services", index, "name"), place("services", index, "socket"))
    if settings.slots:
        for slot, number in settings.slots.items():
            yield _port(host, number, place("slots", slot), f"in {PREFIX}slots")
    elif settings.port is not None:
        yield _port(host, settings.port, place("port"), f"in {PREFIX}port")
    elif settings.balancer is not None:
        yield _port(host, settings.balancer.port, place("balancer", "port"), f"in {PREFIX}balancer.port")


def _of_service(host: str, service: Service, named: str, listens: str) -> Iterator[_Claim]:
    for file in (f"{service.name}.service", *([f"{service.name}.socket"] if service.socket else [])):
        yield _Claim("unit", file, host, f"the unit {file}", named, "give one of them another name")
    for stream in service.socket:
        number = re.fullmatch(r"(?:.*:)?(\d{1,5})", stream)
        if number and not stream.startswith(("/", "@")):
            yield _port(host, int(number[1]), listens, "in its socket")


def _on_balancer(
    seen: Seen, first: str, balancer_host: str, settings: Settings, balancer: Balancer
) -> Iterator[_Claim]:
    def place(*inside: str | int) -> str:
        return seen.origin(first, f"{PREFIX}balancer", *inside)

    backend = balancer.backend or settings.app
    for name in (backend, f"{backend}-testers"):
        instead = f"give one of them another in {PREFIX}balancer.backend"
        yield _Claim("backend", name, balancer_host, f"the backend {name}", place("backend"), instead)
    listen = [(number, "http", place("listen", index), "listen") for index, number in enumerate(balancer.listen)]
    tls = enumerate(balancer.tls.ports if balancer.tls else [])
    listen += [(number, "tls", place("tls", "ports", index), "tls.ports") for index, number in tls]
    for number, how, at, key in listen:
        claim = _port(
            balancer_host, number, at, f"in {PREFIX}balancer.{key}, or both host names in {PREFIX}balancer.names"
        )
        yield replace(claim, shared=how if balancer.names else "")
    for index, host_name in enumerate(balancer.names):
        said = f"the host name {host_name}"
        yield _Claim("name", host_name.lower(), balancer_host, said, place("names", index), "give it to one of them")
    if balancer.kind == "haproxy":
        said = f"HAProxy's socket {balancer.socket}"
        yield _Claim("socket", balancer.socket, balancer_host, said, place("socket"), "one HAProxy has one for all")


def _port(host: str, number: int, place: str, where: str) -> _Claim:
    return _Claim("port", str(number), host, f"port {number}", place, f"give one of them another {where}")
