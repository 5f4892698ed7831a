"""The fault matrix: a task is broken after each of its remote operations in turn, in every way, and then mended.

`script/chaos` runs it. After each fault, within the guard's time-out: every host answers with a whole old or a whole
new version; status says what is so; one command brings the fleet to where it should be; nothing is left behind. Points
are recorded from a run of the task itself, so that none is picked by hand and none is forgotten.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import machine, network
from lab.spec import HostSpec, Lab
from tests.chaos import driver
from tests.chaos.fleet_view import Seen, look

PROJECT = Path(__file__).resolve().parent.parent.parent
GUARD = 8
MARGIN = 20  # for an undo, and for a machine that does other things as well
FAULTS = ("kill", "cut", "off")
TASKS = ("deploy", "rollback", "backup", "verify-backups")
VERSIONS = ("1.0.0", "2.0.0")


@dataclass(frozen=True)
class Point:
    """Where a task is broken, and how.

    Args:
        task, fault: of TASKS and FAULTS.
        host: which of the subject's hosts it is at, counted from 0; it is the one that is cut off or loses its power.
        at: operation/moment/number.
    """

    task: str
    fault: str
    host: int
    at: str

    def __str__(self) -> str:
        return f"{self.task}, {self.fault} at {self.at} on host {self.host + 1}"


@dataclass
class Subject:
    """An application of the matrix, on hosts of a lab.

    Args:
        name: of the application; several can be tried at once on the same hosts.
        port: where it answers.
        folder: for its inventory and artifacts.
        lab, hosts: where it runs.
    """

    name: str
    port: int
    folder: Path
    lab: Lab
    hosts: tuple[HostSpec, ...]

    @property
    def env(self) -> str:
        """The flag that names its environment."""
        return f"--env={self.folder}/inventory"

    def make(self, *, guard: float = GUARD) -> None:
        """Write the inventory and the artifacts; the guard's time-out is in seconds."""
        place = self.folder / "inventory" / "group_vars"
        place.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text("matrix\n")
        (place.parent / "hosts.yml").write_text((self.lab.folder / "inventory/hosts.yml").read_text())
        home = f"/opt/{self.name}"
        settings = {
            "app": self.name,
            "hosts": ":".join(host.name for host in self.hosts),
            "user": "www-data",
            "artifact": f"{self.folder}/{self.name}-{{version}}.tar",
            "guard": {"timeout": guard},
            "timeouts": {"connect": "3s"},
            "services": [{"name": self.name, "unit": {"Service": {"ExecStart": f"{home}/current/run"}}}],
            "health": {
                "attempts": 20,
                "interval": "500ms",
                "checks": [{"type": "http", "name": "version", "url": f"http://127.0.0.1:{self.port}/VERSION"}],
            },
            "backup": {
                "repository": f"/var/backups/{self.name}",
                "password": "restic",
                "drill": {"command": "cd $RELEASE && exec python3 -m http.server $PORT"},
            },
            "secrets": {"restic": {"file": str(secret)}},
        }
        (place / "all.yml").write_text(yaml.safe_dump({f"slipway_{key}": value for key, value in settings.items()}))
        for version in VERSIONS:
            files = self.folder / version
            files.mkdir(exist_ok=True)
            (files / "run").write_text(f"#!/bin/sh\ncd {home}/current && exec python3 -m http.server {self.port}\n")
            (files / "run").chmod(0o755)
            (files / "VERSION").write_text(f"{version}\n")
            archive = self.folder / f"{self.name}-{version}.tar"
            subprocess.run(["tar", "-C", str(files), "-cf", str(archive), "run", "VERSION"], check=True)

    def see(self) -> dict[str, Seen]:
        """What is on the hosts, by our own eyes and not the product's."""
        return look(self.lab, self.hosts, self.name, self.port)

    def start(self, fault: str, *words: str) -> subprocess.Popen[str]:
        """Begin a task that will be broken."""
        return driver.start(fault, *words, self.env, "--json")

    def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run a task as a person would. Returns its status, its answer, and what it told."""
        done = subprocess.run(
            [f"{PROJECT}/.venv/bin/invoke", *words, self.env, "--json"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        try:
            answer = json.loads(done.stdout or "{}")
        except ValueError:
            answer = {}
        return done.returncode, answer, done.stderr

    def break_it(self, point: Point, words: Sequence[str], *, surely: bool = True) -> int:
        """Run a task into its fault.

        Args:
            point: where and how.
            words: the task.
            surely: the point must be there; else the task may end before it.

        Returns:
            Its exit status.

        Raises:
            Violated: it was not broken, or ended in a way that tells nothing.
        """
        host = self.hosts[point.host]
        place = f"{host.name}/{point.at}"
        if point.fault == "kill":
            process = self.start(f"kill:{place}", *words)
            process.communicate()
            if process.returncode != -9 and surely:
                raise Violated(f"the point was never there: the task ended with {process.returncode}")
            return process.returncode
        process = self.start(f"hold:{place}", *words)
        if driver.is_held(process):
            with _broken(self.lab, host, point.fault):
                process.communicate("go\n")
        else:
            process.communicate()
            if surely:
                raise Violated("the point was never there")
        if process.returncode not in (0, 1, 3):
            raise Violated(f"the task ended with {process.returncode}")
        return process.returncode

    def wait_until_whole(self, seconds: float) -> None:
        """Wait until every host serves a whole version and no guard is left.

        Raises:
            Violated: it does not come to that in time.
        """
        _until(lambda: [f"{host}: {why}" for host, seen in self.see().items() for why in seen.wrongs()], seconds)


class Violated(Exception):
    """What must never be, was."""


def points_of(subject: Subject, task: str, faults: Sequence[str]) -> list[Point]:
    """Every point of a task, from a run of it.

    A killed controller dies at each of them; a host that is cut off or loses its power does so at the points of its own
    operations that come after it was connected to: before, it is merely a host that cannot be reached.

    Raises:
        Violated: the task fails by itself.
    """
    process = subject.start("record", *prepare(subject, task))
    _, told = process.communicate()
    if process.returncode != 0:
        raise Violated(f"{task} does not even work when nothing is broken: {told}")
    found = [line.removeprefix("POINT ").split("/", 1) for line in told.splitlines() if line.startswith("POINT ")]
    names = [host.name for host in subject.hosts]
    return [
        Point(task, fault, names.index(host), at)
        for fault in faults
        for host, at in sorted(found)
        if fault == "kill" or not at.startswith("connect/")
    ]


def prepare(subject: Subject, task: str) -> list[str]:
    """Bring the fleet to where the task has something to do; returns the task's words."""
    runs = {seen.version for seen in subject.see().values()}
    now = runs.pop() if len(runs) == 1 else None
    other = VERSIONS[1] if now == VERSIONS[0] else VERSIONS[0]
    if task == "deploy":
        if now is None:
            _must(subject, "deploy", f"--version={other}", "--batch=100%")
            return prepare(subject, task)
        return ["deploy", f"--version={other}", "--batch=1"]
    if task == "rollback":
        if now is None:
            _must(subject, "deploy", f"--version={VERSIONS[1]}", "--batch=100%")
        _must(subject, "deploy", f"--version={other}", "--batch=100%")
        return ["rollback", "--reason=matrix"]
    return [task]


def _must(subject: Subject, *words: str) -> dict[str, Any]:
    status, answer, told = subject.run(*words)
    if status != 0:
        raise Violated(f"invoke {' '.join(words)} ended with {status}: {told}")
    return answer


def attempt(subject: Subject, point: Point, number: int) -> None:
    """Break a task at a point, look, mend it, and look again.

    Raises:
        Violated: something is as it must never be.
    """
    words = prepare(subject, point.task)
    before = {host: seen.version for host, seen in subject.see().items()}
    ended = subject.break_it(point, words)
    subject.wait_until_whole(GUARD + MARGIN)
    status, answer, _ = subject.run("status")
    _judge_status(subject, answer, status)
    if answer["interrupted"] or ended not in (0, 1) or point.task in ("backup", "verify-backups"):
        _mend(subject, point, answer, before, number)
    _must_be_clean(subject)


@contextmanager
def _broken(lab: Lab, host: HostSpec, fault: str) -> Iterator[None]:
    if fault == "cut":
        network.cut(lab, host)
        try:
            yield
        finally:
            network.restore(lab, host)
    else:
        machine.power_off(lab, host)
        machine.start(lab, host)
        yield


def _judge_status(subject: Subject, answer: dict[str, Any], status: int) -> None:
    seen = subject.see()
    told = {host["host"]: host for host in answer["hosts"]}
    for host, sight in seen.items():
        if told[host]["version"] != sight.version:
            raise Violated(f"status says {host} runs {told[host]['version']}, it runs {sight.version}")
        if bool(told[host]["interrupted"]) != sight.interrupted:
            raise Violated(f"status says {told[host]['interrupted']} of {host}, its lock's file says otherwise")
    if (status == 3) != any(sight.interrupted for sight in seen.values()):
        raise Violated(f"status ended with {status}: {answer}")


def _mend(subject: Subject, point: Point, answer: dict[str, Any], before: dict[str, str | None], number: int) -> None:
    """One command: finish it or undo it, in turn."""
    if point.task in ("backup", "verify-backups"):
        _must(subject, point.task)
        _expect(subject, set(before.values()))
    elif point.task == "rollback":
        _must(subject, "rollback")
        _expect(subject, set(VERSIONS) - set(before.values()))
    elif answer["interrupted"] and number % 2:
        _must(subject, "deploy", "--resume", "--batch=100%")
        _expect(subject, set(VERSIONS) - set(before.values()))
    elif answer["interrupted"]:
        _must(subject, "rollback")
        _expect(subject, set(before.values()))
    else:
        wanted = next(iter(set(VERSIONS) - set(before.values())))
        _must(subject, "deploy", f"--version={wanted}", "--batch=100%")
        _expect(subject, {wanted})


def _expect(subject: Subject, versions: Set[str | None]) -> None:
    runs = {host: seen.version for host, seen in subject.see().items()}
    if set(runs.values()) != versions:
        raise Violated(f"after mending the fleet runs {runs}, not {versions}")


def _must_be_clean(subject: Subject) -> None:
    status, answer, _ = subject.run("status")
    if status != 0 or answer["mixed"]:
        raise Violated(f"status ends with {status} after mending: {answer}")
    _until(lambda: [f"{host}: {left}" for host, seen in subject.see().items() for left in seen.leftovers], 5)


def _until(wrongs: Callable[[], list[str]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while found := wrongs():
        if time.monotonic() > deadline:
            raise Violated("; ".join(found))
        time.sleep(0.3)
