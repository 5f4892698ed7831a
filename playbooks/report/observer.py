"""An observer of a task: it gets everything that happens, and afterwards reports the timings or the rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playbooks.core.answer import Result
    from playbooks.core.errors import SlipwayError
    from playbooks.environments.environment import Environment
    from playbooks.fleet.progress import Progress


class TaskObserver(Protocol):
    """Observes a task and reports it afterwards, also if the task failed."""

    def prepare(self) -> None:
        """Refuse, before anything is done, what it could not write afterwards.

        Raises:
            UsageError: why.
        """

    def watching(self, watcher: Progress) -> Progress:
        """A watcher to use in place of this one, which passes everything on to it."""

    def tell(self, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
        """Report what it saw, on standard error or in a file.

        Args:
            environment: where the task ran.
            done: its result, or the error that ended it.

        Returns:
            What a JSON document gains; nothing if the task ended before it began.
        """
