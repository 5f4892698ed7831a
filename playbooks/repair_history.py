"""Let the ledgers' copies repair one another (A9). Nothing that stands is overwritten, and what is done is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from playbooks.census import Key, key_of
from playbooks.environment import Environment
from playbooks.errors import ExitStatus
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.holder import Holder
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.names import stamp
from playbooks.release.release import instant, now, who
from playbooks.steps.ledger import Reading
from playbooks.steps.ledger_repair import Repair
from playbooks.verify_history import Audit, VerifiedHistory


@dataclass(frozen=True)
class HostRepair:
    """What is to be done to a host's ledger.

    Args:
        copied: how many records, by the host they come from.
        kept: name of the file that a tampered ledger is kept as; empty when it goes on.
        left: how many records stand only in that file.
        closes: whether a torn last line is closed.
        error: why it could not be done.
    """

    host: str
    copied: dict[str, int]
    kept: str = ""
    left: int = 0
    closes: bool = False
    error: str = ""

    def __str__(self) -> str:
        """As a sentence."""
        done = [f"{_records(count)} from {donor}" for donor, count in self.copied.items()]
        if self.kept:
            done.insert(0, f"begun anew, the old one is kept as {self.kept}")
        if self.left:
            done.append(f"{_records(self.left)} stand only in {self.kept}")
        if self.closes:
            done.append("torn line closed")
        return f"{self.host}: {', '.join(done)}"


@dataclass(frozen=True)
class RepairedHistory:
    """What was done, and what verifying says now.

    Args:
        repairs: the hosts that something was done to.
        after: all hosts.
    """

    environment: str
    repairs: tuple[HostRepair, ...]
    after: VerifiedHistory

    @property
    def exit_status(self) -> ExitStatus:
        """What is still wrong needs a person."""
        return self.after.exit_status

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        repairs = [asdict(repair) for repair in self.repairs]
        return {"environment": self.environment, "repairs": repairs, **self.after.to_json()}


@dataclass(frozen=True)
class _Plan:
    """Which records a host is given, and by whom."""

    repair: HostRepair
    wanted: Mapping[str, frozenset[Key]]


def repair_history(env: Environment, progress: Progress, *, wait: float = 0.0) -> RepairedHistory:
    """Give every host the records it should have and others do; begin a tampered ledger anew.

    Args:
        env: whose.
        progress: who watches.
        wait: seconds to wait for somebody else's lock.

    Raises:
        Locked: a deploy is running; its records are on their way.
    """
    moment = now()
    holder = Holder(who(), "history --repair", instant(moment), stamp(moment), "repair")
    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        with fleet.lock(env.orders(fleet.remotes, holder, wait=wait)):
            audit = Audit(fleet, env)
            audit.read()
            plans = _plans(audit, moment)
            if not plans:
                return RepairedHistory(env.name, (), audit.verdict())
            repairs = _carry_out(fleet, env, holder, plans)
            again = Audit(fleet, env)
            again.read()
            return RepairedHistory(env.name, repairs, again.verdict())


def _plans(audit: Audit, moment: datetime) -> dict[str, _Plan]:
    plans = {}
    for host, reading in audit.readings.items():
        tampered = host in audit.tampered
        lacks = audit.census.lacks(host, apart=audit.tampered, anew=tampered)
        wanted: dict[str, set[Key]] = {}
        for key in (*lacks.missing, *lacks.never_had):
            donor = audit.census.holders(key, apart=audit.tampered)[0]
            wanted.setdefault(donor, set()).add(key)
        if not wanted and not reading.chain.faults:
            continue
        repair = HostRepair(
            host,
            copied={donor: len(keys) for donor, keys in wanted.items()},
            kept=f"ledger.tampered-{stamp(moment)}" if tampered else "",
            left=len(audit.census.only([host])) if tampered else 0,
            closes=bool(reading.chain.faults) and not tampered,
        )
        plans[host] = _Plan(repair, {donor: frozenset(keys) for donor, keys in wanted.items()})
    return plans


def _carry_out(fleet: Fleet, env: Environment, holder: Holder, plans: Mapping[str, _Plan]) -> tuple[HostRepair, ...]:
    record = {
        "task": "repair",
        "id": holder.id,
        "environment": env.name,
        "version": "",
        "status": "done",
        "message": "; ".join(str(plan.repair) for plan in plans.values()),
        "hosts": dict.fromkeys(plans, "repaired"),
        "started": holder.since,
        "by": holder.who,
    }

    def one(remote: Remote) -> None:
        plan = plans[remote.name]
        repair = Repair(remote, env.target(remote.name).settings, record, aside=plan.repair.kept or None)
        for donor, keys in plan.wanted.items():
            left = set(keys)
            for copy in Reading(fleet.remotes[donor], env.target(donor).settings.state).records():
                # A record may stand there twice; one copy is enough.
                key = key_of(copy)
                if key in left:
                    left.discard(key)
                    repair.copy(copy, donor)
        repair.flush()

    failed = fleet.each("repair", one, hosts=list(plans), finish=True).failed
    return tuple(
        replace(plan.repair, error=failed[host].message if host in failed else "") for host, plan in plans.items()
    )


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"
