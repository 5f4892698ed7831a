"""Show what was done, when and by whom, from the hosts' ledgers (A9)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, ClassVar

from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.clock import now
from playbooks.core.errors import ExitStatus
from playbooks.core.names import MAX_AHEAD, cut, parse_time
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.ledger.chain import OWN
from playbooks.ledger.index import RecordKey, key_of
from playbooks.ledger.keys import shown
from playbooks.ledger.seal import digest
from playbooks.ledger.standing import RecordVerdict, Verifier
from playbooks.steps.ledger import Ledger, read_ledger

SPARE = 200
_NEVER = datetime.min.replace(tzinfo=UTC)
# The fields of a record that are shown, with their maximum lengths. An unsigned record may contain anything.
TEXTS = {
    **dict.fromkeys(("task", "id", "environment", "application", "version", "status", "started", "by"), 200),
    **dict.fromkeys(("message", "reason", "next"), 8000),
}


@dataclass(frozen=True)
class History:
    """Records, newest first.

    Args:
        records: the records, each once; ``hosts`` has the result of every host that it names.
        broken: the ledgers' faults by host.
        cut: lines that this machine has seen in a host's ledger and that are gone.
        unreachable: why a host's ledger could not be read.
    """

    schema: ClassVar[str] = "slipway.history/1"
    environment: str
    records: tuple[dict[str, Any], ...]
    broken: dict[str, tuple[str, ...]]
    unreachable: Mapping[str, HostFailure]
    flag: str = ""
    cut: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a ledger has faults or a host is unreachable, which needs a person."""
        return ExitStatus.PERSON_NEEDED if self.broken or self.unreachable else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "records": list(self.records),
            "broken": {host: list(lines) for host, lines in self.broken.items()},
            "cut": dict(self.cut),
            "unreachable": failures_told(self.unreachable),
            "exit_status": int(self.exit_status),
        }


def history(env: Environment, progress: Progress, *, most: int = 20) -> History:
    """Read and merge the ends of the ledgers. The amount depends on ``most``, not on the ledgers' length.

    Args:
        env: the environment.
        progress: receives what to show a person.
        most: the maximum number of records.
    """
    addresses = [target.address for target in env.targets]
    # Copies that a repair added come after newer records, so read more.
    lines = 2 * most + SPARE
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each(
            "ledger", lambda remote: read_ledger(remote, env.target(remote.name).settings.state, lines=lines)
        )
        seen = {host: env.heads.known(host, fleet.remotes[host].session.machine) for host in results.ok}
    verifier = Verifier(env.settings.ledger.signers, environment=env.name, application=env.settings.app)
    moment = now()
    timely = {host: [one for one in ledger.records if _is_timely(one, moment)] for host, ledger in results.ok.items()}
    records = merge(
        {host: replace(ledger, records=tuple(timely[host])) for host, ledger in results.ok.items()}, verifier
    )
    broken = {host: ledger.broken for host, ledger in results.ok.items()}
    for host, ledger in results.ok.items():
        if odd := len(ledger.records) - len(timely[host]):
            broken[host] += (
                f"{odd} of the last {len(ledger.records)} records have an impossible time; they are left out",
            )
    cut = {host: str(head) for host, head in seen.items() if head and results.ok[host].lacks(head)}
    return History(
        environment=env.name,
        records=tuple(records[:most]),
        broken={host: sentences for host, sentences in broken.items() if sentences},
        unreachable=failures({**fleet.unreachable, **results.failed}),
        flag=env.flag,
        cut=cut,
    )


def _is_timely(record: Mapping[str, Any], moment: datetime) -> bool:
    """Return whether a record is from the past. One from the year 9999 would always be the newest and hide others."""
    started = parse_time(record.get("started"))
    return started is not None and started <= moment + MAX_AHEAD


def merge(ledgers: Mapping[str, Ledger], verifier: Verifier | None = None) -> list[dict[str, Any]]:
    """Return the records of all hosts, newest first, each once, whether it is a copy or not.

    Args:
        ledgers: the ledgers by host.
        verifier: checks each record's signature. A trusted record wins over other contents. Without a verifier
            the records have no standing.
    """
    found = [
        (host, record, _judged(verifier, host, record)) for host, ledger in ledgers.items() for record in ledger.records
    ]
    merged: dict[RecordKey, dict[str, Any]] = {}
    believed: set[RecordKey] = set()
    for host, record, judged in sorted(found, key=lambda one: one[2] is None or not one[2].trusted or one[2].by_host):
        told = {name: _shown(name, value) for name, value in record.items() if name not in OWN}
        stands = told.pop("hosts", None)
        named = {str(name): str(stand) for name, stand in stands.items()} if isinstance(stands, dict) else {}
        key = key_of(record)
        if judged is not None:
            told["signed"] = {"standing": judged.standing.value, "by": shown(judged.key) if judged.key else None}
            if judged.trusted and not judged.by_host:
                believed.add(key)
            elif key in believed and not judged.trusted:
                continue
        known = merged.setdefault(key, {**told, "hosts": {}})
        known["hosts"] |= {**named, host: named.get(host, str(record.get("status", "")))}
    newest_first = reversed(_in_order(merged, [[key_of(one) for one in ledger.records] for ledger in ledgers.values()]))
    return [merged[key] for key in newest_first if not _has_ended(key, merged, believed)]


def _in_order(keys: Collection[RecordKey], ledgers: Iterable[Sequence[RecordKey]]) -> list[RecordKey]:
    """Return the keys oldest first. Two of the same second are in the order of a ledger that has both.

    Args:
        keys: the keys, in any order.
        ledgers: the keys of each host's ledger, as they are there.
    """
    # A host may write a time in another form, such as 2026-W01-1: as text it would be after all others of its year.
    moments = {key: parse_time(key.started) or _NEVER for key in keys}
    before: dict[datetime, dict[RecordKey, set[RecordKey]]] = {}
    for key in sorted(keys, key=lambda one: (moments[one], one)):
        before.setdefault(moments[key], {})[key] = set()
    for ledger in ledgers:
        last: dict[datetime, RecordKey] = {}
        for key in ledger:
            if (earlier := last.get(moments[key], key)) != key:
                before[moments[key]][key].add(earlier)
            last[moments[key]] = key
    ordered: list[RecordKey] = []
    for within in before.values():
        try:
            ordered += TopologicalSorter(within).static_order()
        except CycleError:  # ledgers that disagree: a copy that a repair added is behind newer records
            ordered += within
    return ordered


def _has_ended(key: RecordKey, merged: Mapping[RecordKey, object], believed: Collection[RecordKey]) -> bool:
    """Return whether this record says that its task began, and another one of the same standing how it ended."""
    return bool(key.begun) and key.ended in merged and (key not in believed or key.ended in believed)


def _shown(name: str, value: object) -> object:
    return value if value is None or name not in TEXTS else cut(str(value), TEXTS[name])


def _judged(verifier: Verifier | None, host: str, record: Mapping[str, Any]) -> RecordVerdict | None:
    return verifier.judge(host, record, digest(record)) if verifier else None
