"""Run steps' scripts on a host, over one session. There is no other way to act on a host."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
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

# How often a step may be sent again, if it was lost before it began on the host.
MAX_TRIES = 4
# Characters that the name of a systemd unit may not have: systemd.unit(5).
_NOT_IN_UNITS = re.compile(r"[^A-Za-z0-9:_.-]")


@dataclass(frozen=True)
class StepCall:
    """A step to run on a host.

    Args:
        step: the script's name, ``playbooks/steps/<step>.sh``.
        words: its list of words; any text without NUL and without secrets.
        payload: its standard input, which may hold secrets.
        acts: it changes something, so it runs in a systemd unit and continues if the session breaks.
        unit: the name of its own systemd unit, if it does not use the task's.
        leaves: it continues by itself; the controller waits only for its first record, ``begun``. It is the last step.
        timeout: seconds for the whole step.
        note: called with each line it writes on standard error, while it runs.
        values: the values that it needs, by name; as words, any text without NUL and without secrets.

    Raises:
        ValueError: these are not the values that the script needs, or it takes no words.
    """

    step: str
    words: Sequence[str] = ()
    payload: Payload = b""
    acts: bool = False
    unit: str | None = None
    leaves: bool = False
    timeout: float = 60.0
    note: Note | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scripts.load(self.step).check(self.values, self.words)


@dataclass(frozen=True)
class Remote:
    """An open session with one host.

    Args:
        address: the host.
        session: the connection.
        progress: receives each operation.
        deadline: the task's end by the monotonic clock; no step continues after it.
    """

    address: Address
    session: Session
    progress: Progress
    deadline: float = math.inf

    @property
    def name(self) -> str:
        """Return the host's inventory name."""
        return self.address.name

    def without_deadline(self) -> Remote:
        """Return the same session without a deadline, for taking back and for records."""
        return replace(self, deadline=math.inf)

    def run(
        self,
        step: str,
        words: Sequence[str] = (),
        *,
        values: Mapping[str, str] | None = None,
        payload: Payload = b"",
        acts: bool = False,
        unit: str | None = None,
        timeout: float = 60.0,
        note: Note | None = None,
    ) -> StepResult:
        """Run a step's script as root, in one round trip; see `StepCall` and `chain`."""
        call = StepCall(step, words, payload, acts, unit, timeout=timeout, note=note, values=values or {})
        (answer,) = self.chain([call])
        return answer

    def chain(self, asks: Sequence[StepCall]) -> Generator[StepResult, None, None]:
        """Run steps one after another in one round trip. A failed step is the last.

        When the connection breaks while the lock is held, the session reconnects. A step that only reads runs again;
        a step that acts has continued meanwhile, and its answer is fetched.

        Args:
            asks: the steps; those that act come before those that only read.

        Yields:
            The answers, each as it comes.

        Raises:
            StepFailed: the step failed.
            StepTimedOut: the step did not end in time; it may still run on the host.
            BecomeRefused: sudo refused.
            BadAnswer: the answer does not come from one of our scripts.
            Unreachable: the session is lost.
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
                # The idle shell had ended. A host runs only scripts that arrive complete, so sending again is safe.
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
        """Run the steps in one shell; completed steps leave the queue."""
        began = time.monotonic()
        shell: RemoteShell | None = None
        reusable = False
        try:
            shell, round_trips = self._idle_or_new_shell(connection, queue[0])
            attempt.unit = shell.unit or ""
            attempt.unsent = round_trips == 1
            requests = []
            for ask in queue:
                request, folder = self._request(ask, shell)
                requests.append(request)
                attempt.folders.append(folder)
                attempt.deadline = self._until(ask)
                shell.send(request, attempt.deadline)
                attempt.unsent = False
                self.progress.operation(self.name, ask.step, "sent")
            sent = time.monotonic()
            for request in requests:
                ask = queue[0]
                attempt.deadline = self._until(ask)
                reply = shell.receive(request, attempt.deadline, ask.note)
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
                reusable = not queue and ask.unit is None and not ask.leaves
                yield answer
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise lost(self.name, queue[0].step, error) from None
        finally:
            if shell is not None and reusable:
                self.session.give(shell, connection)
            elif shell is not None:
                shell.close()

    def _until(self, ask: StepCall) -> float:
        return min(time.monotonic() + ask.timeout, self.deadline)

    def _idle_or_new_shell(self, connection: fabric.Connection, ask: StepCall) -> tuple[RemoteShell, int]:
        """Return a shell for a step, and how many round trips its use costs."""
        acts = ask.acts or ask.unit is not None
        if ask.unit is None:
            idle = self.session.take(acts=acts)
            if idle is not None:
                return idle, 1
        unit = None
        if acts:
            unit = _NOT_IN_UNITS.sub("_", ask.unit) if ask.unit else _unit(self.session.fencing_token, ask.step)
        shell, trips = self.session.open_shell(connection, unit)
        return shell, 1 + trips

    def make_ready(self, fencing_token: FencingToken) -> None:
        """Start shells for steps that act and steps that read, while the first one waits for the lock.

        Args:
            fencing_token: the fencing token that the lock will give.
        """
        self.session.start_ahead([_unit(fencing_token, ""), None])

    def _request(self, ask: StepCall, shell: RemoteShell) -> tuple[ShellRequest, str]:
        """Build the request, and the folder on the host that keeps the answer if the connection breaks."""
        script = scripts.load(ask.step).given(ask.values)
        fencing_token = self.session.fencing_token
        if fencing_token is not None and ask.leaves:
            return ShellRequest(ask.step, script.leaving(fencing_token), ask.words, ask.payload, leaves=True), ""
        # Without a lock the session does not connect again, so nobody would fetch the answer.
        if fencing_token is None or not (ask.acts or ask.unit):
            return ShellRequest(ask.step, script.reading(), ask.words, ask.payload), ""
        folder = f"{fencing_token.run}/answers/{shell.unit}.{ask.step}.{secrets.token_hex(4)}"
        return ShellRequest(ask.step, script.acting(folder, fencing_token), ask.words, ask.payload), folder

    def _fetch(self, ask: StepCall, attempt: _Attempt) -> StepResult | None:
        """Fetch the answer of a step whose connection broke; None if the step must be sent again.

        Raises:
            StepFailed: the step failed.
        """
        step, folder = ask.step, attempt.folders[0] if attempt.folders else ""
        if not folder:
            return None
        seconds = max(1, min(attempt.deadline - time.monotonic(), 86400))
        remote = replace(self, deadline=attempt.deadline)
        answer = remote.run(
            "result",
            values={"unit": attempt.unit, "answer": folder, "seconds": f"{seconds:.0f}"},
            timeout=seconds + 60,
        )
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
        """Close the session. Steps in a unit continue."""
        self.session.close()


def _unit(fencing_token: FencingToken | None, step: str) -> str:
    """Return a unique name for a unit in which steps act."""
    name = f"slipway-{fencing_token.app}-{fencing_token.task}" if fencing_token else f"slipway-{step}-task"
    return f"{_NOT_IN_UNITS.sub('_', name)}-{secrets.token_hex(2)}"


@dataclass
class _Attempt:
    """The steps under way, for use after a connection breaks.

    Args:
        unit: the unit in which they run.
        folders: the folders of the answers that are outstanding; "" for a step that only reads.
        deadline: the present step's deadline.
        unsent: no step was sent completely, and the shell had been idle.
    """

    unit: str = ""
    folders: deque[str] = field(default_factory=deque)
    deadline: float = math.inf
    unsent: bool = False
