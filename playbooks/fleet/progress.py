"""What a playbook tells while it runs; playbooks/report draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from playbooks.errors import SlipwayError


class Progress(Protocol):
    """Whoever watches. Called from many threads."""

    def hosts(self, names: Sequence[str]) -> None:
        """These hosts take part."""

    def phase(self, text: str) -> None:
        """What the fleet as a whole begins to do now."""

    def begin(self, host: str, step: str) -> None:
        """A host begins a step."""

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        """A host was sent something to do, or has answered: connect, lock, a step, confirm."""

    def note(self, host: str, text: str) -> None:
        """Something worth seeing while a step runs."""

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        """A step has ended."""

    def warn(self, text: str) -> None:
        """Something a person should know that stops nothing."""


class Silent:
    """Tells nobody."""

    def hosts(self, names: Sequence[str]) -> None: ...
    def phase(self, text: str) -> None: ...
    def begin(self, host: str, step: str) -> None: ...
    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None: ...
    def note(self, host: str, text: str) -> None: ...
    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None: ...
    def warn(self, text: str) -> None: ...
