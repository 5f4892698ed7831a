"""End a task that runs on another machine, as Ctrl-C does where it runs (A6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from playbooks.core.answer import Answer
from playbooks.core.errors import SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.lock_owners import most_said, signal_lock_owners
from playbooks.fleet.lock_owner import GuardTiming
from playbooks.fleet.progress import Progress
from playbooks.steps.abort import read_abort


@dataclass(frozen=True)
class Aborted(Answer):
    """A task that was asked to end.

    Args:
        what, by, since: the task in a person's words, who runs it, and when it began.
        hosts: where it was asked.
        seconds: within which it hears of it.
        flag: the flag that names the environment.
    """

    schema: ClassVar[str] = "slipway.abort/1"
    what: str
    by: str
    since: str
    hosts: tuple[str, ...]
    seconds: float
    flag: str


def abort(env: Environment, progress: Progress) -> Aborted:
    """Ask the task that is at work to end. One host that its controller still hears of is enough.

    Args:
        env: where it works.
        progress: who watches.

    Raises:
        SlipwayError: no task is at work, or no host could be asked.
    """
    heard = signal_lock_owners(env, progress, "abort", read_abort)
    asked = {host: holder for host, holder in heard.items() if holder is not None}
    if not asked:
        # No bad usage: it may have ended a moment ago.
        raise SlipwayError(f"no task is at work on {env.title}; nothing was changed", hint=f"invoke status {env.flag}")
    holder = most_said(asked.values())
    within = GuardTiming(env.settings.guard.timeout).beat + 1
    return Aborted(env.name, holder.what, holder.who, holder.since, tuple(asked), within, env.flag)
