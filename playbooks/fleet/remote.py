"""One live session with one host, and the one way to act on it: run a step's script."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import fabric
import paramiko

from playbooks.core.errors import StepFailed, Unreachable
from playbooks.core.step_codes import StepCode
from playbooks.fleet import channels
from playbooks.fleet import script as scripts
from playbooks.fleet.address import Address
from playbooks.fleet.failures import explain, lost
from playbooks.fleet.lock_owner import FencingToken
from playbooks.fleet.progress import Progress, Trip
from playbooks.fleet.remote_shell import Note, Payload, RemoteShell, ShellRequest
from playbooks.fleet.script import StepResult
from playbooks.fleet.session import Session

# How often a step is begun at the most: each time it was lost before it had begun on the host.
MAX_TRIES = 4
# The code of a step that says that not all of its payload came. It has changed nothing then.
_NOT_IN_UNITS = re.compile(r"[^A-Za-z0-9:_.-]")  # systemd.unit(5)


@dataclass(frozen=True)
class StepCall:
    """A step that a host is asked for.

    Args:
        step: the script's name, ``playbooks/steps/<step>.sh``.
        arguments: its arguments; anything may be in them but a NUL, and nothing secret.
        payload: what it reads on standard input; secrets travel here.
        acts: it changes something, so it runs in a systemd unit and goes on to its end when the session drops.
        unit: a unit of its own by this name, rather than the task's.
        leaves: it goes on by itself, and all that is waited for is its first record, ``begun``. Nothing can follow it.
        timeout: seconds for the whole step.
        note: called with each line it writes on standard error, while it runs.
    """

    step: str
    arguments: Sequence[str] = ()
    payload: Payload = b""
    acts: bool = False
    unit: str | None = None
    leaves: bool = False
    timeout: float = 60.0
    note: Note | None = None


@dataclass(frozen=True)
class Remote:
    """An open session with one host.

    Args:
        address: the host.
        session: the connection.
        progress: told of each operation.
        deadline: when the whole task should be over, by the monotonic clock; no step goes on beyond it.
    """

    address: Address
    session: Session
    progress: Progress
    deadline: float = math.inf

    @property
    def name(self) -> str:
        """The host's inventory name."""
        return self.address.name

    def patient(self) -> Remote:
        """The same session without a deadline: the way back, and the record, are worth any wait."""
        return replace(self, deadline=math.inf)

    def run(
        self,
        step: str,
        arguments: Sequence[str] = (),
        *,
        payload: Payload = b"",
        acts: bool = False,
        unit: str | None = None,
        timeout: float = 60.0,
        note: Note | None = None,
    ) -> StepResult:
        """Run a step's script as root, in one round trip; see `StepCall` and `chain`."""
        (answer,) = self.chain([StepCall(step, arguments, payload, acts, unit, timeout=timeout, note=note)])
        return answer

    def chain(self, asks: Sequence[StepCall]) -> Generator[StepResult, None, None]:
        """Run steps one after another, all in one round trip. The first one that fails is the last.

        When the connection breaks while the lock is held, it is had anew: a step that only reads is done again; one
        that acts went on meanwhile, and its answer is fetched.

        Args:
            asks: the steps, those that act before those that only read.

        Yields:
            Their answers, each as it comes.

        Raises:
            StepFailed: it said why, or ended badly.
            StepTimedOut: it did not end in time; it may still be running on the host.
            BecomeRefused: sudo said no.
            BadAnswer: the host answers something else than a script of ours.
            Unreachable: the session is gone.
        """
        queue = deque(asks)
        tries = 0
        while queue:
            connection = self.session.connection
            tries += 1
            attempt = _Attempt()
            try:
                yield from self._attempt(connection, queue, attempt)
            except Unreachable as broken:
                # A line that ended while nobody used it; a host runs no script that did not arrive whole.
                if attempt.unsent and channels.is_alive(connection) and tries < MAX_TRIES:
                    continue
                if channels.is_alive(connection) or tries == MAX_TRIES:
                    raise
                if not self.session.renewable:
                    raise (self.session.ended or broken) from None
                if queue[0].note:
                    queue[0].note(f"{broken.message}; connecting again")
                self.session.renew(connection)
                found = self._fetch(queue[0], attempt)
                if found is not None:
                    queue.popleft()
                    yield found

    def _attempt(
        self, connection: fabric.Connection, queue: deque[StepCall], attempt: _Attempt
    ) -> Iterator[StepResult]:
        """Have the steps done on one line; those that are done leave the queue."""
        began = time.monotonic()
        line: RemoteShell | None = None
        well = False
        try:
            line, round_trips = self._line(connection, queue[0])
            attempt.unit = line.unit or ""
            attempt.unsent = round_trips == 1
            requests = []
            for ask in queue:
                request, folder = self._request(ask, line)
                requests.append(request)
                attempt.folders.append(folder)
                attempt.deadline = self._until(ask)
                line.send(request, attempt.deadline)
                attempt.unsent = False
                self.progress.operation(self.name, ask.step, "sent")
            sent = time.monotonic()
            for request in requests:
                ask = queue[0]
                attempt.deadline = self._until(ask)
                reply = line.receive(request, attempt.deadline, ask.note)
                ended = self.session.heard = time.monotonic()
                answer = scripts.parse(self.name, ask.step, reply.output, ended - began)
                self.progress.operation(self.name, ask.step, "answered")
                out = len(request.text) + len(request.payload)
                self.progress.trip(
                    Trip(self.name, ask.step, began, sent, ended, reply.work, out, len(reply.output), round_trips)
                )
                if reply.status != 0:
                    raise explain(self.name, ask.step, answer, reply.status, reply.errors)
                if reply.work is None:
                    raise answer.bad("it has no end")
                queue.popleft()
                attempt.folders.popleft()
                began, sent, round_trips = ended, ended, 0
                well = not queue and ask.unit is None and not ask.leaves
                yield answer
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise lost(self.name, queue[0].step, error) from None
        finally:
            if line is not None and well:
                self.session.give(line, connection)
            elif line is not None:
                line.close()

    def _until(self, ask: StepCall) -> float:
        return min(time.monotonic() + ask.timeout, self.deadline)

    def _line(self, connection: fabric.Connection, ask: StepCall) -> tuple[RemoteShell, int]:
        """A line for a step, and how many round trips it costs to use it."""
        acts = ask.acts or ask.unit is not None
        if ask.unit is None:
            idle = self.session.take(acts=acts)
            if idle is not None:
                return idle, 1
        unit = None
        if acts:
            unit = _NOT_IN_UNITS.sub("_", ask.unit) if ask.unit else _unit(self.session.claim, ask.step)
        line, trips = self.session.open_line(connection, unit)
        return line, 1 + trips

    def make_ready(self, claim: FencingToken) -> None:
        """Start lines for steps that act and that read, while the lock is waited for on the one there was.

        Args:
            claim: that is about to be had.
        """
        self.session.start_ahead([_unit(claim, ""), None])

    def _request(self, ask: StepCall, line: RemoteShell) -> tuple[ShellRequest, str]:
        """What goes out, and the folder on the host in which the answer waits if the connection breaks."""
        script = scripts.load(ask.step)
        claim = self.session.claim
        if claim is not None and ask.leaves:
            return ShellRequest(ask.step, script.leaving(claim), ask.arguments, ask.payload, leaves=True), ""
        # Without a lock no loss is ridden out, so nobody would ask for the answer.
        if claim is None or not (ask.acts or ask.unit):
            return ShellRequest(ask.step, script.reading(), ask.arguments, ask.payload), ""
        folder = f"{claim.run}/answers/{line.unit}.{ask.step}.{secrets.token_hex(4)}"
        return ShellRequest(ask.step, script.acting(folder, claim), ask.arguments, ask.payload), folder

    def _fetch(self, ask: StepCall, attempt: _Attempt) -> StepResult | None:
        """How a step went whose connection broke; None if it is to be begun again: it had not, or its payload was cut.

        Raises:
            StepFailed: badly.
        """
        step, folder = ask.step, attempt.folders[0] if attempt.folders else ""
        if not folder:
            return None
        seconds = max(1, min(attempt.deadline - time.monotonic(), 86400))
        remote = replace(self, deadline=attempt.deadline)
        answer = remote.run("result", [attempt.unit, folder, f"{seconds:.0f}"], timeout=seconds + 60)
        (went,) = answer.one("step", 1)
        if went == "never":
            return None
        if went == "running":
            raise lost(self.name, step, TimeoutError())
        if went == "killed":
            raise StepFailed(f"'{step}' was killed on the host", host=self.name, step=step)
        kept = replace(answer, step=step)
        status = answer.number(went.removeprefix("ended "))
        if status == 0:
            return kept
        error = explain(self.name, step, kept, status, b"")
        if isinstance(error, StepFailed) and error.code == StepCode.CUT:
            return None
        raise error

    def close(self) -> None:
        """End the session. Steps that run in a unit go on."""
        self.session.close()


def _unit(claim: FencingToken | None, step: str) -> str:
    """The name of a unit that steps act in; no two are the same."""
    name = f"slipway-{claim.app}-{claim.task}" if claim else f"slipway-{step}-task"
    return f"{_NOT_IN_UNITS.sub('_', name)}-{secrets.token_hex(2)}"


@dataclass
class _Attempt:
    """What is known of steps under way, should the connection break.

    Args:
        unit: that they run in.
        folders: where the answers of those to come are kept; "" for one that only reads.
        deadline: of the one that is under way.
        unsent: nothing of them has gone out whole, and the line was an idle one.
    """

    unit: str = ""
    folders: deque[str] = field(default_factory=deque)
    deadline: float = math.inf
    unsent: bool = False
