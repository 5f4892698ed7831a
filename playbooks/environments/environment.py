"""Read and validate an environment's inventory and settings before any host is reached (E1)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.counting import counted
from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.applications import VARIABLE, applications_of, of_application
from playbooks.environments.clashes import Seen, clashes
from playbooks.environments.withheld import Withheld
from playbooks.fleet.address import Address, NotBySsh, read_address
from playbooks.fleet.lock_owner import GuardTiming, LockOwner, LockRequest
from playbooks.inventory import TRUSTED, Fence, Inventory, load_inventory, select
from playbooks.inventory import limit as narrow
from playbooks.inventory.document import Origin
from playbooks.ledger.heads import Heads, heads_path
from playbooks.ledger.keys import Signing
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
        names = narrow(self.inventory, limit, within=_application(self.inventory))
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
        return _targets(self.inventory, [name], chosen=False, app=self._named)[0]

    def orders(
        self, names: Iterable[str], owner: LockOwner, *, wait: float, undo: bool = False, inside: str = ""
    ) -> dict[str, LockRequest]:
        """Build the lock request for each of these hosts.

        Args:
            names: the hosts.
            owner: the lock owner to record.
            wait: seconds to wait for another lock owner.
            undo: see `LockRequest`.
            inside: a folder in the state folder, for another lock than the application's own.

        Raises:
            UsageError: the key that signs the task's records cannot sign.
        """
        settings = {name: self.target(name).settings for name in names}
        timing = GuardTiming(self.settings.guard.timeout)
        seal, abandoned_record = self.signing.seal(owner), owner.abandoned_record(self.name)

        def order(name: str, each: Settings) -> LockRequest:
            said = json.dumps(seal.left_to(name, abandoned_record), ensure_ascii=False)
            return LockRequest(f"{each.state}{inside}", each.home, owner, said, timing, wait, undo)

        return {name: order(name, each) for name, each in settings.items()}

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


def load_environment(
    env: str, project: Path, *, limit: str | None = None, fence: Fence = TRUSTED, app: str | None = None
) -> Environment:
    """Read an environment of one application. It connects to no host and fetches no secret.

    Args:
        env: a name under inventory/, or a path to an inventory.
        project: the project's folder.
        limit: a host pattern that narrows the application's hosts.
        fence: what the inventory may read; a closed fence also withholds secrets.
        app: the application's name; optional if the inventory has only one.

    Raises:
        UsageError: the environment or application does not exist, no host is left, or the application is not named.
        ConfigError: the inventory or the settings are wrong; the message has all mistakes.
    """
    found = load_environments(env, project, limit=limit, fence=fence, app=app)
    applications = found[0].applications
    if app is None and len(applications) > 1:
        raise UsageError(
            f"{found[0].name} has {len(applications)} applications: {', '.join(applications)}; which one is meant? "
            "Nothing was touched",
            hint=f"say it: --app={applications[0]}",
        )
    return found[0]


def load_environments(
    env: str, project: Path, *, limit: str | None = None, fence: Fence = TRUSTED, app: str | None = None
) -> tuple[Environment, ...]:
    """Read an environment for each of its applications, in written order.

    All applications are read and compared, even if one is named, because they may claim the same resource.

    Args:
        env, project, limit, fence: as for `load_environment`.
        app: the named application; default: all for which --limit leaves a host.

    Raises:
        UsageError: the environment or application does not exist, or no host is left.
        ConfigError: the inventory or the settings are wrong; the message has all mistakes.
    """
    inventory = load_inventory(env, project, fence=fence)
    if not inventory.hosts:
        raise UsageError(
            f"{inventory.source} names no host", hint="an inventory is a folder with a hosts.yml: see docs/inventory.md"
        )
    names = applications_of(inventory)
    if not names:
        found = [_environment(env, inventory, project, limit)]
        names = (found[0].settings.app,)
    else:
        if app is not None and app not in names:
            raise _no_application(app, names, env)
        found = _of_each(env, inventory, project, limit, names, app)
        several = " --app={}" if len(names) > 1 else ""
        found = [replace(one, applications=names, flag=one.flag + several.format(one.settings.app)) for one in found]
        problems = clashes([_seen(one) for one in found])
        if problems:
            raise ConfigError(problems, hint="see docs/inventory.md, Several applications")
    if app is not None and app not in names:
        raise _no_application(app, names, env)

    # Values from a vault are struck out everywhere, whichever application uses them.
    def strike(value: str) -> None:
        for one in found:
            one.secrets.strike(value)

    inventory.vars_files.vault.tell(strike)
    return tuple(one for one in found if app in (None, one.settings.app))


def _seen(env: Environment) -> Seen:
    """Return an application's settings for the comparison with others."""

    def machine(host: str) -> str:
        try:
            address = env.target(host).address
        except ConfigError:
            return host  # a task on this host reports the error
        return f"{address.hostname}:{address.port or 22}"

    balancer = env.settings.balancer
    return Seen(
        name=env.settings.app,
        hosts={target.name: target.settings for target in env.targets},
        balancers=env.select(balancer.hosts) if balancer else (),
        database_hosts={
            index: host for index, one in enumerate(env.settings.databases) for host in env.select(one.via)[:1]
        },
        machine=machine,
        runs_on=lambda host, pattern: env.runs_on(env.target(host), pattern),
        origin=env.inventory.origin,
    )


def together(environments: Sequence[Environment]) -> Environment:
    """Return one environment with all applications' hosts, for tasks about hosts and not applications."""
    first = environments[0]
    if len(environments) == 1:
        return first
    targets = {target.name: target for one in environments for target in one.targets}
    flag = first.flag.removesuffix(f" --app={first.settings.app}")
    return replace(first, targets=tuple(targets.values()), flag=flag, together=True)


def _no_application(app: str, names: Sequence[str], env: str) -> UsageError:
    return UsageError(
        f"there is no application '{app}' in {env}; there is: {', '.join(names)}. Nothing was touched",
        hint=f"see: invoke inventory --env={shlex.quote(env)}",
    )


def _of_each(
    env: str, inventory: Inventory, project: Path, limit: str | None, names: Sequence[str], app: str | None
) -> list[Environment]:
    """Return each application's environment, without those for which --limit leaves no host, except the named one."""
    found: list[Environment] = []
    told: dict[str, list[str]] = {}
    hint: str | None = None
    nobody: UsageError | None = None
    for name in names:
        try:
            found.append(_environment(env, of_application(inventory, name), project, limit, app=name))
        except ConfigError as error:
            hint = hint or error.hint
            for problem in error.problems:
                told.setdefault(problem, []).append(name)
        except UsageError as error:
            if limit is None or name == app:
                raise UsageError(f"{name}: {error.message}", hint=error.hint) from None
            nobody = nobody or error
    if told:
        # A mistake in shared settings appears for each application; report it once.
        everyone = list(names)
        raise ConfigError(
            [problem if which == everyone else f"{', '.join(which)}: {problem}" for problem, which in told.items()],
            hint=hint,
        )
    if nobody is not None and not found:
        raise nobody
    return found


def _environment(
    env: str, inventory: Inventory, project: Path, limit: str | None, *, app: str | None = None
) -> Environment:
    """Read the environment of an inventory with one application, or as one application sees it."""
    pattern = _application(inventory)
    names = select(inventory, pattern)
    if limit is not None:
        names = narrow(inventory, limit, within=pattern)
    if not names:
        raise UsageError(
            f"no host is left: {PREFIX}hosts is '{pattern}'" + (f" and --limit '{limit}'" if limit else ""),
            hint=f"see the hosts: invoke inventory --env={env}",
        )
    targets = _targets(inventory, names, app=app)
    _refuse_differences(inventory, targets)
    settings = targets[0].settings
    name = _name(env, inventory)
    trusted = inventory.fence.trusts
    places = (inventory.folder, project)
    secrets = Secrets(settings.secrets, *places) if trusted else Withheld(settings.secrets, *places)
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
    """Return an environment's name. Records are signed for it, so it does not depend on how the inventory was given."""
    if "/" not in env:
        return env
    stem = Path(env).stem
    return inventory.folder.resolve().name if stem == "hosts" and inventory.source.is_file() else stem


def _application(inventory: Inventory) -> str:
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


def _targets(
    inventory: Inventory, names: Sequence[str], *, chosen: bool = True, app: str | None = None
) -> list[Target]:
    """Return hosts with their settings.

    Args:
        inventory: all hosts.
        names: the hosts' names.
        chosen: whether slipway_hosts chose them; else a setting names each, and none can be left out.
        app: the application, if the inventory may have several.
    """
    read = _Read(inventory)
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
        raise ConfigError(problems, hint=_to_leave_out(inventory, others))
    if problems:
        raise ConfigError(problems, hint="every setting is described in docs/settings.md")
    return targets


class _Read:
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


def _to_leave_out(inventory: Inventory, names: list[str]) -> str:
    pattern = _application(inventory)
    left = ":".join([pattern, *(f"!{name}" for name in names[:3])]) + (":…" if len(names) > 3 else "")
    return (
        f"{PREFIX}hosts says which hosts are the application's, now '{pattern}'. To leave these alone, set it in "
        f"{_for_all(inventory)} to the application's group, or to '{left}'"
    )


def _refuse_differences(inventory: Inventory, targets: Sequence[Target]) -> None:
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
