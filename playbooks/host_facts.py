"""What hosts have and run, read from where an environment's settings say that it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TypeVar

from playbooks.environment import Environment, Target
from playbooks.errors import SlipwayError
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet, Held
from playbooks.fleet.remote import Remote
from playbooks.steps.facts import Facts, read_facts

T = TypeVar("T")


def facts_of(env: Environment, remote: Remote) -> Facts:
    """One host's facts.

    Raises:
        SlipwayError: they could not be read.
    """
    settings = env.target(remote.name).settings
    facts = read_facts(remote, settings.home, settings.state, seen=env.heads.known(remote.name, remote.session.machine))
    if facts.cut:
        remote.progress.warn(
            f"{remote.name}: its history was cut off or rewritten: {facts.cut}, is gone from it. "
            f"See: invoke history {env.flag} --verify"
        )
    return facts


def heads_of(facts: Mapping[str, Facts]) -> dict[str, str]:
    """The ledgers' last lines, by host, as far as they are whole."""
    return {host: fact.tip for host, fact in facts.items() if fact.tip is not None}


def read_all(fleet: Fleet, env: Environment, targets: Iterable[Target]) -> Mapping[str, Facts]:
    """The facts of these hosts, by name. What one of them says that cannot be is told, and left out.

    Raises:
        SlipwayError: one could not be read.
    """
    hosts = [target.name for target in targets]
    facts = all_or_hint(env, fleet.each("facts", partial(facts_of, env), hosts=hosts), "reading facts")
    for sentence in odd(facts):
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


def read_changed(fleet: Fleet, env: Environment, facts: Mapping[str, Facts], held: Held) -> Mapping[str, Facts]:
    """What was read before the lock was had, and what somebody has changed since, read anew: now nobody else can.

    Args:
        facts: by host.
        held: the lock of each of them.

    Raises:
        SlipwayError: one could not be read.
    """
    tokens = held.tokens
    changed = [env.target(host) for host, fact in facts.items() if not fact.holds_for(tokens[host])]
    return {**facts, **read_all(fleet, env, changed)}
