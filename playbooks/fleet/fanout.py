"""Run jobs on many hosts at once, with a limit on the number of hosts and a separate result for each."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from playbooks.core.errors import FleetError, Interrupted, SlipwayError, stopped
from playbooks.fleet.progress import Progress

T = TypeVar("T")
MAX_LOGS = 2  # hosts whose differing output an error shows


@dataclass(frozen=True)
class Concurrency:
    """A limit for jobs of one kind that run at the same time, whatever the number of threads.

    Args:
        kind: jobs of the same kind share the limit.
        most: the limit.
    """

    kind: str
    most: int


@dataclass(frozen=True)
class Job(Generic[T]):
    """One step on one host. A job without a step's name reports its own progress."""

    host: str
    step: str
    run: Callable[[], T]
    limit: Concurrency | None = None


@dataclass(frozen=True)
class Done(Generic[T]):
    """The result of a job."""

    value: T


@dataclass(frozen=True)
class Results(Generic[T]):
    """The results of a step, by host.

    Args:
        ok: the results of hosts where it succeeded.
        failed: the errors of the other hosts.
    """

    ok: Mapping[str, T]
    failed: Mapping[str, SlipwayError]

    def all_or_raise(self, what: str) -> Mapping[str, T]:
        """Return the results, if no host failed.

        Raises:
            SlipwayError: the error of a single failed host, or a FleetError with a line for each.
        """
        if self.failed:
            raise combine(what, self.failed, total=len(self.ok) + len(self.failed))
        return self.ok


def combine(what: str, failed: Mapping[str, SlipwayError], *, total: int) -> SlipwayError:
    """Combine several hosts' errors into one; each hint and each program's output appears once."""
    errors = list(failed.values())
    if len(errors) == 1:
        return errors[0]
    seen: set[str | None] = {None}
    wrote: dict[tuple[str, ...], str] = {(): ""}
    lines = []
    for host, error in failed.items():
        lines.append(f"  - {host}: {error.message}")
        wrote.setdefault(error.log, host)
        if error.hint not in seen:
            seen.add(error.hint)
            lines.append(f"      → {error.hint}")
    log = [f"{host}: {line}" for told, host in list(wrote.items())[: 1 + MAX_LOGS] for line in told]
    return FleetError(f"{what} failed on {len(errors)} of {total} hosts:\n" + "\n".join(lines), failed, log=log)


def run_jobs(
    jobs: Sequence[Job[T]], *, forks: int, progress: Progress, stop: Callable[[], None] | None = None
) -> list[Done[T] | SlipwayError]:
    """Run jobs in threads. A job that waits for its limit has no thread.

    After Ctrl-C no further job starts. Without ``stop``, running jobs finish (a second Ctrl-C leaves at once).

    Args:
        jobs: the jobs. A SlipwayError is a job's result; any other exception is a bug and is raised here.
        forks: how many jobs run at a time.
        progress: receives what to show a person.
        stop: called on Ctrl-C; ends the running jobs soon.

    Returns:
        A result for each job, in order.

    Raises:
        Interrupted: Ctrl-C.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, min(forks, len(jobs))), thread_name_prefix="host")
    futures: dict[int, Future[Done[T] | SlipwayError]] = {}
    try:
        running: set[Future[Done[T] | SlipwayError]] = set()
        while len(futures) < len(jobs) or running:
            for index in _startable(jobs, futures):
                futures[index] = pool.submit(_watched, jobs[index], progress)
                running.add(futures[index])
            _, running = wait(running, return_when=FIRST_COMPLETED)
    except KeyboardInterrupt as ended:
        for future in futures.values():
            future.cancel()
        if stop is not None:
            stop()
        _wait({future for future in futures.values() if not future.cancelled()})
        raise Interrupted(stopped(ended)) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [futures[index].result() for index in range(len(jobs))]


def _startable(jobs: Sequence[Job[T]], futures: Mapping[int, Future[Done[T] | SlipwayError]]) -> Iterator[int]:
    """Yield the jobs that have not begun and that no limit holds back now."""
    busy = Counter(jobs[index].limit for index, future in futures.items() if not future.done())
    for index, job in enumerate(jobs):
        if index in futures:
            continue
        if job.limit is None or busy[job.limit] < job.limit.most:
            busy[job.limit] += 1
            yield index


def _watched(job: Job[T], progress: Progress) -> Done[T] | SlipwayError:
    try:
        if not job.step:
            return Done(job.run())
        with told(progress, job.host, job.step):
            return Done(job.run())
    except SlipwayError as caught:
        return caught


@contextlib.contextmanager
def told(progress: Progress, host: str, step: str) -> Iterator[None]:
    """Report that a host's step begins, and how it ends.

    Args:
        progress: receives what to show a person.
        host, step: the host's and the step's names.
    """
    progress.begin(host, step)
    started = time.monotonic()
    error: SlipwayError | None = None
    try:
        yield
    except SlipwayError as caught:
        error = caught
        raise
    finally:
        progress.end(host, step, error, time.monotonic() - started)


def by_host(jobs: Sequence[Job[T]], results: Sequence[Done[T] | SlipwayError]) -> Results[T]:
    """Return the results by host, for one job on each host."""
    ok: dict[str, T] = {}
    failed: dict[str, SlipwayError] = {}
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, SlipwayError):
            failed[job.host] = result
        else:
            ok[job.host] = result.value
    return Results(ok, failed)


def _wait(waiting: set[Future[T]]) -> None:
    while waiting:
        _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
