"""Whether balancers know every server; a missing provision is found before a host changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from playbooks.core.errors import StepFailed
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.steps.traffic import HINTS, Server
from playbooks.steps.traffic_state import BalancerState
from playbooks.traffic.servers import default_weights

# An address that a balancer keeps as it is written; a name it may have resolved.
NUMERIC = re.compile(r"[0-9.]+|.*:.*")


def lacking(state: BalancerState, servers: Sequence[Server]) -> list[str]:
    """What provision must still tell a balancer, as sentences; none if it knows every server at its address.

    Args:
        state: the balancer's.
        servers: the application's.
    """
    missing = [server.name for server in servers if server.name not in state.servers]
    told = [f"the balancer has no server {', '.join(missing)}"] if missing else []
    for server in servers:
        known = state.servers.get(server.name)
        if known is None:
            continue
        moved = known.address != server.address and NUMERIC.fullmatch(server.address)
        if moved or known.port != server.port:
            has, wanted = f"{known.address}:{known.port}", f"{server.address}:{server.port}"
            told.append(f"the balancer has {server.name} at {has}, expected {wanted}")
    return told


def left_behind(state: BalancerState, servers: Sequence[Server]) -> list[str]:
    """Where clients are served now, if provision would make a balancer stop asking there; else empty.

    Args:
        state: the balancer's before provision.
        servers: the application's.
    """
    served = {(one.address, one.port) for one in state.servers.values() if one.on and one.up is True}
    stays = served & {(server.address, server.port) for server in servers}
    return [] if stays else sorted(f"{address}:{port}" for address, port in served)


def unprovisioned(env: Environment, states: Sequence[BalancerState]) -> dict[str, list[str]]:
    """By balancer, what provision must still tell it; balancers that know everything are left out.

    Args:
        env: the environment.
        states: the balancers'.
    """
    servers = [share.server for share in default_weights(env)]
    found = {state.host: lacking(state, servers) for state in states}
    return {host: told for host, told in found.items() if told}


def require_registered(env: Environment, states: Sequence[BalancerState]) -> None:
    """Refuse to begin if a balancer does not know a server.

    Raises:
        StepFailed: it does not know a server, or has it elsewhere.
    """
    for host, told in unprovisioned(env, states).items():
        message = f"{'; '.join(told)}. No host was switched"
        raise StepFailed(
            message, host=host, step="balancer", code=StepCode.UNKNOWN_SERVER, hint=HINTS[StepCode.UNKNOWN_SERVER]
        )
