"""With which hosts a task continues, and what a person can do about those that cannot be reached."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks.core.errors import SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.fleet.fleet import Fleet
from playbooks.settings.load import PREFIX
from playbooks.traffic.servers import balancers_of


def reachable_targets(fleet: Fleet, env: Environment, tolerate: int) -> list[Target]:
    """The hosts to deploy to. A host that cannot be reached ends the deploy, unless the settings tolerate it.

    Args:
        fleet: the open sessions.
        env: the environment.
        tolerate: how many may be missing.

    Raises:
        SlipwayError: more are, or a balancer or database.
    """
    require_balancers(fleet, env)
    apps = {target.name for target in env.targets}
    if len(fleet.unreachable) > tolerate or set(fleet.unreachable) - apps:
        try:
            fleet.require_all()
        except SlipwayError as refused:
            way_on = f"; to deploy to the others: --limit='{without('all', fleet)}'"
            _hint(refused, "nothing was touched" + (way_on if set(fleet.unreachable) < apps else ""))
            raise
    for host, error in fleet.unreachable.items():
        fleet.progress.warn(f"{host} is left out and keeps what it runs: {error.message}")
    return [target for target in env.targets if target.name in fleet.remotes]


def require_balancers(fleet: Fleet, env: Environment) -> None:
    """Refuse to move traffic on some balancers only: the others would still send it to hosts that change.

    Raises:
        SlipwayError: one cannot be reached.
    """
    balancers = balancers_of(env)
    gone = [balancer for balancer in balancers if balancer in fleet.unreachable]
    if not gone or env.settings.balancer is None:
        return
    try:
        fleet.require_all()
    except SlipwayError as refused:
        others = without(env.settings.balancer.hosts, fleet, gone)
        way_on = f"; if no client uses {', '.join(gone)} any more, set {PREFIX}balancer.hosts to '{others}'"
        _hint(refused, "nothing was touched" + (way_on if len(gone) < len(balancers) else ""))
        raise


def without(pattern: str, fleet: Fleet, hosts: Sequence[str] = ()) -> str:
    """A pattern of all hosts except those that cannot be reached."""
    return ":".join([pattern, *(f"!{host}" for host in hosts or fleet.unreachable)])


def _hint(error: SlipwayError, text: str) -> None:
    error.hint = f"{error.hint}\n  → {text}" if error.hint else text
