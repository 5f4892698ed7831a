"""Whether a task has changed anything yet, for the message when a person stops it."""

from __future__ import annotations

from typing import Literal

from playbooks.fleet.progress import PassesOn, Progress

# Steps that change nothing, on no host.
LOOKS = frozenset({"connect", "facts", "drift", "rendered", "logs", "ledger"})


class Touch:
    """What is known about it."""

    def __init__(self) -> None:
        self._acts = self._looks = self._began = False

    @property
    def nothing(self) -> bool:
        """Whether the task has certainly changed nothing: it has not begun, or has only read from hosts."""
        return not self._began or (self._looks and not self._acts)

    def watching(self, watcher: Progress) -> Progress:
        """A watcher that also records the steps here; the task begins."""
        self._began = True
        return _Watcher(watcher, self)

    def take(self, step: str) -> None:
        """A step begins on some host."""
        self._looks = True
        self._acts = self._acts or step not in LOOKS


class _Watcher(PassesOn):
    def __init__(self, watcher: Progress, touch: Touch) -> None:
        super().__init__(watcher)
        self._touch = touch

    def begin(self, host: str, step: str) -> None:
        self._touch.take(step)
        super().begin(host, step)

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        self._touch.take(name)
        super().operation(host, name, moment)
