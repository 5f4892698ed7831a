"""Run a person's command in the running release, on one host or on all, and record it."""

from __future__ import annotations

import secrets
import shlex
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from playbooks.core.answer import HostFailure, failures, failures_told
from playbooks.core.clock import instant, now
from playbooks.core.errors import ExitStatus, Interrupted, SlipwayError, Unreachable, UsageError, stopped
from playbooks.core.names import cut, stamp
from playbooks.core.states import TaskStatus
from playbooks.core.surroundings import who
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import read_all
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.rollout.outcome import HostOutcome, Outcome
from playbooks.rollout.recording import record_alone
from playbooks.steps.exec import Command, run_command
from playbooks.steps.facts import Facts

# The JSON document keeps the end of a command's output on a host, up to this size.
MAX_KEPT = 1024 * 1024  # characters
MAX_COMMAND = 1000  # characters of a command in the ledger
POLL_SECONDS = 0.3
NOT_FOUND = 127  # sh(1)
NOTHING_RUNS = "nothing that Slipway deployed runs here"

Tell = Callable[[str, str], None]


@dataclass
class HostRun:
    """A command's result on one host.

    Args:
        status: its exit status; None if it was ended early or did not begin.
        error: why it did not begin, or why its result is unknown.
        code: the error's code; empty if there is no error.
        lost: whether the host was lost while it ran; the host ends the command.
        begun: whether it was about to begin.
        output: the end of both output streams.
    """

    host: str
    version: str | None = None
    status: int | None = None
    error: str | None = None
    code: str = ""
    lost: bool = False
    begun: bool = False
    output: deque[str] = field(default_factory=deque)
    kept: int = 0

    def keep(self, line: str) -> None:
        """Keep a line of its output."""
        self.output.append(line)
        self.kept += len(line) + 1
        while self.kept > MAX_KEPT:
            self.kept -= len(self.output.popleft()) + 1

    @property
    def result(self) -> str:
        """Return the result in a word or two."""
        if self.error is not None:
            return "lost" if self.lost else "not run"
        if self.status is None:
            return "interrupted" if self.begun else "not run"
        return f"status {self.status}"

    @property
    def told(self) -> str:
        """Return the result, with the name of the signal if one ended the command."""
        try:
            return f"{self.result} ({signal.Signals((self.status or 0) - 128).name})"
        except ValueError:
            return self.result


@dataclass(frozen=True)
class Executed:
    """The results of a command on all hosts.

    Args:
        id: its id in the ledger.
        command: the command in shell syntax.
        unrecorded: why ledgers could not be written, by host.
        ended: who ended it early; empty if nobody did.
        hint: what the person may have meant.
    """

    schema: ClassVar[str] = "slipway.exec/1"
    environment: str
    id: str
    command: str
    hosts: tuple[HostRun, ...]
    unrecorded: Mapping[str, str]
    unreachable: Mapping[str, HostFailure]
    ended: str = ""
    hint: str = ""

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0 if the status is 0 on every host, 3 if a host is unreachable or was lost, else 1."""
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
                    "result": run.result,
                    "error": run.error,
                    "code": run.code,
                    "output": list(run.output),
                }
                for run in self.hosts
            ],
            "unreachable": failures_told(self.unreachable),
            "unrecorded": dict(self.unrecorded),
            "exit_status": int(self.exit_status),
        }


def execute(
    env: Environment,
    progress: Progress,
    words: Sequence[str],
    *,
    unit: str | None = None,
    tell: Tell | None = None,
    deserted: Callable[[], bool] = lambda: False,
) -> Executed:
    """Run a command on every host. It takes no lock, so it and a deploy do not wait for each other.

    Args:
        env: the environment.
        progress: receives what to show a person.
        words: the program and its arguments.
        unit: see `Command`.
        tell: called with the host's name and each line of output, as it comes.
        deserted: returns whether nobody reads the output any more; then the command is ended.

    Raises:
        UsageError: there is no command, or the unit does not exist.
        SlipwayError: no host is reachable.
    """
    if not words:
        raise UsageError(
            "exec needs a command, after --; nothing was touched", hint=f"invoke exec {env.flag} -- bin/rails about"
        )
    env.signing.prepare(progress.warn)
    started, began = now(), time.monotonic()
    command = shlex.join(words) if len(words) > 1 else words[0]
    id_ = own_id(started)
    owner = LockOwner(who(), f"exec {cut(command, 200)}", instant(started), id_, "exec")
    addresses = [target.address for target in env.targets]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks, acts=True) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        facts = read_all(fleet, env, [target for target in env.targets if target.name in fleet.remotes])
        require_unit(facts, unit)
        tell_of_tasks(facts, progress)
        idle = [host for host, fact in facts.items() if fact.current is None]
        facts = require_release(facts)
        runs = {host: HostRun(host, fact.version) for host, fact in facts.items()}
        # Record before it begins, so that the record exists even if this machine fails.
        begun = _outcome(env, owner, command, list(runs.values()), 0.0, begins=True)
        unrecorded: dict[str, str] = {}
        try:
            unrecorded |= record_alone(fleet, env, owner, begun, facts)
        except Interrupted as interrupt:
            ended = interrupt.message
        else:
            ended = _run_on_all(fleet, env, runs, words, unit, tell, deserted)
        outcome = _outcome(env, owner, command, list(runs.values()), time.monotonic() - began)
        unrecorded |= record_alone(fleet, env, owner, outcome, facts)
    for host, why in unrecorded.items():
        progress.warn(f"{host}: what was done stays, but its ledger has no record of it: {why}")
    return Executed(
        environment=env.name,
        id=id_,
        command=command,
        hosts=(*runs.values(), *(HostRun(host, error=NOTHING_RUNS) for host in idle)),
        unrecorded=unrecorded,
        unreachable=failures(fleet.unreachable),
        ended=ended,
        hint=_hint(env, words, runs.values()),
    )


def _hint(env: Environment, words: Sequence[str], runs: Iterable[HostRun]) -> str:
    """Return a hint for a person who passed a shell line as a single word."""
    is_line = len(words) == 1 and any(sign in words[0] for sign in " |&;<>$")
    if not is_line or all(run.status != NOT_FOUND for run in runs):
        return ""
    line = f"invoke exec {env.flag} -- sh -c {shlex.quote(words[0])}"
    return f"a command's words are taken as they are; as a line for a shell: {line}"


def own_id(started: datetime) -> str:
    """Make an id for a task without a lock, of which several may begin within a second.

    Args:
        started: the start time.
    """
    return f"{stamp(started)}-{secrets.token_hex(3)}"


def require_release(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """Return the hosts that run a release of Slipway. Others are left out and get no record.

    Args:
        facts: the facts by host.

    Raises:
        SlipwayError: no host runs one.
    """
    found = {host: fact for host, fact in facts.items() if fact.current is not None}
    if not found:
        raise SlipwayError(f"{NOTHING_RUNS}: {', '.join(facts)}; nothing was touched")
    return found


def require_unit(facts: Mapping[str, Facts], wanted: str | None) -> None:
    """Refuse a unit that no host's release has, before any command runs.

    Args:
        facts: the facts by host.
        wanted: the unit, with or without .service or @SLOT.service; None accepts any.

    Raises:
        UsageError: the unit does not exist.
    """
    if wanted is None:
        return
    services = dict.fromkeys(
        unit.name for fact in facts.values() for unit in fact.units if unit.name.endswith(".service")
    )
    forms = (names for name in services for names in (name, name.removesuffix(".service"), name.partition("@")[0]))
    if wanted not in forms and any(fact.current for fact in facts.values()):
        raise UsageError(f"--unit={wanted}: the release has no such service; nothing was touched", hint=had(services))


def had(units: Iterable[str]) -> str:
    """Return a hint that names the existing units.

    Args:
        units: the units' names.
    """
    return f"it has: {', '.join(units) or 'none'}"


def tell_of_tasks(facts: Mapping[str, Facts], progress: Progress) -> None:
    """Warn of running tasks that may change the release meanwhile.

    Args:
        facts: the facts by host.
        progress: receives what to show a person.
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
    tell: Tell | None,
    deserted: Callable[[], bool],
) -> str:
    """Run the command on all hosts at the same time; return who ended it early, if anybody did."""
    stop, telling = threading.Event(), threading.Lock()
    name = f"slipway-{env.settings.app}-exec-{stamp(now())}-{secrets.token_hex(2)}"
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
            run.begun = True
            try:
                settings = env.target(run.host).settings
                run.status = run_command(remote, settings, Command(words, unit, name), told, stop)
            except SlipwayError as error:
                run.error, run.code, run.lost = error.message, error.code, isinstance(error, Unreachable)

    threads = [
        threading.Thread(target=partial(one, run, fleet.remotes[host]), daemon=True) for host, run in runs.items()
    ]
    for thread in threads:
        thread.start()
    return _wait(threads, stop, deserted if tell is not None else lambda: False)


def _wait(threads: Sequence[threading.Thread], stop: threading.Event, deserted: Callable[[], bool]) -> str:
    """Wait for all hosts; return who ended the command early, if anybody did."""
    ended = ""
    while alive := [thread for thread in threads if thread.is_alive()]:
        try:
            alive[0].join(POLL_SECONDS)
            if not ended and deserted():
                ended = "stopped: nobody reads what it writes any more"
                stop.set()
        except KeyboardInterrupt as interrupt:
            # Continue, so that each host's result is shown and recorded.
            ended = ended or stopped(interrupt)
            stop.set()
    return ended


def _outcome(
    env: Environment, owner: LockOwner, command: str, runs: Sequence[HostRun], seconds: float, *, begins: bool = False
) -> Outcome:
    well = all(run.status == 0 for run in runs)
    ended = any(run.status is None and run.error is None for run in runs)
    status = TaskStatus.DONE if well else TaskStatus.INTERRUPTED if ended else TaskStatus.FAILED
    return Outcome(
        task=owner.task,
        id=owner.id,
        environment=env.name,
        version=", ".join(sorted({run.version for run in runs if run.version})),
        status=TaskStatus.BEGUN if begins else status,
        code="" if begins else next((run.code for run in runs if run.code), Interrupted.code if ended else ""),
        message=f"{'began' if begins else 'ran'} in the release: {cut(command, MAX_COMMAND)}",
        hosts=tuple(
            HostOutcome(
                run.host,
                run.version,
                run.version,
                TaskStatus.BEGUN if begins else run.result,
                run.error or "",
                code=run.code,
            )
            for run in runs
        ),
        started=owner.since,
        seconds=seconds,
        by=owner.who,
        reason=cut(command, MAX_COMMAND),
        exit_status=ExitStatus.DONE if well or begins else ExitStatus.FAILED,
    )
