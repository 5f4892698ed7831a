"""Define what a procedure returns, for a person or as a document.

A document names its schema: ``slipway.NAME/VERSION``, described in docs/schemas/NAME.json. A new field leaves the
version as it is; the version rises when a field disappears or changes its meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from playbooks.core.errors import ExitStatus


class Result(Protocol):
    """The result of a procedure."""

    @property
    def schema(self) -> str:
        """Return the name of its document's schema."""

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as a document."""


def document_of(result: Result) -> dict[str, Any]:
    """Return the document that --json prints."""
    return {"schema": result.schema, **result.to_json()}


@dataclass(frozen=True)
class Answer:
    """A result whose fields are its document. Failures are raised, unless the subclass has an exit status.

    Args:
        environment: the environment's name.
    """

    schema: ClassVar[str] = ""  # for a task without --json
    environment: str

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""
        return ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "exit_status": int(self.exit_status)}
