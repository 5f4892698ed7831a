"""Open sessions with the hosts of one task."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import paramiko

from playbooks.core.errors import SlipwayError, StepFailed, Unreachable
from playbooks.core.step_codes import StepCode
from playbooks.fleet import connection as ssh
from playbooks.fleet import ssh_config
from playbooks.fleet.address import Address
from playbooks.fleet.ending import can_be_ended
from playbooks.fleet.fanout import Done, Job, Results, by_host, combine, run_jobs
from playbooks.fleet.heartbeat import Heartbeat
from playbooks.fleet.lock import Lock
from playbooks.fleet.lock_owner import GuardTiming, LockRequest
from playbooks.fleet.progress import Progress, Trip
from playbooks.fleet.remote import Remote
from playbooks.fleet.session import Session

T = TypeVar("T")
FRESH_SECONDS = 1.0
CHANNELS = 2  # one to read, one to act; the lock takes the first


@dataclass(frozen=True)
class Fleet:
    """The open sessions of a task.

    Args:
        remotes: the reachable hosts' sessions, by name.
        unreachable: the errors of the other hosts, by name.
        progress: receives what to show a person.
        forks: hosts worked on at the same time.
    """

    remotes: Mapping[str, Remote]
    unreachable: Mapping[str, SlipwayError]
    progress: Progress
    forks: int

    def each(
        self, step: str, task: Callable[[Remote], T], *, hosts: Sequence[str] | None = None, finish: bool = False
    ) -> Results[T]:
        """Run a step on hosts at the same time.

        Args:
            step: the step's name for a person.
            task: the function to call with the host's session.
            hosts: the hosts' names; default: all hosts.
            finish: on Ctrl-C let running steps end, rather than close their sessions.

        Raises:
            Interrupted: Ctrl-C.
        """
        names = self.remotes if hosts is None else hosts
        jobs = [Job(name, step, partial(task, self.remotes[name])) for name in names]
        return by_host(jobs, self.run(jobs, finish=finish))

    def run(self, jobs: Sequence[Job[T]], *, finish: bool = False) -> list[Done[T] | SlipwayError]:
        """Run jobs of several kinds at the same time; a host may have more than one.

        Raises:
            Interrupted: Ctrl-C.
        """
        return run_jobs(jobs, forks=self.forks, progress=self.progress, stop=None if finish else self.close)

    def require_all(self) -> None:
        """Continue only if every host is reachable.

        Raises:
            SlipwayError: a host is not reachable.
        """
        if self.unreachable:
            raise combine("connecting", self.unreachable, total=len(self.remotes) + len(self.unreachable))

    @contextlib.contextmanager
    def lock(self, requests: Mapping[str, LockRequest], *, last: Collection[str] = ()) -> Iterator[HeldLocks]:
        """Take the lock on every host, or on none.

        The first host in name order comes first: of two deploys that race for the same hosts, one gets the lock
        there, and the other stops before it holds any lock.

        Args:
            requests: the lock requests, by host.
            last: the hosts to lock after all others.

        Raises:
            Locked: somebody else holds it.
        """
        held: dict[str, Lock] = {}

        def one(remote: Remote) -> None:
            held[remote.name] = Lock(remote, requests[remote.name])

        first, *rest = sorted(requests, key=lambda host: (host in last, host))
        timing = requests[first].timing
        task = HeldLocks(held, timing, self.progress)
        # The heartbeat begins with the first lock, which must not expire while we wait for another host.
        with can_be_ended() as end:
            keeper = Heartbeat(held, every=timing.beat, progress=self.progress, end=end)
            keeper.start()
            try:
                early = [host for host in rest if host not in last]
                for group in ([first], early, [host for host in rest if host in last]):
                    self.each("lock", one, hosts=group).all_or_raise("locking")
                yield task
            finally:
                keeper.stop()
                began = time.monotonic()
                for lock in held.values():
                    lock.leave(succeeded=task.succeeded)
                for name, lock in held.items():
                    lock.gone()
                    self.progress.trip(Trip(name, "release", began, began, time.monotonic(), bytes_out=1))

    def close(self) -> None:
        """Close every session."""
        for remote in self.remotes.values():
            remote.close()


@dataclass
class HeldLocks:
    """The locks of one task.

    Args:
        locks: the locks, by host.
        timing: the timing of heartbeat and guard.
        progress: receives the operations.
        succeeded: whether the task has succeeded; the procedure sets it.
    """

    locks: Mapping[str, Lock]
    timing: GuardTiming
    progress: Progress
    succeeded: bool = False

    @property
    def tokens(self) -> dict[str, int]:
        """Return each host's fencing token."""
        return {host: lock.fencing_token.token for host, lock in self.locks.items()}

    def confirm(self, hosts: Sequence[str], *, together: bool = True) -> dict[str, SlipwayError]:
        """Confirm the task: remove the guards.

        Every host that has not answered within the last second is first asked for an answer. Then the word goes out
        to all hosts at once, so that a controller that dies leaves a mixed result only if it dies within that
        millisecond.

        Args:
            hosts: the hosts to confirm.
            together: confirm no host if one does not answer.

        Returns:
            Why a host may have gone back by itself, or soon will; empty if every host is confirmed.
        """
        began = time.monotonic()
        silent = [host for host in hosts if began - self.locks[host].remote.session.heard > FRESH_SECONDS]
        for host in silent:
            self.locks[host].say("b")
        absent = self._wait(silent, "b", ("beat",))
        if absent and together:
            return absent
        there = [host for host in hosts if host not in absent]
        sent = time.monotonic()
        for host in there:
            self.locks[host].say("c")
            self.progress.operation(host, "confirm", "sent")
        failed = self._wait(there, "c", ("confirmed", "fired", "stays"))
        for host in there:
            ended = max(sent, self.locks[host].heard)
            trips = 2 if host in silent else 1
            self.progress.trip(Trip(host, "confirm", began, sent, ended, bytes_out=1, bytes_in=10, round_trips=trips))
        return {**absent, **failed}

    def _wait(self, hosts: Sequence[str], word: str, answers: tuple[str, ...]) -> dict[str, SlipwayError]:
        failed: dict[str, SlipwayError] = {}
        for host in hosts:
            try:
                said = self.locks[host].wait(word, answers, seconds=self.timing.patience)
            except SlipwayError as error:
                failed[host] = error
                continue
            if said == "fired":
                failed[host] = Unreachable("its guard had already taken it back", host=host)
            elif said == "stays":
                hint = "is its disk full, or read-only? look there: df -h; dmesg"
                message = "its guard cannot be removed, so it would take the host back later"
                failed[host] = StepFailed(message, host=host, step="confirm", code=StepCode.STAYS, hint=hint)
        return failed


@contextlib.contextmanager
def open_fleet(
    addresses: Sequence[Address], *, progress: Progress, forks: int, total: float = math.inf, acts: bool = False
) -> Iterator[Fleet]:
    """Connect to all hosts at the same time, and close the sessions at the end.

    An unreachable host is in ``unreachable``; the procedure decides whether that ends the task.

    Args:
        addresses: the hosts.
        progress: receives what to show a person.
        forks: hosts worked on at the same time.
        total: seconds after which no step continues, except those that take the fleet back.
        acts: whether the task will take the lock and change something.

    Raises:
        ConfigError: ssh refuses its configuration, or Slipway cannot follow it. Nothing has changed.
    """
    deadline = time.monotonic() + total
    endpoints = ssh_config.endpoints(addresses)
    ways = ssh.Ways(endpoints)
    # If the inventory names no user, ssh's settings do; root needs no sudo.
    addresses = [replace(address, become=endpoints[address.name].user != "root") for address in addresses]
    progress.hosts([address.name for address in addresses])
    jobs = [
        Job(address.name, "connect", partial(_log_in, address, ways, progress, deadline, CHANNELS if acts else 0))
        for address in addresses
    ]
    results = by_host(jobs, run_jobs(jobs, forks=forks, progress=progress))
    fleet = Fleet(results.ok, results.failed, progress, forks)
    try:
        yield fleet
    finally:
        fleet.close()


def _log_in(address: Address, ways: ssh.Ways, progress: Progress, deadline: float, ahead: int) -> Remote:
    began = time.monotonic()
    session = Session(address, partial(ssh.connect, address, ways))
    # Every task reads first. A step that finds no open shell opens one, and reports any error.
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        shell, _ = session.open_shell(session.connection)
        session.open_ahead(ahead)
        shell.begin(began + address.connect_timeout)
        session.give(shell, session.connection)
    progress.operation(address.name, "connect", "answered")
    ended = time.monotonic()
    progress.trip(Trip(address.name, "connect", began, began, ended, round_trips=0))
    return Remote(address, session, progress, deadline)
