"""In production, ask a person to type a word before anything changes (A6, D2)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from playbooks.core.errors import UsageError

if TYPE_CHECKING:
    from playbooks.environments.environment import Environment

DEPLOY_WORD = "DEPLOY TO PRODUCTION"  # D2
ROLLBACK_WORD = "ROLL BACK PRODUCTION"
MIGRATE_WORD = "MIGRATE PRODUCTION"


def confirm(environment: Environment, what: str, word: str, *, yes: bool) -> None:
    """In production, ask a person to type a word first (A6, D2).

    Args:
        environment: where.
        what: what is about to happen.
        word: what to type.
        yes: whether --yes was given.

    Raises:
        UsageError: something else was typed, or nobody is there to type.
    """
    if yes or not environment.settings.production:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{environment.title} is production, and nobody is here to confirm: {what}; nothing was touched",
            hint="run it in a terminal, or give --yes",
        )
    from playbooks.report import output

    if output.prompt(f"{environment.title} is production: {what}. Type {word} to go on: ") != word:
        raise UsageError("not confirmed; nothing was touched")
