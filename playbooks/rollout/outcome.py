"""The result of a deploy or a rollback: shown as a table, printed as JSON, kept in the ledger (A9)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from playbooks.core.errors import ExitStatus
from playbooks.core.names import cut
from playbooks.core.states import TaskStatus
from playbooks.judgement.meanwhile import RequestSummary
from playbooks.rollout.databases.jobs import Done
from playbooks.rollout.databases.tools import ToolDone

# A record is one argument of a script, of 128 kB at the most (execve(2)).
MAX_MESSAGE, MAX_WARNING, MAX_WARNINGS = 8000, 500, 20  # characters, characters, lines


@dataclass(frozen=True)
class HostOutcome:
    """One host's line.

    Args:
        host: inventory name.
        before, after: versions; None where nothing ran.
        result: the host's state, in one or two words.
        detail: why, if something went wrong.
        code: the same for a program; empty if nothing did.
        log: the last lines that the application wrote then.
    """

    host: str
    before: str | None
    after: str | None
    result: str
    detail: str = ""
    log: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Outcome:
    """The result for the whole fleet.

    Args:
        task: deploy or rollback.
        id: the deploy's id; empty if there was nothing to do.
        environment, version: what it was about.
        status: what became of it.
        code: why it failed, by the first thing that did; empty if nothing did.
        message: what happened, as a sentence.
        hosts: a line for each host.
        started: UTC, ISO 8601.
        seconds: how long it took.
        by: user@machine.
        reason: why, in the person's words.
        strategy: how hosts were changed.
        backup: the id of the backup taken before.
        verdicts: how its stages were judged, with the numbers.
        migrations: what was done to the databases.
        tools: the runs of the application's own migration tools.
        warnings: what a person should know.
        next: what to do next.
        requests: requests during the change and before it; None if nothing counts them.
    """

    task: str
    id: str
    environment: str
    version: str
    status: TaskStatus
    message: str
    hosts: tuple[HostOutcome, ...]
    started: str
    seconds: float
    by: str
    reason: str = ""
    strategy: str = ""
    backup: str | None = None
    verdicts: tuple[dict[str, object], ...] = ()
    migrations: tuple[Done, ...] = ()
    tools: tuple[ToolDone, ...] = ()
    warnings: tuple[str, ...] = ()
    next: str = ""
    code: str = ""
    requests: RequestSummary | None = None
    exit_status: ExitStatus = field(default=ExitStatus.DONE)

    @property
    def schema(self) -> str:
        """The name of its document's schema."""
        return f"slipway.{self.task}/1"

    def record(self) -> dict[str, Any]:
        """The record for the ledger (A9); lines that hosts wrote are cut short in it."""
        document = self.to_json()
        document["hosts"] = {host.host: host.result for host in self.hosts}
        # Text from many hosts, or a long one, must not make the record too large to write.
        document["message"] = cut(self.message, MAX_MESSAGE)
        document["warnings"] = [cut(warning, MAX_WARNING) for warning in self.warnings[:MAX_WARNINGS]]
        return document

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        document = asdict(replace(self, requests=None))
        document["requests"] = self.requests.to_json() if self.requests else None
        return {**document, "seconds": round(self.seconds, 2), "exit_status": int(self.exit_status)}
