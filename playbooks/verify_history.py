"""Verify the ledgers: every line, every signature, and every host's copy against the others (A9, G10)."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, SlipwayError, UsageError
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.ledger.chain import Fault
from playbooks.ledger.heads import Head
from playbooks.ledger.index import LedgerIndex, RecordKey, key_of
from playbooks.ledger.proof import Proof
from playbooks.ledger.seal import HEAD_DIGITS, NO_LINE, digest
from playbooks.ledger.standing import Verifier
from playbooks.steps.ledger import LedgerReading

# Seconds after which a record that a host lacks counts as missing; before, it may still be on its way.
ON_ITS_WAY = 2.0
MAX_TOLD = 20
MAX_SINCE = 1_000_000  # bytes of a file with heads
_HEAD = re.compile(rf"\b[0-9a-f]{{{HEAD_DIGITS}}}\b")


@dataclass(frozen=True)
class HostLedger:
    """The result of verifying a host's ledger.

    Args:
        lines: the number of lines.
        torn: the number of lines torn by a crash. A later record's hash covers them, so they are no fault.
        faults: the faults of its lines.
        missing: the records that name the host and that others have.
        never_had: the same, but the host was unreachable or took no part then, so this is no sign of tampering.
        differs: the records whose content differs from most hosts.
        more: how many faults and records are not listed.
        alone: the unsigned records that most of the hosts that they name lack.
        signed: the number of records by signer.
        unsigned: the number of unsigned records.
        by_host: the number of records that the host wrote alone, as their signer allowed.
        head: the hash of its last line; `--since` can later prove that it is still there.
    """

    host: str
    lines: int
    torn: int
    faults: tuple[Fault, ...]
    missing: tuple[str, ...]
    never_had: tuple[str, ...]
    differs: tuple[str, ...]
    more: int = 0
    alone: tuple[str, ...] = ()
    signed: Mapping[str, int] = field(default_factory=dict)
    unsigned: int = 0
    by_host: int = 0
    head: str = NO_LINE

    @property
    def status(self) -> Literal["PASSED", "FAILED"]:
        """Return PASSED, or FAILED if there is a fault."""
        return "FAILED" if self.faults or self.missing or self.differs or self.alone else "PASSED"

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "status": self.status}


@dataclass(frozen=True)
class VerifiedHistory:
    """The result of verifying all ledgers.

    Args:
        hosts: the hosts that could be read.
        unreachable: the errors of the other hosts.
        gone: the heads from `--since` that no ledger has.
    """

    schema: ClassVar[str] = "slipway.verify-history/1"
    environment: str
    hosts: tuple[HostLedger, ...]
    unreachable: Mapping[str, HostFailure]
    flag: str = ""
    gone: tuple[str, ...] = ()

    @property
    def status(self) -> Literal["PASSED", "FAILED"]:
        """Return PASSED if every host was read and has no fault."""
        passed = not self.unreachable and not self.gone and all(host.status == "PASSED" for host in self.hosts)
        return "PASSED" if passed else "FAILED"

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a ledger is not verified, which needs a person."""
        return ExitStatus.DONE if self.status == "PASSED" else ExitStatus.PERSON_NEEDED

    @property
    def next(self) -> str:
        """Return what a person can do next."""
        command = self.flag
        if any(host.differs for host in self.hosts):
            return "compare the ledgers on the hosts that differ; nobody but you can say which one is right"
        if any(host.faults or host.missing or host.alone for host in self.hosts):
            return f"find out who or what did it; then invoke history {command} --repair. It overwrites nothing"
        if any(host.never_had for host in self.hosts):
            return f"invoke history {command} --repair gives hosts the records they never had"
        return ""

    @property
    def heads(self) -> str:
        """Return the heads to keep, so that ``--since`` can later prove that nothing was cut off."""
        return ",".join(dict.fromkeys(host.head for host in self.hosts if host.head != NO_LINE))

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "status": self.status,
            "hosts": [host.to_json() for host in self.hosts],
            "unreachable": failures_told(self.unreachable),
            "gone": list(self.gone),
            "next": self.next,
            "exit_status": int(self.exit_status),
        }


def verify_history(env: Environment, progress: Progress, *, since: str | None = None) -> VerifiedHistory:
    """Read every ledger completely, check its chain and signatures, and compare the hosts.

    Args:
        env: the environment.
        progress: receives what to show a person.
        since: earlier heads, or a file with them; the lines that they name must still exist.

    Raises:
        UsageError: ``since`` is neither.
    """
    wanted = read_heads(since) if since is not None else []
    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        audit = Audit(fleet, env)
        audit.read()
        verdict = audit.verdict(wanted)
        audit.remember([host.host for host in verdict.hosts if host.status == "PASSED"])
        return verdict


def read_heads(text: str) -> list[str]:
    """Read heads that a person has kept.

    Args:
        text: heads separated by commas, or the path of a file whose text contains them.

    Raises:
        UsageError: it is neither.
    """
    try:
        written = Path(text).read_text(encoding="utf-8")[:MAX_SINCE] if Path(text).is_file() else text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--since={text} cannot be read: {error}") from None
    found = _HEAD.findall(written)
    if not found:
        raise UsageError(
            f"--since={text[:80]}: expected heads such as invoke history --verify shows, or a file that has them"
        )
    return list(dict.fromkeys(found))


class Audit:
    """A complete reading of a fleet's ledgers.

    Args:
        fleet: the open sessions.
        env: the environment.
        accepted: the digests of records that a person accepts.
        rejected: the hosts and digests of records that a person rejects.
    """

    def __init__(
        self,
        fleet: Fleet,
        env: Environment,
        *,
        accepted: Collection[str] = (),
        rejected: Collection[tuple[str, str]] = (),
    ) -> None:
        self.readings = {
            name: LedgerReading(remote, env.target(name).settings.state) for name, remote in fleet.remotes.items()
        }
        self.census = LedgerIndex(list(self.readings))
        settings = env.settings
        verifier = Verifier(settings.ledger.signers, environment=env.name, application=settings.app)
        self.proof = Proof(list(self.readings), verifier, required=settings.ledger.required)
        self._fleet, self._env = fleet, env
        self._accepted, self._rejected = frozenset(accepted), frozenset(rejected)
        self._failed: dict[str, SlipwayError] = {}
        self._last: dict[str, str] = {}

    @property
    def tampered(self) -> frozenset[str]:
        """Return the hosts whose chain has a fault that a crash cannot cause."""
        return frozenset(host for host, reading in self.readings.items() if reading.chain.tampered)

    @property
    def failed(self) -> Mapping[str, SlipwayError]:
        """Return the hosts whose ledger could not be read, with the reason."""
        return {**self._fleet.unreachable, **self._failed}

    def read(self) -> None:
        """Read all ledgers, and read those that lack records again, because a record may have been on its way."""
        self._read(list(self.readings))
        if any(self._may_be_late(host) for host in self.readings):
            time.sleep(ON_ITS_WAY)
            self._read(list(self.readings))

    def _may_be_late(self, host: str) -> bool:
        apart = self.tampered
        return bool(
            self.census.lacks(host, apart=apart).missing
            or self.census.alone(host, apart=apart)
            or self.proof.gone(host)
        )

    def _read(self, hosts: list[str]) -> None:
        def one(remote: Remote) -> None:
            reading = self.readings[remote.name]
            for record in reading.records():
                self._take(remote.name, reading, record)

        for host, error in self._fleet.each("ledger", one, hosts=hosts).failed.items():
            self._failed[host] = error
            self.readings.pop(host)
            self.census.forget(host)
            self.proof.forget(host)

    def _take(self, host: str, reading: LedgerReading, record: Mapping[str, Any]) -> None:
        line, found = reading.chain.last, digest(record)
        if line is None or (host, found.hex()) in self._rejected:
            return
        self._last[host] = str(key_of(record))
        signing = self.proof.signs(host)
        judged = self.proof.add(host, reading.chain.lines, line.digest[:HEAD_DIGITS], record, found)
        accepted = found.hex() in self._accepted
        trusted = accepted or (judged.trusted and not judged.by_host)
        self.census.add(host, record, found, trusted=trusted, counts=trusted or judged.trusted or not signing)

    def is_vouched(self, host: str, record: Mapping[str, Any], name: str) -> bool:
        """Return whether a signer has signed a record, or the person here accepts it.

        Args:
            host: the record's host.
            record: the record on that host.
            name: the hash of its content.
        """
        return name in self._accepted or self.proof.verifier.judge(host, record, bytes.fromhex(name)).trusted

    def is_believed(self, host: str, record: Mapping[str, Any], key: RecordKey) -> bool:
        """Return whether this is the believed content of the record with this key."""
        name = digest(record)
        return (host, name.hex()) not in self._rejected and self.census.is_believed(key, name)

    def verdict(self, since: Sequence[str] = ()) -> VerifiedHistory:
        """Return the result.

        Args:
            since: the heads that must exist.
        """
        hosts = tuple(self._host(host, reading) for host, reading in self.readings.items())
        gone = tuple(head for head in since if not self.proof.has(head))
        return VerifiedHistory(self._env.name, hosts, failures(self.failed), self._env.flag, gone)

    def _host(self, host: str, reading: LedgerReading) -> HostLedger:
        apart, chain = self.tampered, reading.chain
        lacks = self.census.lacks(host, apart=apart)
        missing, never_had, differs = lacks.missing, lacks.never_had, self.census.differs(host)
        faults = [*chain.faults, *self.proof.faults(host), *self.cut(host)]
        suspects = {suspect.key for suspect in self.proof.suspects(host)}
        alone = [key for key in self.census.alone(host, apart=apart) if key not in suspects]
        signed, unsigned, by_host = self.proof.counts(host)
        return HostLedger(
            host,
            chain.lines,
            chain.torn,
            tuple(faults[:MAX_TOLD]),
            missing=_told(missing),
            never_had=_told(never_had),
            differs=_told(differs),
            more=chain.unnamed
            + max(0, len(faults) - MAX_TOLD)
            + sum(max(0, len(keys) - MAX_TOLD) for keys in (missing, never_had, differs, alone)),
            alone=_told(alone),
            signed=signed,
            unsigned=unsigned,
            by_host=by_host,
            head=self.head(host),
        )

    def head(self, host: str) -> str:
        """Return the hash of the last record's line in a ledger."""
        last = self.readings[host].chain.last
        return last.digest[:HEAD_DIGITS] if last else NO_LINE

    def cut(self, host: str) -> list[Fault]:
        """Return the line that this machine has seen in a host's ledger, if it is gone."""
        seen = self._env.heads.known(host, self._fleet.remotes[host].session.machine)
        fault = self.proof.lost(host, seen) if seen else None
        return [fault] if fault else []

    def remember(self, hosts: Iterable[str]) -> None:
        """Store the heads of these hosts on this machine."""
        when = instant(now())
        found: dict[str, tuple[str, Head | None]] = {}
        for host in hosts:
            last = self.readings[host].chain.last
            head = Head(self.head(host), last.prev, last.offset, last.length, when, self._last[host]) if last else None
            found[host] = (self._fleet.remotes[host].session.machine, head)
        self._env.heads.keep(found)


def _told(keys: Sequence[RecordKey]) -> tuple[str, ...]:
    return tuple(str(key) for key in keys[:MAX_TOLD])
