"""--report: records a rollout and writes it as a page, also if it failed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playbooks.core.errors import SlipwayError
from playbooks.fleet.progress import Look, Progress
from playbooks.report.phase_recorder import PhaseRecorder

if TYPE_CHECKING:
    from playbooks.core.answer import Result
    from playbooks.environments.environment import Environment


class StageRecorder(PhaseRecorder):
    """Keeps the looks at watched stages too, each with its time.

    Args:
        watcher: who watches.
    """

    def __init__(self, watcher: Progress) -> None:
        super().__init__(watcher)
        self.looks: list[tuple[float, Look]] = []

    def look(self, look: Look) -> None:
        with self._mutex:
            self.looks.append((self.seconds, look))
        super().look(look)


class Reported:
    """One rollout that --report records.

    Args:
        task: its name.
        page: where to write it.
    """

    def __init__(self, task: str, page: str) -> None:
        self._task = task
        self._asked = page
        self._page = Path()
        self._sightings: StageRecorder | None = None

    def prepare(self) -> None:
        from playbooks.report.page import writable_page

        self._page = writable_page("report", self._asked)

    def watching(self, watcher: Progress) -> Progress:
        self._sightings = StageRecorder(watcher)
        return self._sightings

    def tell(self, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
        """Write the page. The JSON document gets nothing more, since it has the verdicts already."""
        if self._sightings is None:
            return {}
        from playbooks.report.page import write_page
        from playbooks.report.rollout_page import rollout_page
        from playbooks.report.story import Ending, story_of
        from playbooks.rollout.outcome import Outcome

        ending = Ending(
            task=self._task,
            environment=environment.name,
            exit_status=int(done.exit_status),
            outcome=done if isinstance(done, Outcome) else None,
            message=str(done),
            ended=datetime.now().astimezone(),
            seconds=self._sightings.seconds,
        )
        story = story_of(ending, self._sightings.phases, self._sightings.looks)
        write_page("rollout", self._page, rollout_page(story))
        return {}
