"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckVerdict:
    """The result of checking one host.

    Args:
        problems: sentences; each ends the deploy before it changes anything.
        warnings: what a person should look at.
        hint: what to do about the problems, if they do not say so themselves.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hint: str | None = None

    def __add__(self, other: CheckVerdict) -> CheckVerdict:
        """Both results together."""
        return CheckVerdict(
            tuple(dict.fromkeys((*self.problems, *other.problems))),
            (*self.warnings, *other.warnings),
            self.hint or other.hint,
        )
