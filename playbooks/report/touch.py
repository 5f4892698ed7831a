"""Whether a task has done more than look by now: who stops it wants to know."""

from __future__ import annotations

from typing import Literal

from playbooks.fleet.progress import PassesOn, Progress

# Steps that change nothing, on no host.
LOOKS = frozenset({"connect", "facts", "drift", "rendered", "logs", "ledger"})


class Touch:
    """What is known of it."""

    def __init__(self) -> None:
        self._acts = self._looks = self._began = False

    @property
    def nothing(self) -> bool:
        """Whether nothing was touched for certain: it has not begun, or all it did was to look at hosts."""
        return not self._began or (self._looks and not self._acts)

    def watching(self, watcher: Progress) -> Progress:
        """Whoever watches, and this with it: the task begins."""
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
