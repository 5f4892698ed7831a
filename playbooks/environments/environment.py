"""The inventory, settings and secrets that a task works with; environments/load.py reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.counting import counted
from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.targets import Target, hosts_pattern, read_targets
from playbooks.inventory import Inventory, select
from playbooks.inventory import limit as narrow
from playbooks.ledger.heads import Heads
from playbooks.ledger.keys import Signing
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX


@dataclass(frozen=True)
class Environment:
    """The inventory, settings and secrets that a task works with.

    Args:
        name: e.g. "staging".
        folder: the inventory's folder.
        project: the project's folder, for templates and artifacts.
        inventory: all hosts, also those of other applications.
        targets: the application's hosts, after --limit, in inventory order.
        settings: the settings of the whole fleet, taken from the first host.
        secrets: the secrets by name, fetched at their first use.
        signing: signs the environment's records.
        heads: the last lines of ledgers that this machine has seen.
        limit: the --limit that narrowed the hosts.
        narrowed_by: the flags that narrowed the hosts.
        flag: the flags that name the environment, for commands in messages.
        applications: the names of the inventory's applications; none if it has a single one by ``slipway_app``.
        together: whether it stands for all applications; see `together`.
    """

    name: str
    folder: Path
    project: Path
    inventory: Inventory
    targets: tuple[Target, ...]
    settings: Settings
    secrets: Secrets
    signing: Signing
    heads: Heads
    limit: str | None = None
    narrowed_by: str = "--limit"
    flag: str = ""
    applications: tuple[str, ...] = ()
    together: bool = False

    @property
    def title(self) -> str:
        """Return its name, with the application's name if there are several."""
        return f"{self.settings.app} on {self.name}" if len(self.applications) > 1 else self.name

    @property
    def limited(self) -> bool:
        """Whether --limit narrowed the hosts."""
        return self.limit is not None

    @property
    def about(self) -> str:
        """Describe the environment, for a person who may have named the wrong one."""
        hosts = counted(len(self.targets), "host")
        whose = ", ".join(self.applications) if self.together else self.settings.app
        return f"{whose} on {self.name}: {hosts}" + (f", narrowed by {self.narrowed_by}" if self.limited else "")

    def narrowed(self, limit: str) -> Environment:
        """Return the same environment with fewer hosts.

        Args:
            limit: a host pattern, as for --limit.

        Raises:
            UsageError: the pattern names something unknown, or no host is left.
        """
        names = narrow(self.inventory, limit, within=hosts_pattern(self.inventory))
        targets = tuple(target for target in self.targets if target.name in names)
        if not targets:
            raise UsageError(
                f"no host is left by --limit '{limit}'", hint=f"see the hosts: invoke inventory {self.flag}"
            )
        return replace(self, targets=targets, limit=limit)

    @property
    def _named(self) -> str | None:
        return self.settings.app if self.applications else None

    def target(self, name: str) -> Target:
        """Return any host of the inventory with its settings.

        Raises:
            ConfigError: its settings are wrong.
        """
        for target in self.targets:
            if target.name == name:
                return target
        return read_targets(self.inventory, [name], chosen=False, app=self._named)[0]

    def select(self, pattern: str) -> list[str]:
        """Return the names of the hosts that a pattern matches.

        Raises:
            UsageError: the pattern matches no host, or names something unknown.
        """
        return select(self.inventory, pattern)

    def runs_on(self, target: Target, pattern: str | None) -> bool:
        """Whether a service or file with this ``hosts`` pattern belongs on a host."""
        return pattern is None or target.name in self.select(pattern)

    @property
    def database_hosts(self) -> dict[str, list[str]]:
        """Return the names of the application's databases, by the host that dumps them.

        Raises:
            ConfigError: a pattern does not name exactly one host.
        """
        found: dict[str, list[str]] = {}
        for index, database in enumerate(self.settings.databases):
            names = self.select(database.via)
            if len(names) != 1:
                key = f"{PREFIX}databases[{index}].via"
                raise ConfigError([f"{key}: '{database.via}' is {len(names)} hosts, expected exactly one"])
            found.setdefault(names[0], []).append(database.name)
        return found
