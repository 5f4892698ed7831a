"""Which hosts a deploy changes: those that do not run the wanted release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.core.artifact import Release
from playbooks.environments.targets import Target
from playbooks.releases.render import Rendered
from playbooks.releases.renderings import Renderings
from playbooks.steps.facts import Facts, ReleaseOnHost
from playbooks.traffic.groups import Groups


def outdated_hosts(
    targets: Sequence[Target],
    facts: Mapping[str, Facts],
    groups: Groups | None,
    release: Release,
    renderings: Mapping[str, Renderings],
    *,
    force: bool,
) -> list[Target]:
    """The hosts that a deploy changes, in order.

    Hosts that serve nobody yet go first, so that they carry the traffic of the others while these change.

    Args:
        targets: hosts that can be reached.
        facts: what they run.
        groups: if there are any.
        release, renderings: what they are to run.
        force: change also hosts that run it already.
    """
    outdated = [one for one in targets if force or not _runs(facts[one.name], release, renderings[one.name])]
    changing = whole_group(targets, outdated, facts, groups) if groups else outdated
    return sorted(changing, key=lambda one: facts[one.name].current is not None)


def whole_group(
    targets: Sequence[Target], outdated: Sequence[Target], facts: Mapping[str, Facts], groups: Groups
) -> list[Target]:
    """The idle group, if the live one is outdated; both groups if nothing runs anywhere yet.

    Args:
        targets, facts, groups: see `outdated_hosts`.
        outdated: those that do not run the wanted release.
    """
    if not any(fact.current for fact in facts.values()):
        return list(targets)
    if not any(one.name in groups.live_hosts for one in outdated):
        return []
    return [one for one in targets if one.name in groups.idle_hosts]


def _runs(facts: Facts, release: Release, renderings: Renderings) -> bool:
    """Whether a host runs exactly this (artifact, configuration, units), proven healthy, up and unchanged by hand."""
    running = facts.current_release
    as_it_runs = renderings.get(running.slot) if running else None
    return (
        running is not None
        and as_it_runs is not None
        and running.state == "proven"
        and running.version == release.version
        and is_made_of(running, release, as_it_runs)
        and facts.is_up
        and not (facts.drift and facts.drift.is_mended_by_deploy)
    )


def is_made_of(there: ReleaseOnHost, release: Release, rendered: Rendered) -> bool:
    """Whether a release on a host has this artifact and this configuration."""
    about = there.about
    return about.get("sha256") == release.artifact.sha256 and about.get("config") == rendered.digest
