"""The balancers' hosts for status: problems with the traffic, and what a task has left there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial

from playbooks.core.errors import ANY_ENV, SlipwayError, StepFailed
from playbooks.core.states import GuardState
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.settings.traffic import Balancer
from playbooks.steps.certificate import Certificate, certificate_call, read_certificate
from playbooks.steps.facts import Facts
from playbooks.steps.traffic import Server
from playbooks.steps.traffic_state import BalancerState, read_state, state_call
from playbooks.traffic.groups import group_hosts, live_group
from playbooks.traffic.registration import unprovisioned
from playbooks.traffic.unserved import probed


@dataclass(frozen=True)
class BalancerStatus:
    """One balancer's host.

    Args:
        host: inventory name.
        balancer: what balances there, with its version.
        up, servers: how many servers are up and in use, of how many.
        maintenance: whether clients see the maintenance page.
        drift: what differs from what was last set, as sentences.
        guard: its guard, if one waits there, and why it could not do its work.
        guard_state: where that stands.
        problem: why it could not be looked at.
        hint: what to do about that.
        live: of two groups of hosts, the one that has the traffic here.
        certificate: what is wrong with its certificate; empty when nothing is, or it has none.
        turned_away: whether clients are turned away for it.
        lacks: what provision has not told it yet, as sentences.
        unserved: that it has nobody to send clients to, and why; empty where it has, or nothing is deployed.
    """

    host: str
    balancer: str = ""
    up: int = 0
    servers: int = 0
    maintenance: bool = False
    drift: tuple[str, ...] = ()
    guard: str | None = None
    problem: str = ""
    hint: str = ""
    live: str | None = None
    certificate: str = ""
    turned_away: bool = False
    lacks: tuple[str, ...] = ()
    unserved: str = ""
    guard_state: GuardState | None = None

    @property
    def needs_person(self) -> bool:
        """Whether nobody but a person can help it."""
        return bool(self.problem or self.lacks) or self.turned_away or self.guard_state == GuardState.STUCK

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        if self.problem:
            return self.problem
        parts = [
            f"{self.balancer}, {self.up} of {self.servers} servers in use",
            f"{self.live} has the traffic" if self.live else "",
            "clients see the MAINTENANCE page" if self.maintenance else "",
            self.certificate,
            self.unserved,
            *self.drift,
            *self.lacks,
            f"guard: {self.guard}" if self.guard else "",
        ]
        return "; ".join(part for part in parts if part)


def balancer_statuses(fleet: Fleet, env: Environment, balancers: tuple[str, ...]) -> tuple[BalancerStatus, ...]:
    """Look at the balancers' hosts; one that cannot be looked at is a line like the others.

    Args:
        fleet: open sessions with those that can be reached.
        env: the environment.
        balancers: their names.
    """
    there = [name for name in balancers if name in fleet.remotes]
    looked = fleet.each("balancer", partial(_look, env), hosts=there)
    failed: dict[str, SlipwayError] = {**fleet.unreachable, **looked.failed}
    return tuple(_failed(name, failed[name], env.flag) if name in failed else looked.ok[name] for name in balancers)


def _failed(name: str, error: SlipwayError, flag: str) -> BalancerStatus:
    problem, hint = (text.replace(ANY_ENV, flag) for text in (error.message, error.hint or ""))
    return BalancerStatus(name, problem=problem, hint=hint)


def _look(env: Environment, remote: Remote) -> BalancerStatus:
    balancer = env.settings.balancer
    assert balancer is not None  # there would be no balancer  # noqa: S101
    settings = env.target(remote.name).settings
    facts = facts_of(env, remote)
    tls = [certificate_call(balancer, balancer.tls, settings)] if balancer.tls else []
    answer, *certificates = remote.chain([state_call(balancer, settings), *tls])
    state = read_state(answer)
    certificate = read_certificate(certificates[0]) if certificates else Certificate()
    members = group_hosts(env)
    lacks = tuple(unprovisioned(env, [state]).get(state.host, ()))
    found = _status(state, facts, live_group(members, [state]) if members else None, certificate)
    unserved, hint = _unserved(env, remote, balancer, state) if state.servers and not found.up else ("", "")
    return replace(found, lacks=lacks, unserved=unserved, hint=hint)


def _unserved(env: Environment, remote: Remote, balancer: Balancer, state: BalancerState) -> tuple[str, str]:
    """That nobody is served, and why; what to do about it."""
    sentence, hint = "nobody is served", f"invoke traffic {env.flag}"
    meant = [one for one in state.servers.values() if one.wanted or one.out]
    if not meant:
        return f"{sentence}: no server is enabled", hint
    server = Server(meant[0].name, meant[0].address, meant[0].port)
    with contextlib.suppress(StepFailed):
        why = probed(remote, balancer, env.target(remote.name).settings, server)
        return f"{sentence}: {why.sentence}", why.hint.replace(ANY_ENV, env.flag)
    return sentence, hint


def _status(state: BalancerState, facts: Facts, live: str | None, certificate: Certificate) -> BalancerStatus:
    used = [one for one in state.servers.values() if one.serves]
    guard = facts.guard
    waits = f"{guard.state}: {guard.why}" if guard and guard.why else f"{guard.state}" if guard else None
    return BalancerStatus(
        host=state.host,
        balancer=state.version,
        up=len(used),
        servers=len(state.servers),
        maintenance=state.maintenance,
        drift=tuple(state.drift),
        guard=waits,
        guard_state=guard.state if guard else None,
        live=live,
        certificate=certificate.problem,
        turned_away=certificate.bad,
    )
