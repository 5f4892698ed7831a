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
from playbooks.exec import own_id, require_release, require_unit, tell_of_tasks
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.terminal import attach
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.recording import record_alone

_STATUS = re.compile(rb"[0-9]{1,3}")
_TERMINAL = re.compile(r"[A-Za-z0-9._+-]{1,40}")


@dataclass(frozen=True)
class Console(Answer):
    """The result of a console session.

    Args:
        status: the program's exit status; None if the connection ended first.
    """

    host: str
    version: str | None
    status: int | None = None

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0 if the program ended with 0, 3 if the host was lost, else 1."""
        if self.status is None:
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.FAILED if self.status else ExitStatus.DONE


def console(
    env: Environment, progress: Progress, write: Callable[[bytes], None], *, unit: str | None = None
) -> Console:
    """Connect this terminal to a program in the first host's release.

    Args:
        env: the environment; its first host is used.
        progress: receives what to show a person.
        write: writes to the terminal.
        unit: the unit whose environment the program gets; default: the release's first service.

    Raises:
        UsageError: the unit does not exist.
        SlipwayError: the host is unreachable, or runs no release.
    """
    env.signing.prepare(progress.warn)
    target = env.targets[0]
    started = now()
    owner = LockOwner(who(), f"console on {target.name}", instant(started), own_id(started), "console")
    with open_fleet([target.address], progress=progress, forks=1, acts=True) as fleet:
        fleet.require_all()
        facts = read_all(fleet, env, [target])
        require_unit(facts, unit)
        require_release(facts)
        tell_of_tasks(facts, progress)
        version = facts[target.name].version
        outcome = Outcome(
            task="console",
            id=owner.id,
            environment=env.name,
            version=version or "",
            status=TaskStatus.DONE,
            message=f"a console was opened on {target.name}",
            hosts=(HostOutcome(target.name, version, version, "opened"),),
            started=owner.since,
            seconds=0.0,
            by=owner.who,
        )
        # Record before it opens, so that the record exists even if this process dies.
        for host, why in record_alone(fleet, env, owner, outcome, facts).items():
            progress.warn(f"{host}: what was done stays, but its ledger has no record of it: {why}")
        name = f"slipway-{target.settings.app}-console-{owner.id}-{secrets.token_hex(2)}"
        # The mark is secret: a program on the host could otherwise fake the end, and the person's next input would go
        # to the local shell.
        mark = secrets.token_hex(16)
        terminal = os.environ.get("TERM", "")
        settings = target.settings
        values = {
            "home": settings.home,
            "user": settings.run_user,
            "wanted": unit or "-",
            "name": name,
            "terminal": terminal if _TERMINAL.fullmatch(terminal) else "dumb",
            "prompt": f"{settings.app} {version} on {target.name} $ ",
            "command": settings.console,
            "mark": mark,
        }
        said = attach(fleet.remotes[target.name], "console", values, write, end=mark.encode())
    return Console(env.name, target.name, version, int(said) if said and _STATUS.fullmatch(said) else None)
