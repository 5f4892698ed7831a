"""What was done, when and by whom: the hosts' ledgers merged (A9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playbooks.environment import Environment
from playbooks.errors import ExitStatus
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.steps.ledger import Ledger, read_ledger


@dataclass(frozen=True)
class History:
    """Records, newest first.

    Args:
        records: each once, though several hosts keep it; ``hosts`` has every host that does, with its result.
        broken: what is wrong with the ledgers, by host.
        unreachable: why a host's ledger could not be read.
    """

    environment: str
    records: tuple[dict[str, Any], ...]
    broken: dict[str, tuple[str, ...]]
    unreachable: dict[str, str]

    @property
    def exit_status(self) -> ExitStatus:
        """A tampered ledger, or a host that cannot be reached, needs a person."""
        return ExitStatus.PERSON_NEEDED if self.broken or self.unreachable else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "records": list(self.records),
            "broken": {host: list(lines) for host, lines in self.broken.items()},
            "unreachable": self.unreachable,
            "exit_status": int(self.exit_status),
        }


def history(env: Environment, progress: Progress, *, most: int = 20) -> History:
    """Read and merge the ledgers.

    Args:
        env: whose.
        progress: who watches.
        most: how many records at the most.
    """
    addresses = [target.address for target in env.targets]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each("ledger", lambda remote: read_ledger(remote, env.target(remote.name).settings.state))
    records = merge(dict(results.ok))
    return History(
        environment=env.name,
        records=tuple(records[:most]),
        broken={host: ledger.broken for host, ledger in results.ok.items() if ledger.broken},
        unreachable={host: error.message for host, error in {**fleet.unreachable, **results.failed}.items()},
    )


def merge(ledgers: dict[str, Ledger]) -> list[dict[str, Any]]:
    """Records of all hosts, newest first, each once."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for host, ledger in ledgers.items():
        for record in ledger.records:
            key = (str(record.get("started")), str(record.get("id")), str(record.get("task")))
            known = merged.setdefault(key, {k: v for k, v in record.items() if k not in ("prev", "host", "hosts")})
            stands = record.get("hosts")
            own = stands.get(host) if isinstance(stands, dict) else None
            known.setdefault("hosts", {})[host] = str(own or record.get("status", ""))
    return [merged[key] for key in sorted(merged, reverse=True)]
