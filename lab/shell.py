"""Running programs on this machine, with a sentence when one fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from playbooks.core.errors import SlipwayError


def run(words: Sequence[str], *, ok: Sequence[int] = (0,), stdin: str | None = None) -> str:
    """Run a program; returns its standard output.

    Raises:
        SlipwayError: it ended with a status that is not ok.
    """
    done = subprocess.run(words, capture_output=True, text=True, input=stdin, check=False)
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise SlipwayError(f"'{' '.join(words[:6])}' failed: {' / '.join(said)}")
    return done.stdout


def say(text: str) -> None:
    """Progress, for a person."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
