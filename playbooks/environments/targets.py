"""Read hosts with their settings and addresses out of an inventory, and report every mistake in them at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from playbooks.core.errors import ConfigError
from playbooks.environments.applications import VARIABLE
from playbooks.fleet.address import Address, NotBySsh, read_address
from playbooks.inventory import Inventory
from playbooks.inventory.document import Origin
from playbooks.settings import Settings
from playbooks.settings.fleet_wide import fleet_wide
from playbooks.settings.load import PREFIX, Before, read_settings

_NO_APP = f"{PREFIX}app is missing"


class NoSettings(ConfigError):
    """The inventory has no setting of Slipway yet.

    Args:
        inventory: the inventory; `missing` says which settings to write where.
    """

    code = "config.no-settings"

    def __init__(self, inventory: Inventory) -> None:
        to_begin = (
            f"to deploy, write {PREFIX}app: NAME into {_for_all(inventory)}, and what docs/settings.md describes; "
            f"{PREFIX}hosts: GROUP says there which hosts the application has"
        )
        source = str(Origin(inventory.source))
        named = shlex.quote(source if "/" in source else f"./{source}")
        nothing = f"{_NO_APP}: no host has a setting of Slipway"
        super().__init__([nothing], hint=f"{to_begin}. What there is: invoke inventory --env={named}")
        self.inventory = inventory
        self.missing = f"{nothing}. {to_begin[0].upper()}{to_begin[1:]}."


@dataclass(frozen=True)
class Target:
    """A host with its address and settings."""

    name: str
    settings: Settings
    address: Address
    variables: Mapping[str, Any]


def hosts_pattern(inventory: Inventory) -> str:
    """Return the pattern of the application's hosts."""
    return str(_first_value(inventory, "hosts") or "all")


def _first_value(inventory: Inventory, key: str) -> object:
    """Return a setting of the whole fleet, and ignore hosts outside the application that cannot resolve it."""
    problem: ConfigError | None = None
    for name in inventory.hosts:
        try:
            value = inventory.resolved_vars(name).get(PREFIX + key)
        except ConfigError as error:
            problem = problem or error
            continue
        if value is not None:
            return value
    if problem is not None:
        raise problem
    return None


def read_targets(
    inventory: Inventory, names: Sequence[str], *, chosen: bool = True, app: str | None = None
) -> list[Target]:
    """Return hosts with their settings.

    Args:
        inventory: all hosts.
        names: the hosts' names.
        chosen: whether slipway_hosts chose them; else a setting names each, and none can be left out.
        app: the application, if the inventory may have several.
    """
    read = _SettingsReader(inventory)
    targets = []
    for name in names:
        target = read.target(name)
        if target is not None:
            targets.append(target)
    problems = list(read.problems)
    bare = read.bare
    if len(bare) == len(names) and chosen and app is None and not problems:
        raise NoSettings(inventory)
    if bare:
        shown = ", ".join(bare[:8]) + (f" and {len(bare) - 8} more" if len(bare) > 8 else "")
        problems.append(f"{f'{VARIABLE}.{app}' if app else f'{PREFIX}app'} is missing for {shown}")
    others = [*read.not_by_ssh, *bare]
    if others and chosen:
        raise ConfigError(problems, hint=_leave_out_hint(inventory, others))
    if problems:
        raise ConfigError(problems, hint="every setting is described in docs/settings.md")
    return targets


class _SettingsReader:
    """Reads hosts' settings, each distinct value of a section once, because a fleet's hosts share most values.

    Args:
        inventory: all hosts.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.problems: dict[str, None] = {}
        self.bare: list[str] = []  # hosts without slipway_app
        self.not_by_ssh: list[str] = []
        self._inventory = inventory
        self._before = Before()
        self._settings: dict[tuple[object, ...], Settings] = {}
        self._refused: dict[tuple[object, ...], list[str]] = {}

    def target(self, name: str) -> Target | None:
        """Return a host; None after a mistake, which is recorded."""
        try:
            variables = self._inventory.resolved_vars(name)
            given = variables.starting_with(PREFIX, but=(VARIABLE,))
            if f"{PREFIX}app" not in given:
                self.bare.append(name)
            settings = self._read(name, given, variables.is_secret)
            if settings is None:
                return None
            address = read_address(
                name,
                variables,
                connect_timeout=settings.timeouts.connect,
                at_home=self._inventory.fence.trusts,
                origin=partial(self._inventory.origin, name),
                secret=variables.is_secret,
            )
        except ConfigError as error:
            self.problems.update(dict.fromkeys(error.problems))
            if isinstance(error, NotBySsh):
                self.not_by_ssh.append(name)
            return None
        return Target(name, settings, address, variables)

    def _read(self, name: str, given: Mapping[str, object], secret: Callable[[str], bool]) -> Settings | None:
        try:
            value = tuple((key, self._before.text(one)) for key, one in given.items())
        except ValueError as error:  # a template made a number with thousands of digits
            raise ConfigError([f"a setting of host {name} cannot be read: {error}"]) from None
        if value in self._settings:
            return self._settings[value]
        # The error says where the value is written, and shows it unless it is secret.
        origins = self._inventory.layer(name).origins
        wrong = (value, *((origins.get(key), secret(key)) for key in given))
        if wrong not in self._refused:
            settings, mistakes = read_settings(given, partial(self._inventory.origin, name), secret, self._before)
            if settings is not None:
                self._settings[value] = settings
                return settings
            self._refused[wrong] = mistakes
            self.problems.update((mistake, None) for mistake in mistakes if mistake != _NO_APP)
        return None


def _for_all(inventory: Inventory) -> Origin:
    """Return the file of the variables of all hosts."""
    folder = inventory.folder / "group_vars"
    names = ("all.yml", "all.yaml", "all.json")
    return Origin(next((folder / name for name in names if (folder / name).exists()), folder / "all.yml"))


def _leave_out_hint(inventory: Inventory, names: list[str]) -> str:
    pattern = hosts_pattern(inventory)
    left = ":".join([pattern, *(f"!{name}" for name in names[:3])]) + (":…" if len(names) > 3 else "")
    return (
        f"{PREFIX}hosts says which hosts are the application's, now '{pattern}'. To leave these alone, set it in "
        f"{_for_all(inventory)} to the application's group, or to '{left}'"
    )


def refuse_differences(inventory: Inventory, targets: Sequence[Target]) -> None:
    first = targets[0]
    # Hosts with the same values share one object.
    distinct = list({id(target.settings): target for target in targets}.values())[1:]
    problems = []
    for key in fleet_wide():
        value = attrgetter(key)
        top, *inside = key.split(".")
        expected = value(first.settings)
        found = ((other.name, value(other.settings)) for other in distinct)
        differing = next((name for name, one in found if one is not expected and one != expected), None)
        if differing is None:
            continue
        places = [
            f"{name} ({inventory.origin(name, PREFIX + top, *inside) or 'by default'})"
            for name in (first.name, differing)
        ]
        problems.append(f"{PREFIX}{key} differs between {' and '.join(places)}; it must be the same for every host")
    if problems:
        raise ConfigError(problems)


def refuse_warm_up_without_port(inventory: Inventory, targets: Sequence[Target]) -> None:
    """Refuse a warm-up of a host whose port is not known.

    Raises:
        ConfigError: a URL has {port}, and neither slots, nor the host, nor a balancer says which port that is.
    """
    first = targets[0].settings
    if first.warm_up is None or first.slots or first.balancer or not any("{port}" in url for url in first.warm_up.urls):
        return
    without = [target.name for target in targets if target.settings.port is None]
    if without:
        place = inventory.origin(without[0], f"{PREFIX}warm_up", "urls")
        raise ConfigError(
            [
                f"{f'{place}: ' if place else ''}{PREFIX}warm_up.urls has {{port}}, and {', '.join(without[:3])}"
                f"{f' and {len(without) - 3} more' if len(without) > 3 else ''} has no port"
            ],
            hint=f"set {PREFIX}port; or write the port into the URL",
        )
