"""The hosts of one task, reached together."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from playbooks.errors import SlipwayError
from playbooks.fleet import connection as ssh
from playbooks.fleet.address import Address
from playbooks.fleet.fanout import Done, Job, Results, by_host, combine, run_jobs
from playbooks.fleet.lock import Holder, Lock, take
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote

T = TypeVar("T")


@dataclass(frozen=True)
class Fleet:
    """Open sessions by host name.

    Args:
        remotes: the hosts that could be reached.
        unreachable: why the others could not.
        progress: who watches.
        forks: hosts worked on at the same time.
    """

    remotes: Mapping[str, Remote]
    unreachable: Mapping[str, SlipwayError]
    progress: Progress
    forks: int

    def each(
        self, step: str, task: Callable[[Remote], T], *, hosts: Sequence[str] | None = None, finish: bool = False
    ) -> Results[T]:
        """Do a step on hosts side by side.

        Args:
            step: what it is called.
            task: called with the host's session.
            hosts: names; left out, all of them.
            finish: on Ctrl-C let running steps end rather than cut their sessions.

        Raises:
            Interrupted: Ctrl-C.
        """
        names = self.remotes if hosts is None else hosts
        jobs = [Job(name, step, partial(task, self.remotes[name])) for name in names]
        return by_host(jobs, self.run(jobs, finish=finish))

    def run(self, jobs: Sequence[Job[T]], *, finish: bool = False) -> list[Done[T] | SlipwayError]:
        """Run jobs of several kinds side by side; a host may have more than one.

        Raises:
            Interrupted: Ctrl-C.
        """
        return run_jobs(jobs, forks=self.forks, progress=self.progress, stop=None if finish else self.close)

    def require_all(self) -> None:
        """Go on only if every host was reached.

        Raises:
            SlipwayError: what is wrong with the others.
        """
        if self.unreachable:
            raise combine("connecting", self.unreachable, total=len(self.remotes) + len(self.unreachable))

    @contextlib.contextmanager
    def lock(
        self, folders: Mapping[str, tuple[str, str]], holder: Holder, *, wait: float
    ) -> Iterator[Mapping[str, str | None]]:
        """Hold the lock on every host: all or none.

        The first host in name order is asked first: of two deploys that race for the same hosts one gets it there,
        and the other stops before it holds anything.

        Args:
            folders: each host's state folder and home of the application.
            holder: who we are.
            wait: seconds to wait for another holder.

        Yields:
            The release that is current on each host.

        Raises:
            Locked: somebody else holds it.
        """
        held: list[Lock] = []

        def one(remote: Remote) -> None:
            held.append(take(remote, *folders[remote.name], holder, wait=wait))

        first, *rest = sorted(folders)
        try:
            for group in ([first], rest):
                self.each("lock", one, hosts=group).all_or_raise("locking")
            yield {lock.host: lock.current for lock in held}
        finally:
            for lock in held:
                lock.release()

    def close(self) -> None:
        """End every session."""
        for remote in self.remotes.values():
            remote.close()


@contextlib.contextmanager
def open_fleet(
    addresses: Sequence[Address], *, progress: Progress, forks: int, total: float = math.inf
) -> Iterator[Fleet]:
    """Connect to all hosts side by side; sessions are closed at the end.

    A host that cannot be reached is in ``unreachable``: whether that ends the task is for the playbook to say.

    Args:
        addresses: the hosts.
        progress: who watches.
        forks: hosts worked on at the same time.
        total: seconds after which no step goes on, but for those of the way back.
    """
    deadline = time.monotonic() + total
    config = ssh.ssh_config()
    progress.hosts([address.name for address in addresses])
    jobs = [
        Job(address.name, "connect", lambda address=address: Remote(address, ssh.connect(address, config), deadline))  # type: ignore[misc]
        for address in addresses
    ]
    results = by_host(jobs, run_jobs(jobs, forks=forks, progress=progress))
    fleet = Fleet(results.ok, results.failed, progress, forks)
    try:
        yield fleet
    finally:
        fleet.close()
