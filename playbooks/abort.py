"""End a task that runs on another machine, as Ctrl-C does on its own machine (A6)."""

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
        what, by, since: the task in a person's words, the person who runs it, and its start.
        hosts: the hosts that passed the request on.
        seconds: the time until the task receives it, at most.
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
    """Ask the running task to end. One host that its controller still hears from is enough.

    Args:
        env: the environment.
        progress: receives what to show a person.

    Raises:
        SlipwayError: no task is running, or no host is reachable.
    """
    heard = signal_lock_owners(env, progress, "abort", read_abort)
    asked = {host: owner for host, owner in heard.items() if owner is not None}
    if not asked:
        # This is no usage error, because the task may have ended a moment ago.
        raise SlipwayError(f"no task is at work on {env.title}; nothing was changed", hint=f"invoke status {env.flag}")
    owner = most_said(asked.values())
    within = GuardTiming(env.settings.guard.timeout).beat + 1
    return Aborted(env.name, owner.what, owner.who, owner.since, tuple(asked), within, env.flag)
