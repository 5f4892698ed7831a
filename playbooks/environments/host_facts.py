"""What hosts have and run, read from the places that an environment's settings name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from playbooks.core.errors import ANY_ENV, SlipwayError
from playbooks.environments.environment import Environment, Target
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet, HeldLocks
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.steps.drift import Drift, ask_drift, read_drift
from playbooks.steps.facts import LOST_SENTENCES, Facts, ask_facts, facts_in

T = TypeVar("T")


def facts_of(env: Environment, remote: Remote, *, drift: bool = False) -> Facts:
    """One host's facts.

    Args:
        env: settings.
        remote: the host.
        drift: whether to look, in the same round trip, for what was changed there by hand.

    Raises:
        SlipwayError: they could not be read.
    """
    settings = env.target(remote.name).settings
    seen = env.heads.known(remote.name, remote.session.machine)
    asks = [ask_facts(settings.home, settings.state, seen=seen), *([ask_drift(settings)] if drift else [])]
    answer, *more = remote.chain(asks)
    facts = facts_in(answer, settings.home, seen=seen)
    if more:
        facts = replace(facts, drift=read_drift(more[0]))
    if facts.cut:
        remote.progress.warn(
            f"{remote.name}: its history was cut off or rewritten: {facts.cut}, is gone from it. "
            f"See: invoke history {env.flag} --verify"
        )
    return facts


def heads_of(facts: Mapping[str, Facts]) -> dict[str, str]:
    """The ledgers' last lines, by host, as far as they are whole."""
    return {host: fact.tip for host, fact in facts.items() if fact.tip is not None}


def read_all(fleet: Fleet, env: Environment, targets: Iterable[Target], *, drift: bool = False) -> Mapping[str, Facts]:
    """The facts of these hosts, by name. What one of them says that cannot be is told, and left out.

    Args:
        fleet: open sessions.
        env: settings.
        targets: the hosts.
        drift: see `facts_of`; what was changed is told.

    Raises:
        SlipwayError: one could not be read.
    """
    hosts = [target.name for target in targets]
    facts = all_or_hint(env, fleet.each("facts", partial(facts_of, env, drift=drift), hosts=hosts), "reading facts")
    for sentence in [*odd(facts), *drifted(facts)]:
        fleet.progress.warn(sentence)
    return facts


def all_or_hint(env: Environment, results: Results[T], doing: str) -> Mapping[str, T]:
    """What every host answered; where some did not, the error says how to go on without them.

    Args:
        env: settings.
        results: by host.
        doing: for the message.

    Raises:
        SlipwayError: one host failed, or more.
    """
    try:
        return results.all_or_raise(doing)
    except SlipwayError as error:
        # Traffic moves from one whole group of hosts to the other.
        if results.ok and not env.settings.groups:
            others = ":".join(["all", *(f"!{host}" for host in results.failed)])
            way_on = f"--limit='{others}' leaves {', '.join(results.failed)} out"
            error.hint = f"{error.hint}; {way_on}" if error.hint else way_on
        raise


def odd(facts: Mapping[str, Facts]) -> list[str]:
    """What hosts say that cannot be, as sentences.

    Args:
        facts: by host.
    """
    return [f"{host}: {sentence}" for host, fact in facts.items() for sentence in fact.odd]


def drifted(facts: Mapping[str, Facts]) -> list[str]:
    """What was changed by hand, as sentences.

    Args:
        facts: by host.
    """
    return [
        f"{host}: what runs is not as it was deployed ({fact.drift}); {_taken(fact.drift)}. invoke drift {ANY_ENV} "
        "shows all of it"
        for host, fact in facts.items()
        if fact.drift
    ]


def as_left(facts: Mapping[str, Facts], replaced: Collection[str]) -> dict[str, Facts]:
    """What was read before a deploy, without what is no longer so since other releases run.

    Args:
        facts: by host, from before.
        replaced: the hosts that run what was deployed.
    """
    return {
        host: replace(
            fact,
            drift=fact.drift.beside(fact.slot) if fact.drift else None,
            odd=fact.odd[LOST_SENTENCES:] if fact.lost else fact.odd,
        )
        if host in replaced
        else fact
        for host, fact in facts.items()
    }


def _taken(drift: Drift) -> str:
    """What tasks make of what was changed by hand."""
    if drift.spoils:
        return "backups take it as it is, and no rollback goes back to it like that"
    return "a deploy leaves that as it is" if not drift.is_mended_by_deploy else "the next deploy leaves that behind"


def read_changed(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], held: HeldLocks, *, drift: bool = False
) -> Mapping[str, Facts]:
    """What was read before the lock was had, and what somebody has changed since, read anew: now nobody else can.

    Args:
        facts: by host.
        held: the lock of each of them.
        drift: see `facts_of`.

    Raises:
        SlipwayError: one could not be read.
    """
    tokens = held.tokens
    changed = [env.target(host) for host, fact in facts.items() if not fact.holds_for(tokens[host])]
    return {**facts, **read_all(fleet, env, changed, drift=drift)}


def interrupted(facts: Mapping[str, Facts]) -> LockOwner | None:
    """The task that ended without a word: the one that most hosts tell of, of those the latest."""
    holders = Counter(fact.interrupted for fact in facts.values() if fact.interrupted)
    return max(holders, key=lambda holder: (holders[holder], holder.since), default=None)
