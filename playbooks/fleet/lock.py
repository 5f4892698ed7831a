"""Allow one task at a time: a lock on every host, held through a live SSH channel, so it cannot become stale (A1).

The channel also carries the heartbeat. The controller sends one letter for each word: ``b`` the controller is alive;
``c`` the task is confirmed, remove the guard; ``d`` the task has succeeded; ``q`` release the lock. A host that hears
nothing for half of the guard's timeout releases the lock; after all of it, its guard takes the host back
(playbooks/steps/lib/guard.sh).
"""

from __future__ import annotations

import contextlib
import threading
import time

import fabric
import paramiko

from playbooks.core.errors import Locked, SlipwayError, StepFailed, Unreachable
from playbooks.core.state_format import FORMAT
from playbooks.core.step_codes import StepCode
from playbooks.fleet import script as scripts
from playbooks.fleet.channels import exit_status, is_alive
from playbooks.fleet.failures import explain, lost
from playbooks.fleet.lock_owner import CHANGES, FencingToken, LockRequest, read_lock_owner
from playbooks.fleet.progress import Trip
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import ShellRequest
from playbooks.fleet.script import StepResult

MAX_ANSWER = 65536
POLL_SECONDS = 0.01
EXIT_SECONDS = 5.0
GONE_SECONDS = 10.0
MAX_READS = 16  # of 4 kB, each time the answers are read


class Lock:
    """The lock on one host. The heartbeat's thread writes to its channel; the thread that waits reads from it.

    Args:
        remote: the host.
        request: the lock request.

    Raises:
        Locked: another task holds it.
    """

    def __init__(self, remote: Remote, request: LockRequest) -> None:
        self.remote = remote
        self._request = request
        self._mutex = threading.RLock()
        self._lines: list[StepResult] = []
        self._rest = b""
        self._channel, first = self._open(remote.session.connection, None)
        (token,) = first.one("locked", 1)
        self.fencing_token = self._fencing_token(first.number(token))
        self.heard = time.monotonic()
        self._aborted_by = ""
        remote.session.held_by(self, self.fencing_token, window=request.timing.window)

    def retake(self, connection: fabric.Connection) -> None:
        """Take the lock again on a new connection (see `session.Retaken`)."""
        with self._mutex:
            with contextlib.suppress(Exception):
                self._channel.close()
            self._rest = b""
            self._channel, _ = self._open(connection, self.fencing_token.token)
            self.heard = time.monotonic()

    def beat(self) -> fabric.Connection | None:
        """Send a heartbeat, without waiting.

        Returns:
            The connection, if it has broken or the host has been silent for too long.
        """
        connection = self.remote.session.connection
        self._listen()
        with self._mutex:
            silent = time.monotonic() - self.heard > self._request.timing.max_silence
        return None if not silent and is_alive(connection) and self._say(b"b") else connection

    def aborted_by(self) -> str:
        """Return who has asked on this host for the task to end, if anybody has. It does not wait."""
        self._listen()
        return self._aborted_by

    def say(self, word: str) -> None:
        """Send a word. `wait` reads the answer, and sends a lost word again."""
        with self._mutex:
            self._lines.clear()
        self._say(word.encode())

    def wait(self, word: str, answers: tuple[str, ...], *, seconds: float) -> str:
        """Wait for the answer to a word.

        Args:
            word: the word, which is sent again after a loss.
            answers: the tags of possible answers.
            seconds: how long to wait.

        Raises:
            SlipwayError: the host is lost or does not answer.
        """
        until = time.monotonic() + seconds
        connection = self.remote.session.connection
        while True:
            self._listen()
            with self._mutex:
                heard = [line.records[0].tag for line in self._lines if line.records]
            found = [tag for tag in heard if tag in answers]
            if found:
                return found[-1]
            if not is_alive(connection) or self.remote.session.connection is not connection:
                connection = self.remote.session.renew(connection)
                self._say(word.encode())
            if time.monotonic() > until:
                raise Unreachable(f"no answer for {seconds:.0f} s", host=self.remote.name)
            time.sleep(POLL_SECONDS)

    def leave(self, *, succeeded: bool) -> None:
        """Ask the host to release the lock; `gone` waits until it is released.

        Args:
            succeeded: whether the task has repaired an earlier interruption, which the host can forget.
        """
        self.remote.session.held_by(None, None)
        with self._mutex, contextlib.suppress(Exception):
            self._channel.settimeout(5)
            self._channel.sendall(b"d" if succeeded else b"q")
            self._channel.shutdown_write()

    def gone(self) -> None:
        """Wait until the lock is released. A host that does not answer any more causes no error."""
        with self._mutex, contextlib.suppress(Exception):
            until = time.monotonic() + GONE_SECONDS
            while self._channel.recv(1024) and time.monotonic() < until:
                pass
        with contextlib.suppress(Exception):
            self._channel.close()

    def _fencing_token(self, token: int) -> FencingToken:
        return FencingToken(self._request.state, token, f"{self._request.owner.task}-{self._request.owner.id}")

    def _say(self, word: bytes) -> bool:
        with self._mutex:
            try:
                self._channel.settimeout(1)
                self._channel.sendall(word)
            except (OSError, EOFError, paramiko.SSHException):
                return False
            return True

    def _listen(self) -> None:
        with self._mutex:
            # A host that sends without end must not delay the other hosts' beats, so this reads a limited amount.
            for _ in range(MAX_READS):
                if not self._channel.recv_ready():
                    return
                *lines, self._rest = (self._rest + self._channel.recv(4096)).split(b"\n")
                self._rest = self._rest[-MAX_ANSWER:]
                self.heard = self.remote.session.heard = time.monotonic()
                for line in lines:
                    answer = scripts.parse(self.remote.name, "lock", line, 0.0)
                    self._lines = [*self._lines, answer][-50:]
                    asked = [record.fields[0] for record in answer.records if record.tag == "abort" and record.fields]
                    self._aborted_by = asked[0] if asked else self._aborted_by

    def _open(self, connection: fabric.Connection, token: int | None) -> tuple[paramiko.Channel, StepResult]:
        request, remote = self._request, self.remote
        values = {
            "state": request.state,
            "home": request.home,
            "wait": f"{max(request.wait if token is None else 2.0, 0.5):g}",
            "patience": f"{request.timing.patience:g}",
            "holder": request.owner.to_json(),
            "epitaph": request.abandoned_record,
            "token": "-" if token is None else str(token),
            "undo": "undo" if request.undo else "-",
            "kind": "changes" if request.owner.task in CHANGES else "-",
            "format": str(FORMAT),
        }
        patience = request.wait + max(30.0, request.timing.guard)
        began = time.monotonic()
        shell, trips = None, 0
        call = ShellRequest("lock", scripts.load("lock").given(values).reading(), keeps=True)
        try:
            shell = remote.session.take(acts=False) if token is None else None
            if shell is None:
                shell, trips = remote.session.open_shell(connection)
            shell.send(call, began + patience)
            sent = time.monotonic()
            if token is None:
                remote.make_ready(self._fencing_token(0))
            said = _first_line(shell.channel, sent + patience)
        except paramiko.ChannelException as error:
            raise lost(remote.name, "lock", error) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            if shell is not None:
                shell.close()
            raise Unreachable(f"the connection broke while taking the lock: {error}", host=remote.name) from None
        answer = scripts.parse(remote.name, "lock", said, 0.0)
        if answer.maybe("locked", 1) is None:
            raise self._refused(shell.channel, answer)
        remote.progress.operation(remote.name, "lock", "answered")
        remote.progress.trip(
            Trip(remote.name, "lock", began, sent, time.monotonic(), None, len(call.text), len(said), 1 + trips)
        )
        return shell.channel, answer

    def _refused(self, channel: paramiko.Channel, answer: StepResult) -> SlipwayError:
        host = self.remote.name
        held = answer.maybe("held", 1)
        guarded = answer.maybe("guarded", 3)
        if held is None and guarded is None:
            errors = channel.recv_stderr(4096) if channel.recv_stderr_ready() else b""
            status = exit_status(channel, EXIT_SECONDS)
            channel.close()
            error = explain(host, "lock", answer, status, errors)
            if isinstance(error, StepFailed) and error.code == StepCode.FENCED:
                error.hint = "invoke status --env=… shows where the fleet stands"
            return error
        channel.close()
        if guarded is not None:
            text, seconds, deploy = guarded
            other = read_lock_owner(text)
            # A lock that was released in order leaves no owner on the host, even if its guard failed.
            what = f"{other.who}'s '{other.what}'" if text else f"the task {deploy}"
            return Locked(
                f"{what} was interrupted; this host goes back by itself within {seconds} s",
                host=host,
                hint="wait for it with --wait=SECONDS; invoke rollback --env=… does it now; "
                "invoke deploy --env=… --resume goes on",
            )
        other = read_lock_owner(held[0] if held else "")
        return Locked(
            f"{other.who} has held the lock since {other.since} for '{other.what}'",
            host=host,
            hint="wait for it with --wait=SECONDS; invoke abort --env=… ends it and takes a deploy back. The lock ends "
            "by itself with its owner, there is nothing to delete",
        )


def _first_line(channel: paramiko.Channel, until: float) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAX_ANSWER:
        # The deadline is for the whole line, so that a host that sends single bytes cannot block us.
        channel.settimeout(max(0.01, until - time.monotonic()))
        byte = channel.recv(1)
        if not byte:
            break
        line += byte
    return bytes(line)
