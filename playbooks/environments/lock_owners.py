"""Send a person's message to the running task, from any machine. It needs no lock, because the task holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import StepResult

Heard = TypeVar("Heard")


def most_said(answers: Iterable[Heard]) -> Heard:
    """Return the answer of most hosts, because a single host may lie.

    Args:
        answers: one or more answers.
    """
    return Counter(answers).most_common(1)[0][0]


def signal_lock_owners(
    env: Environment, progress: Progress, step: str, read: Callable[[StepResult], Heard]
) -> Mapping[str, Heard]:
    """Send the message to every reachable host.

    Args:
        env: where the task works.
        progress: receives what to show a person.
        step: the step's name. It needs the application's state folder (state) and the sender as user@machine (who).
        read: reads the step's answer.

    Returns:
        The result by host.

    Raises:
        SlipwayError: no host is reachable.
    """
    me = " ".join(who().split())

    def one(remote: Remote) -> Heard:
        values = {"state": env.target(remote.name).settings.state, "who": me}
        return read(remote.run(step, values=values))

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each(step, one)
        heard = results.ok if results.ok else results.all_or_raise(step)
        if not heard:
            fleet.require_all()
    return heard
