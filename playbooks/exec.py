"""Run a person's command in the release that runs, on one host or on all, and write down that it was."""

from __future__ import annotations

import secrets
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, SlipwayError, Unreachable, UsageError
from playbooks.core.names import cut, stamp
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.recording import sealed, write_down
from playbooks.steps.exec import Command, run_command
from playbooks.steps.facts import Facts
from playbooks.steps.finish import Finished, finish

# Of what a command writes on a host, so much is kept for a JSON document: its end.
MAX_KEPT = 1024 * 1024  # characters
MAX_COMMAND = 1000  # characters of it in the ledger

Tell = Callable[[str, str], None]


@dataclass
class HostRun:
    """How a command went on one host.

    Args:
        status: its exit status; None where it was ended, or never began.
        error: why it never began, or cannot be known.
        lost: whether the host was lost while it ran; the command is ended there.
        output: what it wrote, both streams; of very much the end.
    """

    host: str
    version: str | None = None
    status: int | None = None
    error: str | None = None
    lost: bool = False
    output: list[str] = field(default_factory=list)
    kept: int = 0

    def keep(self, line: str) -> None:
        """Keep a line of its output."""
        self.output.append(line)
        self.kept += len(line) + 1
        while self.kept > MAX_KEPT:
            self.kept -= len(self.output.pop(0)) + 1

    @property
    def result(self) -> str:
        """In a word or two."""
        if self.error is not None:
            return "lost" if self.lost else "not run"
        return "interrupted" if self.status is None else f"status {self.status}"


@dataclass(frozen=True)
class Executed:
    """How it went.

    Args:
        id: in the ledger.
        command: as a shell would read it.
        unrecorded: hosts whose ledgers could not be written, and why.
    """

    environment: str
    id: str
    command: str
    hosts: tuple[HostRun, ...]
    unrecorded: Mapping[str, str]
    unreachable: Mapping[str, str]

    @property
    def exit_status(self) -> ExitStatus:
        """0: status 0 on every host; 1: not so; 3: a host cannot be reached, or was lost."""
        if self.unreachable or any(run.lost for run in self.hosts):
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.DONE if all(run.status == 0 for run in self.hosts) else ExitStatus.FAILED

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "id": self.id,
            "command": self.command,
            "hosts": [
                {
                    "host": run.host,
                    "version": run.version,
                    "status": run.status,
                    "error": run.error,
                    "output": run.output,
                }
                for run in self.hosts
            ],
            "unreachable": dict(self.unreachable),
            "unrecorded": dict(self.unrecorded),
            "exit_status": int(self.exit_status),
        }


def execute(
    env: Environment, progress: Progress, words: Sequence[str], *, unit: str | None = None, tell: Tell | None = None
) -> Executed:
    """Run a command on every host. It takes no lock: a deploy neither waits for it nor keeps it waiting.

    Args:
        env: where.
        progress: who watches.
        words: program and arguments.
        unit: see `Command`.
        tell: called with a host's name and each line that the command writes there, as it comes.

    Raises:
        UsageError: there is no command.
        SlipwayError: no host can be reached.
    """
    if not words:
        raise UsageError(
            "which command? write it after --; nothing was touched", hint=f"invoke exec {env.flag} -- bin/rails about"
        )
    env.signing.prepare(progress.warn)
    started, began = now(), time.monotonic()
    command = shlex.join(words) if len(words) > 1 else words[0]
    id_ = f"{stamp(started)}"
    holder = LockOwner(who(), f"exec {cut(command, 200)}", instant(started), id_, "exec")
    addresses = [target.address for target in env.targets]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, acts=True) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        facts = read_all(fleet, env, [target for target in env.targets if target.name in fleet.remotes])
        tell_of_tasks(facts, progress)
        runs = {host: HostRun(host, fact.version) for host, fact in facts.items()}
        _run_on_all(fleet, env, runs, words, unit, id_, tell)
        outcome = _outcome(env, holder, command, list(runs.values()), time.monotonic() - began)
        unrecorded = record(fleet, env, holder, outcome, facts)
    for host, why in unrecorded.items():
        progress.warn(f"{host}: the record could not be written: {why}")
    return Executed(
        environment=env.name,
        id=id_,
        command=command,
        hosts=tuple(runs.values()),
        unrecorded=unrecorded,
        unreachable={host: error.message for host, error in fleet.unreachable.items()},
    )


def tell_of_tasks(facts: Mapping[str, Facts], progress: Progress) -> None:
    """Say who may change the release under a person's hands.

    Args:
        facts: by host.
        progress: who watches.
    """
    busy = next((fact.lock for fact in facts.values() if fact.lock), None)
    if busy is not None:
        progress.warn(
            f"{busy.who} is at work ('{busy.what}', since {busy.since}): the release may change, and a command "
            "stays in the one that it began in"
        )


def _run_on_all(
    fleet: Fleet,
    env: Environment,
    runs: Mapping[str, HostRun],
    words: Sequence[str],
    unit: str | None,
    id_: str,
    tell: Tell | None,
) -> None:
    stop, telling = threading.Event(), threading.Lock()
    name = f"slipway-{env.settings.app}-exec-{id_}-{secrets.token_hex(2)}"
    places = threading.Semaphore(env.settings.forks)

    def one(run: HostRun, remote: Remote) -> None:
        def told(line: str) -> None:
            if tell is None:
                run.keep(line)
                return
            with telling:
                tell(run.host, line)

        with places:
            if stop.is_set():
                return
            try:
                settings = env.target(run.host).settings
                run.status = run_command(remote, settings, Command(words, unit, name), told, stop)
            except SlipwayError as error:
                run.error, run.lost = error.message, isinstance(error, Unreachable)

    threads = [
        threading.Thread(target=partial(one, run, fleet.remotes[host]), daemon=True) for host, run in runs.items()
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            # The hosts' ends are told, and what became of it is written down.
            stop.set()


def _outcome(env: Environment, holder: LockOwner, command: str, runs: Sequence[HostRun], seconds: float) -> Outcome:
    well = all(run.status == 0 for run in runs)
    ended = any(run.status is None and run.error is None for run in runs)
    return Outcome(
        task=holder.task,
        id=holder.id,
        environment=env.name,
        version=", ".join(sorted({run.version for run in runs if run.version})),
        status="done" if well else "interrupted" if ended else "failed",
        message=f"ran in the release: {cut(command, MAX_COMMAND)}",
        hosts=tuple(HostOutcome(run.host, run.version, run.version, run.result, run.error or "") for run in runs),
        started=holder.since,
        seconds=seconds,
        by=holder.who,
        reason=cut(command, MAX_COMMAND),
        exit_status=ExitStatus.DONE if well else ExitStatus.FAILED,
    )


def record(
    fleet: Fleet, env: Environment, holder: LockOwner, outcome: Outcome, facts: Mapping[str, Facts]
) -> dict[str, str]:
    """Write into the ledgers what a person did in the release.

    Returns:
        Why it could not be written, by host.
    """
    document = sealed(env, holder, outcome, facts)

    def one(remote: Remote) -> Finished:
        return finish(remote, env.target(remote.name).settings, document)

    failed = write_down(fleet, env, "record", list(facts), one)
    return {host: error.message for host, error in failed.items()}
