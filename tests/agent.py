"""A real ssh-agent of the tests' own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_AGENT = 2  # ssh-add(1): it cannot contact the agent


@contextmanager
def running_agent(place: Path) -> Iterator[str]:
    """An agent without keys.

    Args:
        place: where its socket is made.
    """
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL) as process:
        try:
            # The socket is there a moment before anybody listens at it.
            while _asked(place) == NO_AGENT:
                assert process.poll() is None
            yield str(place)
        finally:
            process.terminate()


def _asked(place: Path) -> int:
    environment = {**os.environ, "SSH_AUTH_SOCK": str(place)}
    return subprocess.run(["ssh-add", "-l"], env=environment, capture_output=True, check=False).returncode
