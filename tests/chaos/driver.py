"""Runs a task like `invoke` does, and breaks it at one point. The points are what the engine itself reports.

Usage: python -m tests.chaos.driver FAULT TASK [FLAG...], with FAULT one of

  record               write every point, one a line, to standard error as "POINT host/operation/moment/number"
  kill:POINT           die there by SIGKILL
  hold:POINT           write "HELD" to standard error there, and go on when a line comes on standard input
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from invoke.main import program

import playbooks.report
from playbooks.fleet.progress import Progress
from playbooks.report.plain import Plain

PROJECT = Path(__file__).resolve().parent.parent.parent


class Breaker(Plain):
    """Tells what a person is told, and acts at its point.

    Args:
        stream: where to tell.
        fault: record, kill or hold.
        point: where.
    """

    def __init__(self, stream: TextIO, fault: str, point: str) -> None:
        super().__init__(stream)
        self._fault, self._point = fault, point
        self._seen: Counter[str] = Counter()
        self._count = threading.Lock()

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        with self._count:
            key = f"{host}/{name}/{moment}"
            self._seen[key] += 1
            point = f"{key}/{self._seen[key]}"
        if self._fault == "record":
            self._write(f"POINT {point}")
        elif point == self._point and self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif point == self._point:
            self._write("HELD")
            sys.stdin.readline()


def start(fault: str, *words: str) -> subprocess.Popen[str]:
    """Begin a task that will be broken; it stands still, or is dead, when `is_held` has answered."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.driver", fault, *words],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_held(process: subprocess.Popen[str]) -> bool:
    """Wait until a task stands still at its point; False if it ended without having come there."""
    assert process.stderr is not None
    return any(line.strip() == "HELD" for line in process.stderr)


def main() -> None:
    """Run the task of the command line."""
    fault, _, point = sys.argv[1].partition(":")

    @contextmanager
    def choose(stream: TextIO) -> Iterator[Progress]:
        yield Breaker(stream, fault, point)

    playbooks.report.choose = choose
    os.chdir(PROJECT)
    program.run(["invoke", *sys.argv[2:]])


if __name__ == "__main__":
    main()
