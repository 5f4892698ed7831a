"""Choose each host's rendering of a release: for one of its slots, or in place (B2)."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.core.artifact import Release
from playbooks.environments.environment import Environment
from playbooks.environments.templates import Templates
from playbooks.releases.render import Rendered, render
from playbooks.releases.slots import slots_on
from playbooks.steps.facts import Facts

# A host's possible renderings of a release, by slot; under None if it replaces the previous release.
Renderings = Mapping[str | None, Rendered]


def render_all(env: Environment, release: Release) -> dict[str, Renderings]:
    """Render every host's configuration for each of its slots, so that a mistake fails before any host is reached.

    Raises:
        ConfigError: a template is wrong.
    """
    templates = Templates.of(env)
    return {
        target.name: {
            slot.name if slot else None: render(env, target, release, templates, slot) for slot in slots_on(env, target)
        }
        for target in env.targets
    }


def for_next(renderings: Mapping[str, Renderings], facts: Mapping[str, Facts]) -> dict[str, Rendered]:
    """Return each host's rendering for the next release: the one for the slot that the current release does not use."""
    return {host: _other(each, facts[host].slot if host in facts else None) for host, each in renderings.items()}


def _other(renderings: Renderings, running: str | None) -> Rendered:
    """Return the other slot's rendering; the first slot's if neither slot runs."""
    return next(made for name, made in renderings.items() if name is None or name != running)


def slot_change_warnings(facts: Mapping[str, Facts], rendered: Mapping[str, Rendered]) -> list[str]:
    """Return a sentence for each host that this deploy moves from in place to slots, or back."""
    told = []
    for host, fact in facts.items():
        slot = rendered[host].slot
        if fact.current is None or bool(slot) == bool(fact.slot):
            continue
        before, after = ("in place", f"in slot {slot.name}") if slot else (f"in slot {fact.slot}", "in place")
        told.append(
            f"{host} runs {fact.current_version} {before} and the new release runs {after}: this once the old units "
            "are stopped at the switch, and the way back starts them again"
        )
    return told
