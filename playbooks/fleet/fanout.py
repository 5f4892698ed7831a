"""The same task on many hosts at once: each host's result kept apart, never more than so many at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from playbooks.errors import ExitStatus, FleetError, Interrupted, SlipwayError
from playbooks.fleet.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Results(Generic[T]):
    """What a task gave, host by host.

    Args:
        ok: results of the hosts where it ended well.
        failed: errors of the others.
    """

    ok: Mapping[str, T]
    failed: Mapping[str, SlipwayError]

    def all_or_raise(self, what: str) -> Mapping[str, T]:
        """The results, if no host failed.

        Raises:
            SlipwayError: the one host's own error, or a FleetError with a line for each failed host.
        """
        if self.failed:
            raise combine(what, self.failed, total=len(self.ok) + len(self.failed))
        return self.ok


def combine(what: str, failed: Mapping[str, SlipwayError], *, total: int) -> SlipwayError:
    """One error out of several hosts' errors; the first of a kind keeps its hint, not to say it twenty times."""
    errors = list(failed.values())
    if len(errors) == 1:
        return errors[0]
    seen: set[str | None] = {None}
    lines = []
    for host, error in failed.items():
        lines.append(f"  - {host}: {error.message}")
        if error.hint not in seen:
            seen.add(error.hint)
            lines.append(f"      → {error.hint}")
    combined = FleetError(f"{what} failed on {len(errors)} of {total} hosts:\n" + "\n".join(lines))
    statuses = {error.exit_status for error in errors}
    combined.exit_status = statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED
    return combined


def fan_out(
    step: str,
    hosts: Iterable[str],
    task: Callable[[str], T],
    *,
    forks: int,
    progress: Progress,
    stop: Callable[[], None] | None = None,
) -> Results[T]:
    """Run a task for each host in threads of its own.

    Ctrl-C starts no further host. Without ``stop``, what runs is waited for (a second Ctrl-C leaves at once).

    Args:
        step: what the task is called.
        hosts: inventory names.
        task: called with one name; a SlipwayError is that host's result, anything else is a bug and is raised.
        forks: how many at a time.
        stop: called on Ctrl-C; makes the running tasks end soon.

    Raises:
        Interrupted: Ctrl-C.
    """
    names = list(hosts)
    ok: dict[str, T] = {}
    failed: dict[str, SlipwayError] = {}

    def one(name: str) -> T:
        progress.begin(name, step)
        started = time.monotonic()
        error: SlipwayError | None = None
        try:
            return task(name)
        except SlipwayError as caught:
            error = caught
            raise
        finally:
            progress.end(name, step, error, time.monotonic() - started)

    pool = ThreadPoolExecutor(max_workers=max(1, min(forks, len(names))), thread_name_prefix=step)
    futures: dict[Future[T], str] = {}
    try:
        futures = {pool.submit(one, name): name for name in names}
        _wait(set(futures))
    except KeyboardInterrupt:
        for future in futures:
            future.cancel()
        if stop is not None:
            stop()
        _wait({future for future in futures if not future.cancelled()})
        raise Interrupted(f"stopped by Ctrl-C during '{step}'") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for future, name in futures.items():
        try:
            ok[name] = future.result()
        except SlipwayError as error:
            failed[name] = error
    return Results({name: ok[name] for name in names if name in ok}, failed)


def _wait(waiting: set[Future[T]]) -> None:
    while waiting:
        _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
