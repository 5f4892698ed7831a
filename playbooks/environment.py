"""An environment: its inventory, settings and secrets, read and validated before any host is touched (E1)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from playbooks.adapters.secrets import Secrets
from playbooks.errors import ConfigError, UsageError
from playbooks.fleet.address import Address, read_address
from playbooks.fleet.holder import Holder, Order, Timing
from playbooks.fleet.inventory import TRUSTED, Fence, Inventory, load_inventory, select
from playbooks.fleet.inventory import limit as narrow
from playbooks.ledger.heads import Heads, heads_path
from playbooks.ledger.keys import Signing
from playbooks.settings import Settings
from playbooks.settings.load import PREFIX, read_settings
from playbooks.withheld import Withheld

# Settings that say how the whole fleet is handled: hosts may not differ in them. Of a section a part may be.
FLEET_WIDE = (
    "app",
    "hosts",
    "production",
    "artifact",
    "slots",
    "groups",
    "pull",
    "guard",
    "rollout",
    "databases",
    "balancer",
    "metrics",
    "secrets",
    "ledger",
    "forks",
    "timeouts",
    "warm_up",
    "deltas",
    "backup.enabled",
    "backup.after_deploy",
    "backup.max_age",
)


@dataclass(frozen=True)
class Target:
    """One host with all that is known of it beforehand."""

    name: str
    settings: Settings
    address: Address
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Environment:
    """What a task works on.

    Args:
        name: e.g. "staging".
        folder: the inventory's folder.
        project: the project's folder, for templates and artifacts.
        inventory: all hosts, the application's and others.
        targets: the application's hosts, after --limit, in inventory order.
        settings: what holds for the whole fleet, read off the first host.
        secrets: by name, fetched at their first use.
        signing: signs its records.
        heads: the ledgers' last lines that this machine has seen.
        limit: the --limit that narrowed the hosts.
        flag: the flag that names it, to be typed again.
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
    flag: str = ""

    @property
    def limited(self) -> bool:
        """Whether --limit narrowed the hosts."""
        return self.limit is not None

    @property
    def about(self) -> str:
        """What a task is about to work on, for a person who may have named the wrong one."""
        hosts = "1 host" if len(self.targets) == 1 else f"{len(self.targets)} hosts"
        return f"{self.settings.app} on {self.name}: {hosts}" + (", narrowed by --limit" if self.limited else "")

    def narrowed(self, limit: str) -> Environment:
        """The same with fewer hosts.

        Args:
            limit: as --limit.

        Raises:
            UsageError: it names something unknown, or no host is left.
        """
        names = narrow(self.inventory, limit, within=_application(self.inventory))
        targets = tuple(target for target in self.targets if target.name in names)
        if not targets:
            raise UsageError(
                f"no host is left by --limit '{limit}'", hint=f"see the hosts: invoke inventory {self.flag}"
            )
        return replace(self, targets=targets, limit=limit)

    def target(self, name: str) -> Target:
        """Any host of the inventory with its settings.

        Raises:
            ConfigError: its settings are wrong.
        """
        for target in self.targets:
            if target.name == name:
                return target
        return _targets(self.inventory, [name])[0]

    def orders(
        self, names: Iterable[str], holder: Holder, *, wait: float, undo: bool = False, inside: str = ""
    ) -> dict[str, Order]:
        """How the lock is to be taken on each of these hosts.

        Args:
            names: the hosts.
            holder: who we are.
            wait: seconds to wait for another holder.
            undo: see `Order`.
            inside: another lock than the application's own: a folder in its state folder.

        Raises:
            UsageError: the key that signs the task's records does not.
        """
        settings = {name: self.target(name).settings for name in names}
        timing = Timing(self.settings.guard.timeout)
        seal, epitaph = self.signing.seal(holder), holder.epitaph(self.name)

        def order(name: str, each: Settings) -> Order:
            said = json.dumps(seal.left_to(name, epitaph), ensure_ascii=False)
            return Order(f"{each.state}{inside}", each.home, holder, said, timing, wait, undo)

        return {name: order(name, each) for name, each in settings.items()}

    def select(self, pattern: str) -> list[str]:
        """Names of the hosts that a pattern matches.

        Raises:
            UsageError: it matches none, or names something unknown.
        """
        return select(self.inventory, pattern)

    def runs_on(self, target: Target, pattern: str | None) -> bool:
        """Whether a service or file with this ``hosts`` pattern belongs on a host."""
        return pattern is None or target.name in self.select(pattern)

    @property
    def database_hosts(self) -> dict[str, list[str]]:
        """Names of the application's databases by the host that dumps them.

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


def load_environment(env: str, project: Path, *, limit: str | None = None, fence: Fence = TRUSTED) -> Environment:
    """Read an environment. Touches no host and fetches no secret.

    Args:
        env: a name under inventory/, or a path to an inventory.
        project: the project's folder.
        limit: a host pattern that narrows the application's hosts.
        fence: what may be read; one that is closed withholds secrets, too.

    Raises:
        UsageError: there is no such environment, or no host is left.
        ConfigError: the inventory or the settings are wrong; all mistakes at once.
    """
    inventory = load_inventory(env, project, fence=fence)
    if not inventory.hosts:
        raise UsageError(
            f"{inventory.source} names no host", hint="an inventory is a folder with a hosts.yml: see docs/inventory.md"
        )
    pattern = _application(inventory)
    names = select(inventory, pattern)
    if limit is not None:
        names = narrow(inventory, limit, within=pattern)
    if not names:
        raise UsageError(
            f"no host is left: {PREFIX}hosts is '{pattern}'" + (f" and --limit '{limit}'" if limit else ""),
            hint=f"see the hosts: invoke inventory --env={env}",
        )
    targets = _targets(inventory, names)
    _refuse_differences(inventory, targets)
    settings = targets[0].settings
    name = _name(env, inventory)
    secrets = Secrets(settings.secrets, project) if fence.trusts else Withheld(settings.secrets, project)
    inventory.vars_files.vault.tell(secrets.strike)
    return Environment(
        name=name,
        folder=inventory.folder,
        project=project,
        inventory=inventory,
        targets=tuple(targets),
        settings=settings,
        secrets=secrets,
        signing=Signing(settings.ledger, secrets, environment=name, application=settings.app),
        heads=Heads(heads_path(settings.app, name, inventory.folder)),
        limit=limit,
        flag=f"--env={shlex.quote(env)}",
    )


def _name(env: str, inventory: Inventory) -> str:
    """An environment's name, the same however its inventory is named: records are signed for it."""
    if "/" not in env:
        return env
    stem = Path(env).stem
    return inventory.folder.resolve().name if stem == "hosts" and inventory.source.is_file() else stem


def _application(inventory: Inventory) -> str:
    """The pattern of the application's hosts."""
    return str(_first_value(inventory, "hosts") or "all")


def _first_value(inventory: Inventory, key: str) -> object:
    for name in inventory.hosts:
        value = inventory.resolved_vars(name).get(PREFIX + key)
        if value is not None:
            return value
    return None


def _targets(inventory: Inventory, names: Sequence[str]) -> list[Target]:
    problems: dict[str, None] = {}
    targets = []
    for name in names:
        variables = inventory.resolved_vars(name)
        try:
            settings, mistakes = read_settings(
                variables.starting_with(PREFIX), partial(inventory.origin, name), variables.is_secret
            )
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
            continue
        problems.update(dict.fromkeys(mistakes))
        if settings is None:
            continue
        try:
            address = read_address(
                name, variables, connect_timeout=settings.timeouts.connect, at_home=inventory.fence.trusts
            )
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
            continue
        targets.append(Target(name, settings, address, variables))
    if problems:
        raise ConfigError(list(problems), hint="every setting is described in docs/settings.md")
    return targets


def _refuse_differences(inventory: Inventory, targets: Sequence[Target]) -> None:
    first = targets[0]
    problems = []
    for key in FLEET_WIDE:
        value = attrgetter(key)
        top, *inside = key.split(".")

        differing = [other.name for other in targets[1:] if value(other.settings) != value(first.settings)]
        if not differing:
            continue
        places = [
            f"{name} ({inventory.origin(name, PREFIX + top, *inside) or 'by default'})"
            for name in (first.name, differing[0])
        ]
        problems.append(f"{PREFIX}{key} differs between {' and '.join(places)}; it must be the same for every host")
    if problems:
        raise ConfigError(problems)
