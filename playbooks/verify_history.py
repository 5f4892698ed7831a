"""Prove the ledgers: every line, every signature, and every host's copy beside the others' (A9, G10)."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

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

# A record reaches the hosts side by side. Seconds after which one that a host lacks is not just on its way.
ON_ITS_WAY = 2.0
MAX_TOLD = 20
MAX_SINCE = 1_000_000  # bytes of a file that heads were written down in
_HEAD = re.compile(rf"\b[0-9a-f]{{{HEAD_DIGITS}}}\b")


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
        alone: records that most of the hosts they name lack, and nobody vouches for.
        signed: how many records, by who signed them.
        unsigned: how many nobody signed.
        by_host: how many the host wrote alone, by leave of who signed them.
        head: the name of its last line; `--since` proves later that it is still there.
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
        """PASSED, or FAILED for whatever is wrong."""
        return "FAILED" if self.faults or self.missing or self.differs or self.alone else "PASSED"

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "status": self.status}


@dataclass(frozen=True)
class VerifiedHistory:
    """What all ledgers came to.

    Args:
        hosts: those that could be read.
        unreachable: why the others could not.
        gone: heads that somebody had written down, and that no ledger has.
    """

    schema: ClassVar[str] = "slipway.verify-history/1"
    environment: str
    hosts: tuple[HostLedger, ...]
    unreachable: dict[str, str]
    flag: str = ""
    gone: tuple[str, ...] = ()

    @property
    def status(self) -> Literal["PASSED", "FAILED"]:
        """PASSED if every host was read and has nothing wrong."""
        passed = not self.unreachable and not self.gone and all(host.status == "PASSED" for host in self.hosts)
        return "PASSED" if passed else "FAILED"

    @property
    def exit_status(self) -> ExitStatus:
        """A ledger that cannot be trusted needs a person."""
        return ExitStatus.DONE if self.status == "PASSED" else ExitStatus.PERSON_NEEDED

    @property
    def next(self) -> str:
        """What a person can do next."""
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
        """What to write down, so that ``--since`` can prove later that nothing of this was cut off."""
        return ",".join(dict.fromkeys(host.head for host in self.hosts if host.head != NO_LINE))

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "status": self.status,
            "hosts": [host.to_json() for host in self.hosts],
            "unreachable": self.unreachable,
            "gone": list(self.gone),
            "next": self.next,
            "exit_status": int(self.exit_status),
        }


def verify_history(env: Environment, progress: Progress, *, since: str | None = None) -> VerifiedHistory:
    """Read every ledger whole, check its chain and its signatures, and compare the hosts.

    Args:
        env: whose.
        progress: who watches.
        since: heads of earlier, or a file that has them: the records they name must be there still.

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
    """Heads that somebody has written down.

    Args:
        text: heads with commas between them, or the path of a file that has them somewhere in its text.

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
    """The ledgers of a fleet, read whole.

    Args:
        fleet: open sessions.
        env: whose ledgers.
        accepted: digests of records that a person vouches for.
        rejected: hosts, and digests of records there that a person does not want to count.
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
        """Hosts whose chain is broken by more than a crash."""
        return frozenset(host for host, reading in self.readings.items() if reading.chain.tampered)

    @property
    def failed(self) -> Mapping[str, SlipwayError]:
        """Hosts whose ledger could not be read, with the reason."""
        return {**self._fleet.unreachable, **self._failed}

    def read(self) -> None:
        """Read all ledgers; those that lack records once more, for a record may have been on its way."""
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
        """Whether one of the signers, or the person here, vouches for a record.

        Args:
            host: where it stands.
            record: as it stands there.
            name: the digest of its content.
        """
        return name in self._accepted or self.proof.verifier.judge(host, record, bytes.fromhex(name)).trusted

    def is_believed(self, host: str, record: Mapping[str, Any], key: RecordKey) -> bool:
        """Whether this is the content that is believed of a record with that key."""
        name = digest(record)
        return (host, name.hex()) not in self._rejected and self.census.is_believed(key, name)

    def verdict(self, since: Sequence[str] = ()) -> VerifiedHistory:
        """What it came to.

        Args:
            since: heads that must be there.
        """
        hosts = tuple(self._host(host, reading) for host, reading in self.readings.items())
        gone = tuple(head for head in since if not self.proof.has(head))
        unreachable = {host: error.message for host, error in self.failed.items()}
        return VerifiedHistory(self._env.name, hosts, unreachable, self._env.flag, gone)

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
        """The name of a ledger's last record's line."""
        last = self.readings[host].chain.last
        return last.digest[:HEAD_DIGITS] if last else NO_LINE

    def cut(self, host: str) -> list[Fault]:
        """What this machine has seen in a host's ledger, and is not there any more."""
        seen = self._env.heads.known(host, self._fleet.remotes[host].session.machine)
        fault = self.proof.lost(host, seen) if seen else None
        return [fault] if fault else []

    def remember(self, hosts: Iterable[str]) -> None:
        """Keep the heads of these hosts on this machine."""
        when = instant(now())
        found: dict[str, tuple[str, Head | None]] = {}
        for host in hosts:
            last = self.readings[host].chain.last
            head = Head(self.head(host), last.prev, last.offset, last.length, when, self._last[host]) if last else None
            found[host] = (self._fleet.remotes[host].session.machine, head)
        self._env.heads.keep(found)


def _told(keys: Sequence[RecordKey]) -> tuple[str, ...]:
    return tuple(str(key) for key in keys[:MAX_TOLD])
