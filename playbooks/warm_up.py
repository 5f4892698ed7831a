"""Warm up every host (G3): each host requests the pages of slipway_warm_up from itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from playbooks.core.errors import ConfigError, ExitStatus
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.settings.load import PREFIX
from playbooks.steps.warm_up import Warmed, read_warm_up, warm_up_call
from playbooks.traffic.servers import server_of


@dataclass(frozen=True)
class WarmedUp:
    """The result of warming up all hosts."""

    schema: ClassVar[str] = "slipway.warm-up/1"
    environment: str
    hosts: tuple[Warmed, ...]

    @property
    def exit_status(self) -> ExitStatus:
        """Return 1 if a page failed."""
        return ExitStatus.FAILED if any(host.problem for host in self.hosts) else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        hosts = [host.to_json() for host in self.hosts]
        return {"environment": self.environment, "hosts": hosts, "exit_status": int(self.exit_status)}


def warm_up(env: Environment, progress: Progress) -> WarmedUp:
    """Let every host request its pages.

    Raises:
        ConfigError: no pages are set.
        SlipwayError: a host is unreachable.
    """
    pages = env.settings.warm_up
    if pages is None:
        raise ConfigError(
            [f"{PREFIX}warm_up is not set"], hint='e.g. slipway_warm_up: {urls: ["http://127.0.0.1:{port}/"]}'
        )

    def one(remote: Remote) -> Warmed:
        slot = facts_of(env, remote).slot if env.settings.slots else None
        (answer,) = remote.chain([warm_up_call(pages, server_of(env, remote.name, slot).port)])
        return read_warm_up(answer)

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        fleet.require_all()
        results = fleet.each("warm-up", one).all_or_raise("warming up")
    return WarmedUp(env.name, tuple(results[target.name] for target in env.targets))
