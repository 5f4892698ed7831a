"""What a person sees while a task runs and at its end. Importing this is cheap: Rich is loaded only when it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from playbooks.fleet.progress import Progress
from playbooks.report.output import ShownOnly


@contextmanager
def choose(stream: TextIO) -> Iterator[Progress]:
    """A live display on a terminal, plain lines elsewhere.

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
    """Plain lines everywhere, for tasks that reach no host.

    Args:
        stream: standard error.
    """
    from playbooks.report.plain import Plain

    yield ShownOnly(Plain(stream))
