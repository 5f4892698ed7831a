"""Hooks that run once for the whole fleet, such as a migration: no host switches before they succeed (A1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from playbooks.core.errors import StepFailed
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.releases.render import Rendered
from playbooks.settings.services import Hook
from playbooks.steps.before_switch import Which, before_switch_call
from playbooks.steps.facts import Facts
from playbooks.steps.switch import with_hint


def hooks_once(rendered: Rendered) -> list[Hook]:
    """The before_switch hooks that one host runs for all."""
    return [hook for hook in rendered.hooks["before_switch"] if hook.once]


def once_sentence(first: str, rendered: Rendered) -> str:
    """A sentence about what a deploy runs on its first host before any host switches; empty for nothing."""
    hooks = hooks_once(rendered)
    return f"before any host switches: {_names(hooks)} on {first}" if hooks else ""


def run_once(
    fleet: Fleet,
    env: Environment,
    hosts: Sequence[str],
    release: str,
    rendered: Mapping[str, Rendered],
    facts: Mapping[str, Facts],
    *,
    ids: Collection[str],
) -> None:
    """Run these hooks on the first host that is to change, unless they have run.

    Args:
        fleet: open sessions, with the locks held.
        env: the environment.
        hosts: that are to change, in their order.
        release: its id; it is staged on all of them.
        rendered: what it is on each host.
        facts: of all hosts that take part.
        ids: of this deploy: its release's, and that of the deploy which it goes on with.

    Raises:
        SlipwayError: one failed. No host has switched.
    """
    first = hosts[0]
    hooks = hooks_once(rendered[first])
    if not hooks:
        return
    if any(fact.ran_once & set(ids) for fact in facts.values()):
        text = f"{_names(hooks)} ran before the deploy was interrupted, and does not run again"
        fleet.progress.phase(Phase(PhaseCode.RUNNING_ONCE, text))
        return

    def one(remote: Remote) -> None:
        settings = env.target(remote.name).settings
        which: Which = "run" if remote.name == first else "note"
        note = partial(fleet.progress.note, remote.name)
        try:
            list(remote.chain([before_switch_call(settings, release, hooks, which, note)]))
        except StepFailed as error:
            error.message += ". No host has switched; what the hook did until then stays done"
            raise with_hint(error) from None

    fleet.progress.phase(Phase(PhaseCode.RUNNING_ONCE, once_sentence(first, rendered[first])))
    fleet.each("before_switch", one, hosts=[first]).all_or_raise("before_switch")
    # The switch reports a host that is lost by now.
    fleet.each("", one, hosts=hosts[1:], finish=True)


def _names(hooks: Sequence[Hook]) -> str:
    return ", ".join(hook.name or hook.run for hook in hooks)
