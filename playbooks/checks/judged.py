"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckVerdict:
    """What speaks against a deploy to one host.

    Args:
        problems: what ends it before it changes anything, a sentence each.
        warnings: what a person should look at.
        hint: what to do about the problems, where they do not say so themselves.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hint: str | None = None

    def __add__(self, other: CheckVerdict) -> CheckVerdict:
        """Both."""
        return CheckVerdict(
            tuple(dict.fromkeys((*self.problems, *other.problems))),
            (*self.warnings, *other.warnings),
            self.hint or other.hint,
        )
