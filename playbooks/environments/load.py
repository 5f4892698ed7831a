"""Read and validate an environment's inventory and settings before any host is reached (E1)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.applications import applications_of, of_application
from playbooks.environments.clashes import Seen, clashes
from playbooks.environments.environment import Environment
from playbooks.environments.targets import (
    hosts_pattern,
    read_targets,
    refuse_differences,
    refuse_warm_up_without_port,
)
from playbooks.environments.withheld import Withheld
from playbooks.inventory import TRUSTED, Fence, Inventory, load_inventory, select
from playbooks.inventory import limit as narrow
from playbooks.ledger.heads import Heads, heads_path
from playbooks.ledger.keys import Signing
from playbooks.settings.load import PREFIX


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
    pattern = hosts_pattern(inventory)
    names = select(inventory, pattern)
    if limit is not None:
        names = narrow(inventory, limit, within=pattern)
    if not names:
        raise UsageError(
            f"no host is left: {PREFIX}hosts is '{pattern}'" + (f" and --limit '{limit}'" if limit else ""),
            hint=f"see the hosts: invoke inventory --env={env}",
        )
    targets = read_targets(inventory, names, app=app)
    refuse_differences(inventory, targets)
    refuse_warm_up_without_port(inventory, targets)
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
