"""Which hosts a deploy changes: those that do not run what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from playbooks.environment import Target
from playbooks.groups import Groups
from playbooks.release import Release
from playbooks.slots import Renderings
from playbooks.staging import is_made_of
from playbooks.steps.facts import Facts


def due(
    targets: Sequence[Target], facts: Mapping[str, Facts], groups: Groups | None, outdated: Callable[[Target], bool]
) -> list[Target]:
    """The hosts that a deploy changes: those that are outdated.

    Of two groups the idle one, as a whole, as soon as the live one is outdated; both if nothing runs anywhere yet.

    Args:
        targets: hosts that can be reached.
        facts: what they run.
        groups: if there are any.
        outdated: whether a host does not run what is wanted.
    """
    if groups is None:
        return [target for target in targets if outdated(target)]
    if not any(fact.current for fact in facts.values()):
        return list(targets)
    if not any(outdated(target) for target in targets if target.name in groups.serving):
        return []
    return [target for target in targets if target.name in groups.resting]


def up_to_date(
    facts: Mapping[str, Facts], target: Target, release: Release, renderings: Mapping[str, Renderings]
) -> bool:
    """Whether a host runs just this: artifact, configuration and units, proven healthy and up."""
    running = facts[target.name].running
    as_it_runs = renderings[target.name].get(running.slot) if running else None
    return (
        running is not None
        and as_it_runs is not None
        and running.stand == "proven"
        and running.version == release.version
        and is_made_of(running, release, as_it_runs)
        and facts[target.name].is_up
    )
