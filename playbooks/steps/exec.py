"""Run a person's command in the running release on a host, as its unit would run it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from playbooks.core.errors import BadAnswer
from playbooks.fleet.listening import listen
from playbooks.fleet.remote import Remote
from playbooks.settings import Settings

OUT, STATUS = b"out\t", b"status\t"


@dataclass(frozen=True)
class Command:
    """The command to run.

    Args:
        words: program and arguments.
        unit: the unit whose environment it gets; default: the release's first service.
        name: the unique name of the systemd unit that it runs in.
    """

    words: Sequence[str]
    unit: str | None
    name: str


def run_command(
    remote: Remote, settings: Settings, command: Command, tell: Callable[[str], None], stop: threading.Event
) -> int | None:
    """Run the command and pass on each line that it writes.

    Args:
        remote: the host.
        settings: its settings.
        command: the command.
        tell: called with each line of its output.
        stop: ends the command when set.

    Returns:
        The command's exit status; None if it was ended early.

    Raises:
        StepFailed: no release runs there, or the unit does not exist.
        Unreachable: the session is lost; the host ends the command.
    """
    values = {
        "home": settings.home,
        "user": settings.run_user,
        "wanted": command.unit or "-",
        "name": command.name,
    }
    status: int | None = None
    with contextlib.closing(listen(remote, "exec", values, command.words, stop=stop)) as lines:
        for line in lines:
            if line.startswith(OUT):
                tell(line[len(OUT) :].decode("utf-8", "replace"))
            elif line.startswith(STATUS):
                text = line[len(STATUS) :]
                if not re.fullmatch(rb"[0-9]{1,3}", text) or int(text) > 255:
                    raise BadAnswer("it does not say how the command ended", host=remote.name)
                status = int(text)
    return status
