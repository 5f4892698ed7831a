"""Prove the ledgers: every line of every host, and every host's copy beside the others' (A9)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from playbooks.census import Census, Key
from playbooks.environment import Environment
from playbooks.errors import ExitStatus, SlipwayError
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.steps.chain import Fault
from playbooks.steps.ledger import Reading

# A record reaches the hosts side by side. Seconds after which one that a host lacks is not just on its way.
ON_ITS_WAY = 2.0
MOST_TOLD = 20


@dataclass(frozen=True)
class HostLedger:
    """What a host's ledger came to.

    Args:
        lines: how many it has.
        torn: how many a crash tore; a later record's hash covers them, so they are no fault.
        faults: what is wrong with its lines.
        missing: records that name the host and that others have.
        never_had: the same, but the host was out of reach then, or had no part: no sign of tampering.
        differs: records that say something else than on most hosts.
        more: how many faults and records are not told.
    """

    host: str
    lines: int
    torn: int
    faults: tuple[Fault, ...]
    missing: tuple[str, ...]
    never_had: tuple[str, ...]
    differs: tuple[str, ...]
    more: int = 0

    @property
    def status(self) -> Literal["PASSED", "FAILED"]:
        """PASSED, or FAILED for whatever is wrong."""
        return "FAILED" if self.faults or self.missing or self.differs else "PASSED"

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "status": self.status}


@dataclass(frozen=True)
class VerifiedHistory:
    """What all ledgers came to.

    Args:
        hosts: those that could be read.
        unreachable: why the others could not.
    """

    environment: str
    hosts: tuple[HostLedger, ...]
    unreachable: dict[str, str]
    flag: str = ""

    @property
    def status(self) -> Literal["PASSED", "FAILED"]:
        """PASSED if every host was read and has nothing wrong."""
        passed = not self.unreachable and all(host.status == "PASSED" for host in self.hosts)
        return "PASSED" if passed else "FAILED"

    @property
    def exit_status(self) -> ExitStatus:
        """A ledger that cannot be trusted needs a person."""
        return ExitStatus.DONE if self.status == "PASSED" else ExitStatus.PERSON_NEEDED

    @property
    def next(self) -> str:
        """What to do next."""
        command = self.flag
        if any(host.differs for host in self.hosts):
            return "compare the ledgers on the hosts that differ; nobody but you can say which one is right"
        if any(host.faults or host.missing for host in self.hosts):
            return f"find out who or what did it; then invoke history {command} --repair. It overwrites nothing"
        if any(host.never_had for host in self.hosts):
            return f"invoke history {command} --repair gives hosts the records they never had"
        return ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "status": self.status,
            "hosts": [host.to_json() for host in self.hosts],
            "unreachable": self.unreachable,
            "next": self.next,
            "exit_status": int(self.exit_status),
        }


def verify_history(env: Environment, progress: Progress) -> VerifiedHistory:
    """Read every ledger whole, check its chain, and compare the hosts.

    Args:
        env: whose.
        progress: who watches.
    """
    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        audit = Audit(fleet, env)
        audit.read()
        return audit.verdict()


class Audit:
    """The ledgers of a fleet, read whole.

    Args:
        fleet: open sessions.
        env: whose ledgers.
    """

    def __init__(self, fleet: Fleet, env: Environment) -> None:
        self.readings = {
            name: Reading(remote, env.target(name).settings.state) for name, remote in fleet.remotes.items()
        }
        self.census = Census(list(self.readings))
        self._fleet, self._env = fleet, env
        self._failed: dict[str, SlipwayError] = {}

    @property
    def tampered(self) -> frozenset[str]:
        """Hosts whose chain is broken by more than a crash."""
        return frozenset(host for host, reading in self.readings.items() if reading.chain.tampered)

    @property
    def failed(self) -> Mapping[str, SlipwayError]:
        """Hosts whose ledger could not be read, with the reason."""
        return {**self._fleet.unreachable, **self._failed}

    def read(self) -> None:
        """Read all ledgers; those that lack records once more, for a record may have been on its way."""
        self._read(list(self.readings))
        late = [host for host in self.readings if self.census.lacks(host, apart=self.tampered).missing]
        if late:
            time.sleep(ON_ITS_WAY)
            self._read(late)

    def _read(self, hosts: list[str]) -> None:
        def one(remote: Remote) -> None:
            for record in self.readings[remote.name].records():
                self.census.add(remote.name, record)

        for host, error in self._fleet.each("ledger", one, hosts=hosts).failed.items():
            self._failed[host] = error
            self.readings.pop(host)
            self.census.forget(host)

    def verdict(self) -> VerifiedHistory:
        """What it came to."""
        hosts = tuple(self._host(host, reading) for host, reading in self.readings.items())
        return VerifiedHistory(
            self._env.name, hosts, {host: error.message for host, error in self.failed.items()}, self._env.flag
        )

    def _host(self, host: str, reading: Reading) -> HostLedger:
        lacks, chain = self.census.lacks(host, apart=self.tampered), reading.chain
        missing, never_had, differs = lacks.missing, lacks.never_had, self.census.differs(host)
        return HostLedger(
            host,
            chain.lines,
            chain.torn,
            chain.faults,
            missing=_told(missing),
            never_had=_told(never_had),
            differs=_told(differs),
            more=chain.unnamed + sum(max(0, len(keys) - MOST_TOLD) for keys in (missing, never_had, differs)),
        )


def _told(keys: Sequence[Key]) -> tuple[str, ...]:
    return tuple(str(key) for key in keys[:MOST_TOLD])
