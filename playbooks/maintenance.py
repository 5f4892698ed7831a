"""Show clients the maintenance page, or the application again (G2), on all balancers at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from playbooks.core.answer import Answer
from playbooks.core.clock import instant, now
from playbooks.core.errors import ConfigError, ExitStatus, SlipwayError
from playbooks.core.names import stamp
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.lock_requests import lock_requests
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.settings.load import PREFIX
from playbooks.steps.traffic_state import maintenance_call, read_maintenance


@dataclass(frozen=True)
class Maintenance(Answer):
    """What clients see now.

    Args:
        on: whether clients see the maintenance page.
        changed: whether the page changed, by balancer.
    """

    schema: ClassVar[str] = "slipway.maintenance/1"
    on: bool
    changed: Mapping[str, bool]


def maintenance(env: Environment, progress: Progress, *, on: bool, wait: float = 0.0) -> Maintenance:
    """Begin or end maintenance. It is safe to repeat.

    Args:
        env: whose balancers.
        progress: receives what to show a person.
        on: whether to show the page or the application.
        wait: seconds to wait for another task.

    Raises:
        ConfigError: there is no balancer.
        Locked: another task runs on a balancer.
        SlipwayError: a balancer failed; the others have changed.
    """
    balancer = env.settings.balancer
    if balancer is None:
        raise ConfigError(
            [f"{PREFIX}balancer is not set: there is nothing that could show the page"],
            hint="see docs/balancers.md",
        )
    names = env.select(balancer.hosts)
    started = now()
    what = f"maintenance {'on' if on else 'off'}"
    owner = LockOwner(who(), what, instant(started), stamp(started), "maintenance")

    def act(remote: Remote) -> bool:
        ask = maintenance_call(balancer, env.target(remote.name).settings, on=on)
        (answer,) = remote.chain([ask])
        return read_maintenance(answer)

    with open_fleet(
        [env.target(name).address for name in names], progress=progress, forks=env.settings.forks, acts=True
    ) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        # An unreachable balancer must not keep the others from showing the page.
        with fleet.lock(lock_requests(env, fleet.remotes, owner, wait=wait)) as held:
            changed = fleet.each("maintenance", act).all_or_raise("maintenance")
            held.succeeded = True
        try:
            fleet.require_all()
        except SlipwayError as missing:
            missing.exit_status = ExitStatus.PERSON_NEEDED
            done = f"{what} is done on {', '.join(changed)}"
            missing.hint = f"{done}; once the others are back: invoke maintenance {env.flag} --{what.split()[1]}"
            raise
    return Maintenance(env.name, on, dict(changed))
