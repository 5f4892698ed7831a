"""Why a balancer finds no server healthy: what its check gets, as a sentence, and what to do about it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from playbooks.core.errors import ANY_ENV, StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import Server, ServerWeight, host_asked
from playbooks.steps.traffic_probe import Probe, probe_call, read_probes
from playbooks.steps.traffic_state import BalancerState
from playbooks.traffic.readings import BalancerReadings

# Seconds between two looks, and after which a server is asked itself: some answers no waiting changes.
AGAIN, LASTING = 1.0, 2.0
PRODUCTS = {"haproxy": "HAProxy", "nginx": "nginx"}


@dataclass(frozen=True)
class Unserved:
    """What a person is told.

    Args:
        sentence: what the check gets.
        hint: what to do.
        lasting: whether waiting is in vain: a server that is only warming up answers otherwise.
    """

    sentence: str
    hint: str
    lasting: bool


def nobody(balancer: Balancer, state: BalancerState) -> str:
    """That a balancer has nobody to send clients to, as a sentence."""
    servers = [server for server in state.servers.values() if server.wanted or server.out]
    product = PRODUCTS[balancer.kind]
    if not servers:
        return f"nobody is served: {product} on {state.host} has no server enabled"
    return f"nobody is served: {product} on {state.host} has 0 of {len(servers)} servers up"


def probed(remote: Remote, balancer: Balancer, settings: Settings, server: Server) -> Unserved:
    """Ask a server as the balancer does.

    Raises:
        SlipwayError: it cannot be asked from there.
    """
    (probe,) = read_probes(next(remote.chain([probe_call(balancer, settings, [server])])))
    return explained(probe, balancer, settings, server)


def explained(probe: Probe, balancer: Balancer, settings: Settings, server: Server) -> Unserved:
    """What an answer to the balancer's check means.

    Args:
        probe: the answer.
        balancer: the balancer's settings.
        settings: of the balancer's host.
        server: who was asked.
    """
    host = host_asked(balancer, settings)
    asked = f"its check of {probe.server}, GET {balancer.health_path} with Host: {host},"
    if probe.status == 200:
        return Unserved(f"{asked} gets 200 now", f"invoke status {ANY_ENV}; if it is up by now, deploy again", False)
    text = f": {probe.text}" if probe.text else ""
    if not probe.status:
        where = f"http://{server.address}:{server.port}{balancer.health_path}"
        hint = f"see where it listens (not on loopback alone), the port, and firewalls; on that host: curl -i {where}"
        return Unserved(f"{asked} gets no answer{text}", hint, False)
    again = f"then invoke provision {ANY_ENV}, and deploy again"
    path = f"{PREFIX}balancer.health_path"
    if probe.status in (400, 421):
        hint = f"if it refuses that Host, set {PREFIX}balancer.health_host to a name that it accepts, {again}"
    elif probe.status in (404, 405, 410):
        hint = f"set {path} to a page that answers 200, {again}"
    elif probe.status < 400:
        hint = f"only 200 is up: set {path} to a page that does not redirect, {again}"
    elif probe.status in (401, 403):
        hint = f"set {path} to a page that needs no login and no other address, {again}"
    else:
        hint = f"the application says itself that it is not ready: look at its log on {probe.server}"
    return Unserved(f"{asked} gets status {probe.status}{text}", hint, probe.status < 500)


def find_unserved(
    readings: BalancerReadings, fleet: Fleet, env: Environment, shares: Sequence[ServerWeight], *, up: float
) -> StepFailed | None:
    """A balancer that has nobody to send clients to; None where all have somebody, or are to have nobody.

    Args:
        readings: reads the balancers.
        fleet: the open sessions.
        env: the environment.
        shares: what servers are to get.
        up: seconds that are waited for somebody to come up.
    """
    wanted = [share.server for share in shares if share.on and share.weight and not share.idle]
    balancer = env.settings.balancer
    if not wanted or balancer is None:
        return None
    began = time.monotonic()
    found: Unserved | None = None
    while alone := readings.balancers_without_servers():
        waited = time.monotonic() - began
        if waited >= min(LASTING, up):
            with contextlib.suppress(StepFailed):
                found = probed(fleet.remotes[alone[0]], balancer, env.target(alone[0]).settings, wanted[0])
            if found is None or found.lasting or waited >= up:
                break
        time.sleep(AGAIN)
        readings.refresh()
    if not alone:
        return None
    sentence = nobody(balancer, readings.states[alone[0]])
    told, hint = (f"{sentence}; {found.sentence}", found.hint) if found else (sentence, f"invoke traffic {ANY_ENV}")
    return StepFailed(told, host=alone[0], step="traffic", code=StepCode.UNSERVED, hint=hint)
