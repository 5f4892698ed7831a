"""Run programs on this machine, and raise a sentence if one fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from playbooks.core.errors import SlipwayError


def run(words: Sequence[str], *, ok: Sequence[int] = (0,), stdin: str | None = None) -> str:
    """Run a program, and return its standard output.

    Raises:
        SlipwayError: its exit status is not accepted.
    """
    done = subprocess.run(words, capture_output=True, text=True, input=stdin, check=False)
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise SlipwayError(f"'{' '.join(words[:6])}' failed: {' / '.join(said)}")
    return done.stdout


def say(text: str) -> None:
    """Print progress for a person."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
