"""Open a terminal in the running release on one host, as its unit would run it; record that it was opened."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from playbooks.core.answer import Answer
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.exec import own_id, record, require_release, require_unit, tell_of_tasks
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.terminal import attach
from playbooks.rollout.outcome import HostOutcome, Outcome

_STATUS = re.compile(rb"[0-9]{1,3}")
_TERMINAL = re.compile(r"[A-Za-z0-9._+-]{1,40}")


@dataclass(frozen=True)
class Console(Answer):
    """A console that was opened, and has ended.

    Args:
        status: the program's; None where the connection ended before it.
    """

    host: str
    version: str | None
    status: int | None = None

    @property
    def exit_status(self) -> ExitStatus:
        """0: it ended with 0; 1: not so; 3: the host was lost."""
        if self.status is None:
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.FAILED if self.status else ExitStatus.DONE


def console(
    env: Environment, progress: Progress, write: Callable[[bytes], None], *, unit: str | None = None
) -> Console:
    """Give this terminal to a program in the release of the first host.

    Args:
        env: where; one host of it.
        progress: who watches.
        write: writes to the terminal.
        unit: as which one; left out, the release's first service.

    Raises:
        UsageError: there is no such unit.
        SlipwayError: the host cannot be reached, or nothing runs there.
    """
    env.signing.prepare(progress.warn)
    target = env.targets[0]
    started = now()
    holder = LockOwner(who(), f"console on {target.name}", instant(started), own_id(started), "console")
    with open_fleet([target.address], progress=progress, forks=1, acts=True) as fleet:
        fleet.require_all()
        facts = read_all(fleet, env, [target])
        require_unit(facts, unit)
        require_release(facts)
        tell_of_tasks(facts, progress)
        version = facts[target.name].version
        outcome = Outcome(
            task="console",
            id=holder.id,
            environment=env.name,
            version=version or "",
            status=TaskStatus.DONE,
            message=f"a console was opened on {target.name}",
            hosts=(HostOutcome(target.name, version, version, "opened"),),
            started=holder.since,
            seconds=0.0,
            by=holder.who,
        )
        # Before it is: who dies in it has been there all the same.
        for host, why in record(fleet, env, holder, outcome, facts).items():
            progress.warn(f"{host}: the record could not be written: {why}")
        name = f"slipway-{target.settings.app}-console-{holder.id}-{secrets.token_hex(2)}"
        # What runs there knows its unit's name, and could say that it has ended: what is typed next is meant for it.
        mark = secrets.token_hex(16)
        terminal = os.environ.get("TERM", "")
        settings = target.settings
        arguments = [
            settings.home,
            settings.run_user,
            unit or "-",
            name,
            terminal if _TERMINAL.fullmatch(terminal) else "dumb",
            f"{settings.app} {version} on {target.name} $ ",
            settings.console,
            mark,
        ]
        said = attach(fleet.remotes[target.name], "console", arguments, write, end=mark.encode())
    return Console(env.name, target.name, version, int(said) if said and _STATUS.fullmatch(said) else None)
