"""Repair ledgers from the other hosts' copies (A9). It overwrites nothing, and records the repair.

It copies a record that a signer has signed, and one that most of its hosts have alike. Any other record waits for a
person, who accepts or rejects it by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.core.names import stamp
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.ledger.index import RecordKey, key_of
from playbooks.ledger.proof import tell_all
from playbooks.ledger.seal import NO_LINE, digest
from playbooks.steps.ledger import LedgerReading
from playbooks.steps.ledger_repair import Repair
from playbooks.verify_history import Audit, VerifiedHistory

SHORT = 12  # digits of a digest that identify a record, but not to accept it: a host can make two with the same
# How many digests fit into one record, which is one argument of a script.
MAX_ACCEPTED = 1500
MAX_ASKED = 1000  # records of a host that a person is asked about at once


@dataclass(frozen=True)
class Question:
    """A record that a person must judge before it is copied.

    Args:
        id, task: the id and task that it names.
        digest: the hash of its content, which identifies it if another record has the same id.
        hosts: the hosts on which it is in question.
        said: its content.
        why: why it is in question.
    """

    id: str
    task: str
    digest: str
    hosts: tuple[str, ...]
    said: str
    why: str

    def __str__(self) -> str:
        return f"{', '.join(self.hosts)}: {self.task} {self.id} [{self.digest}]: {self.why}. It says: {self.said}"


@dataclass(frozen=True)
class HostRepair:
    """The repair of a host's ledger.

    Args:
        copied: how many records are copied, by source host.
        kept: the file name of the old ledger if a new one begins; empty if it continues.
        left: how many records are only in that file.
        closes: whether a torn last line is closed.
        error: why the repair failed.
        accepted: how many records in question the repair records as accepted.
        gone: whether the repair records that lines named by signed records are lost.
    """

    host: str
    copied: dict[str, int]
    kept: str = ""
    left: int = 0
    closes: bool = False
    error: str = ""
    accepted: int = 0
    gone: bool = False

    @property
    def is_anew(self) -> bool:
        """Return whether earlier heads of the ledger do not apply any more."""
        return bool(self.kept) or self.gone

    def __str__(self) -> str:
        """Return a sentence."""
        done = [f"{_records(count)} from {donor}" for donor, count in self.copied.items() if donor != self.host]
        if self.kept:
            done.insert(0, f"a new ledger was begun, the old one is kept as {self.kept}")
        if own := self.copied.get(self.host):
            done.append(f"{_records(own)} of its own kept")
        if self.left:
            done.append(f"{_records(self.left)} stand only in {self.kept}")
        if self.closes:
            done.append("torn line closed")
        if self.accepted:
            done.append(f"{_records(self.accepted)} accepted")
        if self.gone:
            done.append("what was cut off is gone for good")
        return f"{self.host}: {', '.join(done)}"


@dataclass(frozen=True)
class RepairedHistory:
    """The repairs, and the result of verifying afterwards.

    Args:
        repairs: the repaired hosts.
        after: the verification of all hosts.
        questions: the records that wait for a person.
    """

    schema: ClassVar[str] = "slipway.repair-history/1"
    environment: str
    repairs: tuple[HostRepair, ...]
    after: VerifiedHistory
    questions: tuple[Question, ...] = ()

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if faults remain, which needs a person."""
        return self.after.exit_status

    @property
    def next(self) -> str:
        """Return what a person can do about records in question."""
        if not self.questions:
            return self.after.next
        name = self.questions[0].digest
        command = f"invoke history {self.after.flag} --repair"
        return (
            f"find out whether it was so; then {command} --accept={name}, "
            f"or --reject={name[:SHORT]}, which keeps the old file"
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "repairs": [asdict(repair) for repair in self.repairs],
            "questions": [asdict(question) for question in self.questions],
            **self.after.to_json(),
            "next": self.next,
        }


@dataclass(frozen=True)
class _Plan:
    """The records that a host gets, with their sources; its own, if its ledger begins anew."""

    repair: HostRepair
    wanted: Mapping[str, frozenset[RecordKey]]
    own: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class _Judgement:
    """A person's decisions: accepted digests, and rejected digests with their hosts."""

    accepted: frozenset[str] = frozenset()
    rejected: frozenset[tuple[str, str]] = frozenset()


@dataclass
class _Variant:
    """One content of a record in question."""

    record: Mapping[str, Any]
    hosts: list[str] = field(default_factory=list)
    why: str = ""


def repair_history(
    env: Environment,
    progress: Progress,
    *,
    wait: float = 0.0,
    accept: Sequence[str] = (),
    reject: Sequence[str] = (),
) -> RepairedHistory:
    """Give every host the records that it lacks and others have; begin a tampered ledger anew.

    Args:
        env: the environment.
        progress: receives what to show a person.
        wait: seconds to wait for another task's lock.
        accept: records in question by their whole digest: between a look and its answer, a host can put other
            content behind an id.
        reject: records in question, by id or by the shown digest.

    Raises:
        Locked: a deploy is running, and its records may not be written yet.
        UsageError: a name matches no record in question, or several; or the repair cannot be signed.
    """
    moment = now()
    env.signing.prepare(progress.warn)
    owner = LockOwner(who(), "history --repair", instant(moment), stamp(moment), "repair")
    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        with fleet.lock(lock_requests(env, fleet.remotes, owner, wait=wait)):
            audit = Audit(fleet, env)
            audit.read()
            open_ = _in_question(fleet, env, audit)
            judgement = _judgement(open_, accept, reject)
            if judgement.accepted or judgement.rejected:
                audit = Audit(fleet, env, accepted=judgement.accepted, rejected=judgement.rejected)
                audit.read()
                open_ = _in_question(fleet, env, audit)
            plans = _plans(fleet, env, audit, moment, judgement)
            questions = _questions(open_, judgement)
            if not plans:
                return RepairedHistory(env.name, (), audit.verdict(), questions)
            repairs = _carry_out(fleet, env, audit, owner, plans, judgement)
            again = Audit(fleet, env)
            again.read()
            again.remember(again.readings)
            return RepairedHistory(env.name, repairs, again.verdict(), questions)


def _in_question(fleet: Fleet, env: Environment, audit: Audit) -> dict[str, _Variant]:
    """Return unsigned records in question by digest, with a limit for each host."""
    why, alone = _doubts(audit)
    if not why and not alone:
        return {}
    wanted = {digest for _, digest in why}
    found: dict[str, _Variant] = {}
    for host in audit.readings:
        asked: set[str] = set()
        for record in LedgerReading(fleet.remotes[host], env.target(host).settings.state).records():
            name = digest(record).hex()
            reason = why.get((host, name)) or ("" if name in wanted else alone.get(key_of(record), ""))
            if reason and name not in asked and not audit.is_vouched(host, record, name):
                if len(asked) == MAX_ASKED:
                    fleet.progress.warn(
                        f"{host}: more than {MAX_ASKED} records are in question; judge these first, or keep its "
                        f"ledger as evidence and move it away: the others give {host} theirs"
                    )
                    break
                asked.add(name)
                found.setdefault(name, _Variant(record, why=reason)).hosts.append(host)
    return found


def _doubts(audit: Audit) -> tuple[dict[tuple[str, str], str], dict[RecordKey, str]]:
    """Return why records are in question: single ones by host and digest, and by key those that too few hosts share."""
    why: dict[tuple[str, str], str] = {}
    alone: dict[RecordKey, str] = {}
    apart = audit.tampered
    for host in audit.readings:
        for suspect in audit.proof.suspects(host):
            why[(host, suspect.digest)] = suspect.judged.why
        lacks = audit.census.lacks(host, apart=apart, anew=host in apart)
        few = [key for key in (*lacks.missing, *lacks.never_had) if not audit.census.is_firm(key, apart=apart)]
        for key in (*few, *audit.census.alone(host, apart=apart)):
            if held := audit.census.owners(key, apart=apart):
                disputed = audit.census.is_disputed(key, apart=apart)
                how = f"{', '.join(held)} tell it differently"
                alone[key] = f"nobody has signed it, and {how if disputed else _few(held)}"
    return why, alone


def _few(held: Sequence[str]) -> str:
    return f"of the hosts that it names only {', '.join(held)} has it"


def _judgement(open_: Mapping[str, _Variant], accept: Iterable[str], reject: Iterable[str]) -> _Judgement:
    for name in accept:
        if name not in open_:
            there = "; ".join(f"{variant.record.get('id')} [{one}]" for one, variant in open_.items()) or "none"
            raise UsageError(
                f"no record in question has the digest '{name}'; there is: {there}; nothing was touched",
                hint="a record is accepted by its whole digest, which stands for what you read of it, and not by its "
                "id, behind which its host can put other content; what each says now: history --repair",
            )
    accepted = frozenset(accept)
    rejected = frozenset(_named(open_, name) for name in reject)
    if both := accepted & rejected:
        raise UsageError(f"{min(both)[:SHORT]} is accepted and rejected at once; nothing was touched")
    return _Judgement(accepted, frozenset((host, name) for name in rejected for host in open_[name].hosts))


def _named(open_: Mapping[str, _Variant], name: str) -> str:
    """Return the digest of the record in question that a person names.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [one for one, variant in open_.items() if str(variant.record.get("id")) == name]
    found = found or [one for one in open_ if len(name) >= SHORT and one.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(one[:SHORT] for one in found)
        raise UsageError(f"several records in question are called '{name}'; name one of them: {several}")
    there = ", ".join(f"{variant.record.get('id')} [{one[:SHORT]}]" for one, variant in open_.items()) or "none"
    raise UsageError(f"no record in question is called '{name}'; there is: {there}; nothing was touched")


def _questions(open_: Mapping[str, _Variant], judgement: _Judgement) -> tuple[Question, ...]:
    return tuple(
        Question(
            str(variant.record.get("id", "")),
            str(variant.record.get("task", "")),
            name,
            tuple(variant.hosts),
            tell_all(variant.record),
            variant.why,
        )
        for name, variant in open_.items()
        if name not in judgement.accepted
    )


def _plans(fleet: Fleet, env: Environment, audit: Audit, moment: datetime, judgement: _Judgement) -> dict[str, _Plan]:
    plans = {}
    apart = audit.tampered
    for host, reading in audit.readings.items():
        tampered = host in apart
        sorted_out = not tampered and (audit.proof.replayed(host) or any(one == host for one, _ in judgement.rejected))
        lacks = audit.census.lacks(host, apart=apart, anew=tampered)
        wanted: dict[str, set[RecordKey]] = {}
        for key in (*lacks.missing, *lacks.never_had):
            if audit.census.is_firm(key, apart=apart):
                wanted.setdefault(audit.census.owners(key, apart=apart)[0], set()).add(key)
        accepted = audit.proof.standing_of(host, judgement.accepted)
        gone = bool(audit.proof.gone(host) or audit.cut(host))
        if not (wanted or reading.chain.faults or sorted_out or accepted or gone):
            continue
        own = _own(fleet, env, host, judgement.rejected) if sorted_out else []
        copied = {donor: len(keys) for donor, keys in wanted.items()} | ({host: len(own)} if own else {})
        repair = HostRepair(
            host,
            copied=copied,
            kept=f"ledger.tampered-{stamp(moment)}" if tampered or sorted_out else "",
            left=len(audit.census.only([host])) if tampered else 0,
            closes=bool(reading.chain.faults) and not tampered and not sorted_out,
            accepted=len(accepted),
            gone=gone,
        )
        plans[host] = _Plan(repair, {donor: frozenset(keys) for donor, keys in wanted.items()}, own)
    return plans


def _own(fleet: Fleet, env: Environment, host: str, rejected: Collection[tuple[str, str]]) -> list[Mapping[str, Any]]:
    """Return a host's records, each once, without rejected ones."""
    found: dict[str, Mapping[str, Any]] = {}
    for record in LedgerReading(fleet.remotes[host], env.target(host).settings.state).records():
        name = digest(record).hex()
        if (host, name) not in rejected:
            found.setdefault(name, record)
    return list(found.values())


def _carry_out(
    fleet: Fleet, env: Environment, audit: Audit, owner: LockOwner, plans: Mapping[str, _Plan], judgement: _Judgement
) -> tuple[HostRepair, ...]:
    document = {
        "task": "repair",
        "id": owner.id,
        "environment": env.name,
        "version": "",
        "status": TaskStatus.DONE,
        "message": "; ".join(str(plan.repair) for plan in plans.values()),
        "hosts": dict.fromkeys(plans, "repaired"),
        "started": owner.since,
        "by": owner.who,
        # A signed repair names the records that a person accepts, and the ledgers that lack lines others have seen.
        "accepted": _accepted(audit, plans, judgement),
        "anew": [host for host, plan in plans.items() if plan.repair.is_anew],
    }
    begun = {host for host, plan in plans.items() if plan.repair.kept}
    heads = {host: NO_LINE if host in begun else audit.head(host) for host in audit.readings}
    record = env.signing.seal(owner).record(document, heads)

    def one(remote: Remote) -> None:
        plan = plans[remote.name]
        repair = Repair(remote, env.target(remote.name).settings, record, aside=plan.repair.kept or None)
        for own in plan.own:
            repair.copy(own, remote.name)
        for donor, keys in plan.wanted.items():
            left = set(keys)
            for copy in LedgerReading(fleet.remotes[donor], env.target(donor).settings.state).records():
                # A record may occur twice, or another record may have the same key.
                key = key_of(copy)
                if key in left and audit.is_believed(donor, copy, key):
                    left.discard(key)
                    repair.copy(copy, donor)
        repair.flush()

    failed = fleet.each("repair", one, hosts=list(plans), finish=True).failed
    return tuple(
        replace(plan.repair, error=failed[host].message if host in failed else "") for host, plan in plans.items()
    )


def _accepted(audit: Audit, plans: Mapping[str, _Plan], judgement: _Judgement) -> list[str]:
    """Return the digests of accepted records, and of copied records from before signatures.

    Raises:
        UsageError: there are too many for one record.
    """
    found = set(judgement.accepted)
    if audit.proof.verifier.believes:
        anew = {host for host, plan in plans.items() if plan.repair.is_anew}
        known = audit.proof.legacy([host for host in audit.readings if host not in anew])
        for host in anew:
            plan = plans[host]
            if plan.own or not plan.repair.kept:
                found |= audit.proof.unsigned(host) - known
            copied = {audit.census.digest_of(key) for keys in plan.wanted.values() for key in keys}
            found |= copied - known - {""}
    if len(found) > MAX_ACCEPTED:
        raise UsageError(
            f"{len(found)} records from before signatures would have to be vouched for; {MAX_ACCEPTED} can be at once",
            hint="move that host's ledger away (it stays your evidence) and repair: the others give it theirs",
        )
    return sorted(found)


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"
