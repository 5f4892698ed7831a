"""The last step of a change: its record, sealed once and written on every host that it concerns (A9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from playbooks.core.errors import SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import heads_of
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.remote import Remote
from playbooks.ledger.keys import SIGNING
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.rollout import HostState
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Finished, finish


def sealed(env: Environment, owner: LockOwner, outcome: Outcome, facts: Mapping[str, Facts]) -> dict[str, Any]:
    """The record of what was done, the same for every host: one signature.

    Args:
        env: the environment.
        owner: the task.
        outcome: its result.
        facts: of the hosts that it has read: the last lines of their ledgers go into the record.

    Raises:
        ValueError: records of this task are not signed, which `SIGNING` says.
    """
    if owner.task not in SIGNING:
        raise ValueError(f"nobody would sign the record of {owner.task}")
    document = env.secrets.mask_document(outcome.record())
    return env.signing.seal(owner).record(document, heads_of(facts))


def write_down(
    fleet: Fleet, env: Environment, step: str, hosts: Sequence[str], one: Callable[[Remote], Finished]
) -> Mapping[str, SlipwayError]:
    """Write a record on hosts, and remember on this machine the line that it has in each ledger.

    Args:
        fleet: the open sessions.
        env: the environment.
        step: what it is called.
        hosts: names.
        one: writes it on one host.

    Returns:
        Why it could not be written, by host.

    Raises:
        Interrupted: Ctrl-C.
    """
    results = fleet.each(step, one, hosts=hosts, finish=True)
    written = {host: done.head for host, done in results.ok.items() if done.head is not None}
    env.heads.keep({host: (fleet.remotes[host].session.machine, head) for host, head in written.items()})
    return results.failed


def naming(outcome: Outcome, facts: Mapping[str, Facts]) -> Outcome:
    """Return the result of a task that changes no host with the hosts that get its record: it is valid on those alone.

    Args:
        outcome: the result; if it names hosts, it stays as it is.
        facts: of the hosts that get the record.
    """
    hosts = (HostOutcome(host, fact.version, fact.version, HostState.UNTOUCHED) for host, fact in facts.items())
    return outcome if outcome.hosts else replace(outcome, hosts=tuple(hosts))


def record_alone(
    fleet: Fleet, env: Environment, owner: LockOwner, outcome: Outcome, facts: Mapping[str, Facts]
) -> dict[str, str]:
    """Record in the ledgers what was done without marking a release or moving a guard.

    Args:
        fleet: the open sessions.
        env: the environment.
        owner: the task.
        outcome: its result.
        facts: of the hosts that get the record.

    Returns:
        Why the record could not be written, by host.
    """
    document = sealed(env, owner, naming(outcome, facts), facts)

    def one(remote: Remote) -> Finished:
        return finish(remote, env.target(remote.name).settings, document)

    failed = write_down(fleet, env, "record", list(facts), one)
    return {host: error.message for host, error in failed.items()}
