"""What may stand beside a task: told of all that happens, it tells afterwards where the time went, or the story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playbooks.core.answer import Result
    from playbooks.core.errors import SlipwayError
    from playbooks.environments.environment import Environment
    from playbooks.fleet.progress import Progress


class TaskObserver(Protocol):
    """Stands beside a task and tells of it afterwards, also of one that failed."""

    def prepare(self) -> None:
        """Before anything is done: what it could not do afterwards is refused.

        Raises:
            UsageError: why.
        """

    def watching(self, watcher: Progress) -> Progress:
        """Who is to be told instead of the watcher, and tells it."""

    def tell(self, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
        """Tell what it saw, on standard error or in a file.

        Args:
            environment: where the task ran.
            done: its result, or the error that ended it.

        Returns:
            What a JSON document gains; nothing if the task ended before it began.
        """
