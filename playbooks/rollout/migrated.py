"""What a rollback says about the database: it does not undo what before_switch hooks did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from playbooks.environments.environment import Environment
from playbooks.steps.facts import Facts


def hooks_left(facts: Iterable[Facts], targets: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    """The before_switch hooks of the releases that a rollback leaves, by version, oldest first.

    Args:
        facts: of the hosts.
        targets: the release that each goes back to; None: nothing runs there then.
    """
    found: dict[str, tuple[str, ...]] = {}
    for fact in facts:
        current, target = fact.current, targets.get(fact.host, fact.current)
        if current is None or target is None:
            continue
        between = sorted(name for name in fact.releases if target < name <= current)
        found |= {
            fact.releases[name].version: hooks for name in between if (hooks := fact.releases[name].before_switch)
        }
    return found


def still_migrated(env: Environment, hooks: Mapping[str, Sequence[str]], back: str) -> str:
    """A sentence for the person who went back.

    Args:
        env: the environment.
        hooks: that ran, by version.
        back: the version that runs again.
    """
    ran = "; ".join(f"{version}: {', '.join(names)}" for version, names in hooks.items())
    said = f"the database stays as before_switch hooks left it ({ran}); a rollback undoes nothing of that. "
    if not (env.settings.databases and env.settings.backup.enabled):
        why = "slipway_backup.enabled is false" if env.settings.databases else "slipway_databases is empty"
        return f"{said}There is no backup of it to go back to: {why}"
    return (
        f"{said}If {back} does not work with it: invoke rollback {env.flag} --to={back} --with-database restores what "
        f"was backed up while {back} ran, and keeps the present one under another name"
    )
