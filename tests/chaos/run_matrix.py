"""Runs the fault matrix: several subjects side by side, each on hosts of its own, since most of the time is waiting.

Usage: python -m tests.chaos.run_matrix [--lab=NAME] [--tasks=deploy,…] [--faults=kill,…] [--every=N] [--first=N]
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import up as lab_up
from lab.spec import Lab
from tests.chaos.backups_view import damage_of_backups
from tests.chaos.matrix import FAULTS, TASKS, Point, Subject, Violated, attempt, points_of

HOSTS_EACH = 2
SUBJECTS = 3


@dataclass
class Score:
    """What came of it.

    Args:
        tried: how many points, by task and fault.
        violations: a sentence each.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        """Points tried, by task and fault, and what was violated."""
        rows = [f"{'':<16}" + "".join(f"{fault:>6}" for fault in FAULTS)]
        for task in TASKS:
            rows.append(f"{task:<16}" + "".join(f"{self.tried[(task, fault)]:>6}" for fault in FAULTS))
        rows.append(
            f"{sum(self.tried.values())} points tried in {self.seconds:.0f} s, {len(self.violations)} violations"
        )
        return "\n".join([*rows, *self.violations])


def run(
    lab: Lab,
    folder: Path,
    *,
    tasks: Sequence[str] = TASKS,
    faults: Sequence[str] = FAULTS,
    every: int = 1,
    first: int = 0,
) -> Score:
    """Try every point, or every so many.

    Args:
        lab: with at least six application hosts.
        folder: a new one, for inventories and artifacts.
        tasks, faults: which.
        every, first: of the points in their order, each ``every``-th from ``first`` on.
    """
    began = time.monotonic()
    hosts = [host for host, _ in lab_up.status(lab.name) if host.role == "app"]
    subjects = []
    for number in range(SUBJECTS):
        own = tuple(hosts[number * HOSTS_EACH : (number + 1) * HOSTS_EACH])
        subject = Subject(f"m{number + 1}", 9901 + number, folder / f"m{number + 1}", lab, own)
        subject.make()
        subjects.append(subject)
    score = Score()
    todo: queue.SimpleQueue[tuple[int, Point]] = queue.SimpleQueue()
    found = [point for task in tasks for point in points_of(subjects[0], task, faults)]
    for number, point in enumerate(found[first::every]):
        todo.put((number, point))
    print(f"{todo.qsize()} of {len(found)} points", file=sys.stderr, flush=True)
    workers = [threading.Thread(target=_work, args=(subject, todo, score)) for subject in subjects]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    score.seconds = time.monotonic() - began
    return score


def _work(subject: Subject, todo: queue.SimpleQueue[tuple[int, Point]], score: Score) -> None:
    while True:
        try:
            number, point = todo.get_nowait()
        except queue.Empty:
            break
        began = time.monotonic()
        score.tried[(point.task, point.fault)] += 1
        try:
            attempt(subject, point, number)
        except Violated as violated:
            score.violations.append(f"{point}: {violated}")
        except Exception as error:  # noqa: BLE001 - one point that breaks the harness must not hide the others
            score.violations.append(f"{point}: the matrix itself failed: {error!r}")
        wrong = score.violations and score.violations[-1].startswith(str(point))
        print(
            f"{'VIOLATED' if wrong else 'ok':<9} {time.monotonic() - began:5.1f} s  {point}",
            file=sys.stderr,
            flush=True,
        )
    score.violations += damage_of_backups(subject.lab, subject.hosts, subject.name)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lab", default="matrix")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    wanted = parser.parse_args()
    try:
        lab, _ = lab_up.up(wanted.lab, hosts=HOSTS_EACH * SUBJECTS)
        with tempfile.TemporaryDirectory() as folder:
            score = run(
                lab,
                Path(folder),
                tasks=wanted.tasks.split(","),
                faults=wanted.faults.split(","),
                every=wanted.every,
                first=wanted.first,
            )
    finally:
        lab_up.down(wanted.lab)
    print(score.table())
    return 1 if score.violations else 0


if __name__ == "__main__":
    sys.exit(main())
