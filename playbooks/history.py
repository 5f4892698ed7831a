"""What was done, when and by whom: the hosts' ledgers merged (A9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playbooks.census import Key, key_of
from playbooks.environment import Environment
from playbooks.errors import ExitStatus
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.steps.chain import OWN
from playbooks.steps.ledger import Ledger, read_ledger

SPARE = 200


@dataclass(frozen=True)
class History:
    """Records, newest first.

    Args:
        records: each once, though several hosts keep it; ``hosts`` has every host it tells of, with its result.
        broken: what is wrong with the ledgers, by host.
        unreachable: why a host's ledger could not be read.
    """

    environment: str
    records: tuple[dict[str, Any], ...]
    broken: dict[str, tuple[str, ...]]
    unreachable: dict[str, str]
    flag: str = ""

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
    """Read and merge the ends of the ledgers; how much is read depends on ``most``, not on how long they are.

    Args:
        env: whose.
        progress: who watches.
        most: how many records at the most.
    """
    addresses = [target.address for target in env.targets]
    # Records that a repair brought back stand after younger ones.
    lines = 2 * most + SPARE
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each(
            "ledger", lambda remote: read_ledger(remote, env.target(remote.name).settings.state, lines=lines)
        )
    records = merge(dict(results.ok))
    return History(
        environment=env.name,
        records=tuple(records[:most]),
        broken={host: ledger.broken for host, ledger in results.ok.items() if ledger.broken},
        unreachable={host: error.message for host, error in {**fleet.unreachable, **results.failed}.items()},
        flag=env.flag,
    )


def merge(ledgers: dict[str, Ledger]) -> list[dict[str, Any]]:
    """Records of all hosts, newest first, each once, be it a copy or not."""
    merged: dict[Key, dict[str, Any]] = {}
    for host, ledger in ledgers.items():
        for record in ledger.records:
            told = {name: value for name, value in record.items() if name not in OWN}
            stands = told.pop("hosts", None)
            named = {str(name): str(stand) for name, stand in stands.items()} if isinstance(stands, dict) else {}
            known = merged.setdefault(key_of(record), {**told, "hosts": {}})
            known["hosts"] |= {**named, host: named.get(host, str(record.get("status", "")))}
    return [merged[key] for key in sorted(merged, reverse=True)]
