"""The hosts of one task, reached together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from playbooks.errors import SlipwayError
from playbooks.fleet import connection as ssh
from playbooks.fleet.address import Address
from playbooks.fleet.fanout import Results, fan_out
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
        self,
        step: str,
        task: Callable[[Remote], T],
        *,
        hosts: Sequence[str] | None = None,
        finish: bool = False,
    ) -> Results[T]:
        """Run a task on hosts side by side.

        Args:
            step: what it is called.
            task: called with the host's session.
            hosts: names; left out, all of them.
            finish: on Ctrl-C let running tasks end rather than cut their sessions.

        Raises:
            Interrupted: Ctrl-C.
        """
        return fan_out(
            step,
            self.remotes if hosts is None else hosts,
            lambda name: task(self.remotes[name]),
            forks=self.forks,
            progress=self.progress,
            stop=None if finish else self.close,
        )

    @contextlib.contextmanager
    def lock(self, states: Mapping[str, str], holder: Holder, *, wait: float) -> Iterator[None]:
        """Hold the lock on every host: all or none.

        The first host in name order is asked first: of two deploys that race for the same hosts one gets it there,
        and the other stops before it holds anything.

        Args:
            states: each host's state folder.
            holder: who we are.
            wait: seconds to wait for another holder.

        Raises:
            Locked: somebody else holds it.
        """
        held: list[Lock] = []

        def one(name: str) -> None:
            held.append(take(self.remotes[name], states[name], holder, wait=wait))

        try:
            first, *rest = sorted(states)
            for group in ([first], rest):
                if group:
                    results = fan_out("lock", group, one, forks=self.forks, progress=self.progress, stop=self.close)
                    results.all_or_raise("lock")
            yield
        finally:
            for lock in held:
                lock.release()

    def close(self) -> None:
        """End every session."""
        for remote in self.remotes.values():
            remote.close()


@contextlib.contextmanager
def open_fleet(addresses: Sequence[Address], *, progress: Progress, forks: int) -> Iterator[Fleet]:
    """Connect to all hosts side by side; sessions are closed at the end.

    A host that cannot be reached is in ``unreachable``: whether that ends the task is for the playbook to say.
    """
    config = ssh.ssh_config()
    known = {address.name: address for address in addresses}
    progress.hosts(list(known))
    results = fan_out(
        "connect",
        known,
        lambda name: Remote(known[name], ssh.connect(known[name], config)),
        forks=forks,
        progress=progress,
    )
    fleet = Fleet(results.ok, results.failed, progress, forks)
    try:
        yield fleet
    finally:
        fleet.close()
