"""What a person sees while a task runs and at its end. Importing this costs nothing: Rich comes in when it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from playbooks.fleet.progress import Progress
from playbooks.report.output import ShownOnly


@contextmanager
def choose(stream: TextIO) -> Iterator[Progress]:
    """A live picture on a terminal, plain lines elsewhere.

    Args:
        stream: standard error.
    """
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI"):
        from playbooks.report.live import Live

        with Live(stream) as live:
            yield ShownOnly(live)
    else:
        with still(stream) as plain:
            yield plain


@contextmanager
def still(stream: TextIO) -> Iterator[Progress]:
    """Plain lines everywhere, for what reaches no host.

    Args:
        stream: standard error.
    """
    from playbooks.report.plain import Plain

    yield ShownOnly(Plain(stream))
