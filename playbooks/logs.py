"""Show the messages of the application's units on all hosts, merged by time, and follow new ones."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from playbooks.core.errors import ExitStatus, SlipwayError, StepFailed, UsageError
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.fleet.fanout import combine
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.steps.logs import MAX_BYTES, LogLine, LogQuery, read_logs

# Lines of several hosts are sorted within this many seconds.
WINDOW_SECONDS = 0.3
# How many lines wait to be shown; hosts with more lines wait.
MAX_WAITING = 5000


@dataclass(frozen=True)
class Logs:
    """The messages of all hosts, oldest first.

    Args:
        lines: the messages; none if they were shown as they came.
        failed: why a host's messages are missing or incomplete.
        cut: the hosts of which only the beginning was read.
    """

    schema: ClassVar[str] = "slipway.logs/1"
    environment: str
    lines: tuple[LogLine, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    followed: bool = False

    @property
    def exit_status(self) -> ExitStatus:
        """Return an error if a host is unreachable, which needs a person."""
        return ExitStatus.PERSON_NEEDED if self.failed else ExitStatus.DONE

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "lines": [line.to_json() for line in self.lines],
            "cut": list(self.cut),
            "failed": self.failed,
            "exit_status": int(self.exit_status),
        }


def logs(env: Environment, progress: Progress, asked: LogQuery) -> Logs:
    """Read the last messages of all hosts.

    Args:
        env: the environment.
        progress: receives what to show a person.
        asked: which messages.

    Raises:
        SlipwayError: no host has messages.
    """

    def one(remote: Remote) -> tuple[list[LogLine], bool]:
        found: list[LogLine] = []
        size = 0
        with contextlib.closing(_of(env, remote, asked)) as lines:
            for line in lines:
                size += len(line.text) + 100
                if size > MAX_BYTES:
                    return found, True
                found.append(line)
        return found, False

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each("logs", one)
    _require_some({**fleet.unreachable, **results.failed}, total=len(env.targets))
    if not results.ok:
        results.all_or_raise("reading logs")
        fleet.require_all()
    failed = {**fleet.unreachable, **results.failed}
    return Logs(
        environment=env.name,
        lines=tuple(sorted((line for found, _ in results.ok.values() for line in found), key=_at)),
        failed={host: error.message for host, error in failed.items()},
        cut=tuple(host for host, (_, is_cut) in results.ok.items() if is_cut),
    )


def follow_logs(
    env: Environment,
    progress: Progress,
    asked: LogQuery,
    show: Callable[[Sequence[LogLine]], None],
    unread: Callable[[], bool] = lambda: False,
) -> Logs:
    """Show messages as they are written, until Ctrl-C, until nobody reads them, or until no host sends any more.

    Args:
        env: the environment.
        progress: receives what to show a person.
        asked: which messages to begin with.
        show: shows lines.
        unread: returns whether nobody reads them any more.

    Raises:
        SlipwayError: no host is reachable.
    """
    waiting: queue.Queue[LogLine] = queue.Queue(MAX_WAITING)
    failed: dict[str, SlipwayError] = {}
    ended = threading.Event()

    def one(remote: Remote) -> None:
        try:
            for line in _of(env, remote, asked, follow=True):
                while not ended.is_set():
                    with contextlib.suppress(queue.Full):
                        waiting.put(line, timeout=1)
                        break
        except SlipwayError as error:
            if not ended.is_set():
                failed[remote.name] = error
                progress.warn(f"{remote.name}: {error.message}")

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        if not fleet.remotes:
            fleet.require_all()
        for host, error in fleet.unreachable.items():
            progress.warn(f"{host}: {error.message}")
        threads = [threading.Thread(target=partial(one, remote), daemon=True) for remote in fleet.remotes.values()]
        for thread in threads:
            thread.start()
        try:
            _show_as_they_come(waiting, threads, show, unread)
        except KeyboardInterrupt:
            pass
        finally:
            ended.set()
            _end(fleet, threads)
    _require_some({**fleet.unreachable, **failed}, total=len(env.targets))
    gone = {host: error.message for host, error in {**fleet.unreachable, **failed}.items()}
    return Logs(environment=env.name, failed=gone, followed=True)


def _require_some(failed: Mapping[str, SlipwayError], *, total: int) -> None:
    """Continue if at least one host has messages.

    Raises:
        UsageError: no host has the requested unit.
        SlipwayError: no host has a unit.
    """
    said = [
        error
        for error in failed.values()
        if isinstance(error, StepFailed) and error.code in (StepCode.NO_UNIT, StepCode.NOTHING)
    ]
    if len(said) < total:
        return
    if all(error.code == StepCode.NOTHING for error in said):
        raise combine("reading logs", failed, total=total)
    raise UsageError("; ".join(dict.fromkeys(error.message for error in said)))


def _at(line: LogLine) -> int:
    """Return a line's sort key, which keeps the order of a host's journal."""
    return line.at


def _of(env: Environment, remote: Remote, asked: LogQuery, *, follow: bool = False) -> Generator[LogLine, None, None]:
    return read_logs(remote, env.target(remote.name).settings, asked, follow=follow)


def _show_as_they_come(
    waiting: queue.Queue[LogLine],
    threads: Sequence[threading.Thread],
    show: Callable[[Sequence[LogLine]], None],
    unread: Callable[[], bool],
) -> None:
    pause = threading.Event()
    while not unread():
        alive = any(thread.is_alive() for thread in threads)
        lines = [waiting.get() for _ in range(waiting.qsize())]
        if lines:
            show(sorted(lines, key=_at))
        elif not alive:
            return
        pause.wait(WINDOW_SECONDS)


def _end(fleet: Fleet, threads: Sequence[threading.Thread]) -> None:
    """Close the sessions, which also ends the steps on the hosts."""
    fleet.close()
    for thread in threads:
        thread.join(2)
