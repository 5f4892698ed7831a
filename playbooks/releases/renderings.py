"""What a release can be on each host and what it will be: rendered for a slot, or in place (B2)."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.releases.render import Rendered
from playbooks.steps.facts import Facts

# What can be made of a release on a host: by slot; under None where it takes the place of the one before.
Renderings = Mapping[str | None, Rendered]


def for_next(renderings: Mapping[str, Renderings], facts: Mapping[str, Facts]) -> dict[str, Rendered]:
    """What the next release is on each host: rendered for the slot that the running one is not in."""
    return {host: _other(each, facts[host].slot if host in facts else None) for host, each in renderings.items()}


def _other(renderings: Renderings, running: str | None) -> Rendered:
    """The first slot's where nothing runs in one of them."""
    return next(made for name, made in renderings.items() if name is None or name != running)


def turns(facts: Mapping[str, Facts], rendered: Mapping[str, Rendered]) -> list[str]:
    """A sentence for each host that this deploy turns from running in place to slots, or back."""
    told = []
    for host, fact in facts.items():
        slot = rendered[host].slot
        if fact.current is None or bool(slot) == bool(fact.slot):
            continue
        before, after = ("in place", f"in slot {slot.name}") if slot else (f"in slot {fact.slot}", "in place")
        told.append(
            f"{host} runs {fact.ran} {before} and the new release runs {after}: this once the old units are "
            "stopped at the switch, and the way back starts them again"
        )
    return told
