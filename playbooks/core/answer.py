"""Define what a procedure returns, for a person or as a document.

A document names its schema: ``slipway.NAME/VERSION``, described in docs/schemas/NAME.json. A new field leaves the
version as it is; the version rises when a field disappears or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from playbooks.core.errors import ExitStatus, SlipwayError


@dataclass(frozen=True)
class HostFailure:
    """Why a host has no part in an answer.

    Args:
        code: of the error; docs/errors.md explains it.
        message: the same for a person.
    """

    code: str
    message: str


def failures(errors: Mapping[str, SlipwayError]) -> dict[str, HostFailure]:
    """Return why hosts have no part in an answer, by host."""
    return {host: HostFailure(error.code, error.message) for host, error in errors.items()}


def failures_told(found: Mapping[str, HostFailure]) -> dict[str, dict[str, str]]:
    """Return the same as a part of a document."""
    return {host: asdict(failure) for host, failure in found.items()}


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
