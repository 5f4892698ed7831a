"""What a procedure returns: shown to a person, or printed as a document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from playbooks.core.errors import ExitStatus


class Result(Protocol):
    """What a playbook returns."""

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""

    def to_json(self) -> dict[str, Any]:
        """The answer as a document."""


@dataclass(frozen=True)
class Answer:
    """An answer. Its parts are its document; whatever fails is raised, unless it says otherwise.

    Args:
        environment: what was worked on.
    """

    environment: str

    @property
    def exit_status(self) -> ExitStatus:
        """The task's exit status."""
        return ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "exit_status": int(self.exit_status)}
