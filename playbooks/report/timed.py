"""What --timings does around a task: refuse a bad page before it, keep the round trips, tell them after it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playbooks.errors import SlipwayError
from playbooks.report.timings import Recorder

if TYPE_CHECKING:
    from playbooks.cli import Result
    from playbooks.environment import Environment
    from playbooks.fleet.progress import Progress
    from playbooks.report.timeline import Head


class Timed:
    """One task whose time is told.

    Args:
        task: its name.
        page: where to write a page; None for a table alone.
    """

    def __init__(self, task: str, page: str | None) -> None:
        self._task = task
        self._asked = page
        self._page: Path | None = None
        self._recorder: Recorder | None = None

    def require_page(self) -> None:
        """Stop where the page cannot be written: after a deploy it would be too late.

        Raises:
            UsageError: why.
        """
        if self._asked is not None:
            from playbooks.report.timeline import writable_page

            self._page = writable_page(self._asked)

    def watching(self, watcher: Progress) -> Progress:
        """Who is to be told instead of the watcher, and tells it."""
        self._recorder = Recorder(watcher)
        return self._recorder

    def tell(self, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
        """Print the table, write the page.

        Args:
            environment: where the task ran.
            done: its result, or the error that ended it.

        Returns:
            What a JSON document gains; nothing if the task ended before it began.
        """
        if self._recorder is None:
            return {}
        from playbooks.report.masked import masked
        from playbooks.report.timings_table import show_timings

        mask = environment.secrets.mask
        timings = self._recorder.timings().masked(mask)
        stream = masked(sys.stderr, mask)
        show_timings(timings, stream)
        if self._page is not None:
            from playbooks.report.timeline import timeline

            try:
                page = timeline(timings, _head(self._task, environment, done))
                self._page.write_text(page, encoding="utf-8", errors="replace")
                stream.write(f"timeline: {self._page}\n")
            except OSError as error:
                # What was done is done; a page that is missing does not make it fail.
                stream.write(f"warning: {self._page} could not be written: {error.strerror}\n")
        return {"timings": timings.to_json()}


def _head(task: str, environment: Environment, done: Result | SlipwayError) -> Head:
    from playbooks.report.timeline import Head

    message = str(done) if isinstance(done, SlipwayError) else str(getattr(done, "message", ""))
    return Head(
        task=task,
        environment=environment.name,
        version=str(getattr(done, "version", "")),
        exit_status=int(done.exit_status),
        message=environment.secrets.mask(message),
        ended=datetime.now().astimezone(),
    )
