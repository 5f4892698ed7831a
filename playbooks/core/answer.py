"""What a procedure returns: shown to a person, or printed as a document.

A document names its schema: ``slipway.NAME/VERSION``, described in docs/schemas/NAME.json. A new field leaves the
version as it is; the version rises when a field goes or changes its meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from playbooks.core.errors import ExitStatus


class Result(Protocol):
    """What a playbook returns."""

    @property
    def schema(self) -> str:
        """The name of its document's schema."""

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""

    def to_json(self) -> dict[str, Any]:
        """The answer as a document."""


def document_of(result: Result) -> dict[str, Any]:
    """What --json prints of an answer."""
    return {"schema": result.schema, **result.to_json()}


@dataclass(frozen=True)
class Answer:
    """An answer. Its parts are its document; whatever fails is raised, unless it says otherwise.

    Args:
        environment: what was worked on.
    """

    schema: ClassVar[str] = ""  # of a task that has no --json
    environment: str

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""
        return ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "exit_status": int(self.exit_status)}
