"""--timings: records the round trips of a task, and then reports where its time went."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playbooks.core.errors import SlipwayError
from playbooks.report.timings import Recorder

if TYPE_CHECKING:
    from playbooks.core.answer import Result
    from playbooks.environments.environment import Environment
    from playbooks.fleet.progress import Progress
    from playbooks.report.timeline import PageHead


class Timed:
    """One task whose time --timings reports.

    Args:
        task: its name.
        page: where to write a page; None: print only the table.
    """

    def __init__(self, task: str, page: str | None) -> None:
        self._task = task
        self._asked = page
        self._page: Path | None = None
        self._recorder: Recorder | None = None

    def prepare(self) -> None:
        if self._asked is not None:
            from playbooks.report.page import writable_page

            self._page = writable_page("timings", self._asked)

    def watching(self, watcher: Progress) -> Progress:
        self._recorder = Recorder(watcher)
        return self._recorder

    def tell(self, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
        """Print the table and write the page. Returns the timings for the JSON document."""
        if self._recorder is None:
            return {}
        from playbooks.report import output
        from playbooks.report.timings_table import told_timings

        timings = self._recorder.timings()
        output.tell(*map(output.shown, told_timings(timings, output.watchers_width())))
        if self._page is not None:
            from playbooks.report.page import write_page
            from playbooks.report.timeline import timeline

            write_page("timeline", self._page, timeline(timings, _head(self._task, environment, done)))
        return {"timings": timings.to_json()}


def _head(task: str, environment: Environment, done: Result | SlipwayError) -> PageHead:
    from playbooks.report.timeline import PageHead

    message = str(done) if isinstance(done, SlipwayError) else str(getattr(done, "message", ""))
    return PageHead(
        task=task,
        environment=environment.name,
        version=str(getattr(done, "version", "")),
        exit_status=int(done.exit_status),
        message=message,
        ended=datetime.now().astimezone(),
    )
