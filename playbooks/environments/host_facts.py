"""Read the facts of an environment's hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from playbooks.core.errors import ANY_ENV, SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet, HeldLocks
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.steps.drift import Drift, drift_call, read_drift
from playbooks.steps.facts import LOST_SENTENCES, Facts, facts_call, facts_in

T = TypeVar("T")


def facts_of(env: Environment, remote: Remote, *, drift: bool = False) -> Facts:
    """Read one host's facts.

    Args:
        env: the environment.
        remote: the host.
        drift: whether to look for changes by hand too, in the same round trip.

    Raises:
        SlipwayError: the facts cannot be read.
    """
    settings = env.target(remote.name).settings
    seen = env.heads.known(remote.name, remote.session.machine)
    asks = [facts_call(settings.home, settings.state, seen=seen), *([drift_call(settings)] if drift else [])]
    answer, *more = remote.chain(asks)
    facts = facts_in(answer, settings.home, seen=seen)
    if more:
        facts = replace(facts, drift=read_drift(more[0]))
    if facts.missing_record:
        remote.progress.warn(
            f"{remote.name}: its history was cut off or rewritten: {facts.missing_record}, is gone from it. "
            f"See: invoke history {env.flag} --verify"
        )
    return facts


def heads_of(facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return the ledgers' last lines by host, without torn ones."""
    return {host: fact.ledger_head for host, fact in facts.items() if fact.ledger_head is not None}


def read_all(fleet: Fleet, env: Environment, targets: Iterable[Target], *, drift: bool = False) -> Mapping[str, Facts]:
    """Read the facts of these hosts, by name. Invalid parts of an answer cause a warning and are left out.

    Args:
        fleet: the open sessions.
        env: the environment.
        targets: the hosts.
        drift: see `facts_of`; changes cause warnings.

    Raises:
        SlipwayError: a host's facts cannot be read.
    """
    hosts = [target.name for target in targets]
    facts = all_or_hint(env, fleet.each("facts", partial(facts_of, env, drift=drift), hosts=hosts), "reading facts")
    for sentence in [*odd(facts), *drifted(facts)]:
        fleet.progress.warn(sentence)
    return facts


def all_or_hint(env: Environment, results: Results[T], doing: str) -> Mapping[str, T]:
    """Return every host's answer. If hosts failed, the error says how to continue without them.

    Args:
        env: the environment.
        results: the results by host.
        doing: the action, for the message.

    Raises:
        SlipwayError: at least one host failed.
    """
    try:
        return results.all_or_raise(doing)
    except SlipwayError as error:
        # Traffic moves from a complete group of hosts to the other, so no host may be left out.
        if results.ok and not env.settings.groups:
            others = ":".join(["all", *(f"!{host}" for host in results.failed)])
            way_on = f"--limit='{others}' leaves {', '.join(results.failed)} out"
            error.hint = f"{error.hint}; {way_on}" if error.hint else way_on
        raise


def odd(facts: Mapping[str, Facts]) -> list[str]:
    """Return sentences about invalid parts of the hosts' answers.

    Args:
        facts: the facts by host.
    """
    return [f"{host}: {sentence}" for host, fact in facts.items() for sentence in fact.anomalies]


def drifted(facts: Mapping[str, Facts]) -> list[str]:
    """Return sentences about changes by hand.

    Args:
        facts: the facts by host.
    """
    return [
        f"{host}: what runs is not as it was deployed ({fact.drift}); {_taken(fact.drift)}. invoke drift {ANY_ENV} "
        "shows all of it"
        for host, fact in facts.items()
        if fact.drift
    ]


def facts_after_deploy(facts: Mapping[str, Facts], replaced: Collection[str]) -> dict[str, Facts]:
    """Return facts from before a deploy, without what the deploy has changed.

    Args:
        facts: the earlier facts by host.
        replaced: the hosts that run the deployed release.
    """
    return {
        host: replace(
            fact,
            drift=fact.drift.after_a_change(fact.slot) if fact.drift else None,
            anomalies=fact.anomalies[LOST_SENTENCES:] if fact.lost else fact.anomalies,
        )
        if host in replaced
        else fact
        for host, fact in facts.items()
    }


def _taken(drift: Drift) -> str:
    """Return what deploys, backups and rollbacks do about changes by hand."""
    if drift.spoils:
        return "backups take it as it is, and a rollback goes only to a release as it was deployed"
    return "a deploy does not change that" if not drift.is_mended_by_deploy else "the next deploy replaces it"


def read_changed(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], held: HeldLocks, *, drift: bool = False
) -> Mapping[str, Facts]:
    """Return facts from before the lock, and read those again that another task may have changed since.

    Args:
        facts: the facts by host.
        held: the hosts' locks.
        drift: see `facts_of`.

    Raises:
        SlipwayError: a host's facts cannot be read.
    """
    tokens = held.tokens
    changed = [env.target(host) for host, fact in facts.items() if not fact.holds_for(tokens[host])]
    return {**facts, **read_all(fleet, env, changed, drift=drift)}


def interrupted(facts: Mapping[str, Facts]) -> LockOwner | None:
    """Return the interrupted task that most hosts report; of several, the latest."""
    owners = Counter(fact.interrupted for fact in facts.values() if fact.interrupted)
    return max(owners, key=lambda owner: (owners[owner], owner.since), default=None)
