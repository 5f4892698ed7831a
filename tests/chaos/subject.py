"""An application that is broken on purpose, on hosts of a lab: how it is made, run into a fault, and looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import machine, network
from lab.files import make_key
from lab.spec import HostSpec, Lab
from tests import warm_start
from tests.chaos import driver
from tests.chaos.database import Database
from tests.chaos.fleet_view import Seen, look
from tests.chaos.front import Front
from tests.chaos.hostile import Hostile

GUARD = 8
MARGIN = 20  # for an undo, and for a machine that does other things as well
SETTLE = 12  # a balancer waits for the hosts behind it, that go back a little after it (see docs/balancers.md)
FAULTS = ("kill", "cut", "off", "sleep")
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
        front: what stands in front of it, if anything does.
        hostile: its user, if it attacks.
        database: what its releases migrate, if they do.
    """

    name: str
    port: int
    folder: Path
    lab: Lab
    hosts: tuple[HostSpec, ...]
    front: Front | None = None
    hostile: Hostile | None = None
    database: Database | None = None

    @property
    def env(self) -> str:
        """The flag that names its environment."""
        return f"--env={self.folder}/inventory"

    @property
    def everywhere(self) -> tuple[HostSpec, ...]:
        """Its hosts, and the balancer's and the database's behind them."""
        front = [self.front.edge] if self.front else []
        return (*self.hosts, *front, *([self.database.host] if self.database else []))

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it answers: with slots, in either."""
        return (self.port, self.port + 1) if self.front and self.front.slots else (self.port,)

    @property
    def limit(self) -> float:
        """Seconds within which it has to be whole again, with nobody's help."""
        return GUARD + MARGIN + (SETTLE if self.front else 0)

    def make(self, *, guard: float = GUARD) -> None:
        """Write the inventory and the artifacts; the guard's time-out is in seconds."""
        place = self.folder / "inventory" / "group_vars"
        place.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text("matrix\n")
        signer = secret.with_name("signer")
        make_key(signer, "matrix")
        (place.parent / "hosts.yml").write_text((self.lab.folder / "inventory/hosts.yml").read_text())
        home = f"/opt/{self.name}"
        settings = {
            "app": self.name,
            "hosts": ":".join(host.name for host in self.hosts),
            "user": "www-data",
            "artifact": f"{self.folder}/{self.name}-{{version}}.tar",
            "guard": {"timeout": guard, "settle": "2s"},
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
                **(self.hostile.backup if self.hostile else {}),
            },
            "secrets": {"restic": {"file": str(secret)}, "ledger": {"file": str(signer)}},
            # What hosts write alone is signed, too: whatever is broken, no record may be one that nobody vouches for.
            "ledger": {"signers": [Path(f"{signer}.pub").read_text().strip()], "key": "ledger"},
            **(self.front.settings(self.name, self.ports) if self.front else {}),
            **(self.hostile.settings if self.hostile else {}),
            **(self.database.settings(self.name) if self.database else {}),
        }
        (place / "all.yml").write_text(yaml.safe_dump({f"slipway_{key}": value for key, value in settings.items()}))
        for version in VERSIONS:
            files = self.folder / version
            files.mkdir(exist_ok=True)
            (files / "run").write_text(
                f'#!/bin/sh\ncd "${{0%/*}}" && exec python3 -m http.server "${{PORT:-{self.port}}}"\n'
            )
            (files / "run").chmod(0o755)
            (files / "VERSION").write_text(f"{version}\n")
            if self.database:
                self.database.write(files)
            archive = self.folder / f"{self.name}-{version}.tar"
            subprocess.run(["tar", "-C", str(files), "-cf", str(archive), "."], check=True)

    def see(self) -> dict[str, Seen]:
        """What is on the hosts, by our own eyes and not the product's.

        Raises:
            Violated: a host cannot be looked at. One that a busy machine keeps from us for a moment is asked again: of
                what was not seen nothing can be said, least of all that status is wrong about it.
        """
        seen: dict[str, Seen] = {}

        def unseen() -> list[str]:
            seen.update(self._glance())
            return [f"{host} cannot be looked at" for host, one in seen.items() if not one.reached]

        until(unseen, MARGIN)
        return seen

    def _glance(self) -> dict[str, Seen]:
        return look(self.lab, self.hosts, self.name, self.ports)

    def start(self, fault: str, *words: str) -> subprocess.Popen[str]:
        """Begin a task that will be broken."""
        return driver.start(fault, *words, self.env, "--json")

    def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run a task as a person would. Returns its status, its answer, and what it told."""
        status, out, err = warm_start.run(
            (*words, self.env, "--json"), stdin=None, environment=os.environ, timeout=1800
        )
        try:
            answer = json.loads(out or "{}")
        except ValueError:
            answer = {}
        return status, answer, err

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
        host = self.everywhere[point.host]
        place = f"{host.name}/{point.at}"
        if point.fault == "kill":
            process = self.start(f"kill:{place}", *words)
            process.communicate()
            if process.returncode != -9 and surely:
                raise Violated(f"the point was never there: the task ended with {process.returncode}")
            return process.returncode
        process = self.start(f"hold:{place}", *words)
        try:
            if driver.is_held(process):
                with self._broken(process, host, point.fault):
                    process.communicate("go\n")
            else:
                process.communicate()
                if surely:
                    raise Violated(f"the point was never there: the task ended with {process.returncode}")
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode not in (0, 1, 3):
            raise Violated(f"the task ended with {process.returncode}")
        return process.returncode

    def wait_until_whole(self, seconds: float) -> None:
        """Wait until every host serves a whole version, no guard is left, and traffic goes where it should.

        Raises:
            Violated: it does not come to that in time.
        """
        until(self.wrongs, seconds)

    def wrongs(self) -> list[str]:
        """What must not be so once the guards have had their time."""
        seen = self._glance()
        found = [f"{host}: {why}" for host, one in seen.items() for why in one.wrongs()]
        if self.database:
            found += self.database.wrongs(self.lab, self.name)
        if self.front is None:
            return found
        (edge,) = look(self.lab, [self.front.edge], self.name, self.ports).values()
        found += [f"{self.front.edge.name}: {why}" for why in edge.wrongs()]
        return found or self.front.wrongs(self.lab, self.name, seen)

    @contextmanager
    def _broken(self, process: subprocess.Popen[str], host: HostSpec, fault: str) -> Iterator[None]:
        if fault == "cut":
            network.cut(self.lab, host)
            try:
                yield
            finally:
                network.restore(self.lab, host)
        elif fault == "off":
            machine.power_off(self.lab, host)
            machine.start(self.lab, host)
            yield
        else:
            os.kill(process.pid, signal.SIGSTOP)
            # Its connections stay, and what waits at their ends for a word of it.
            until(lambda: [wrong for wrong in self.wrongs() if f" unit slipway-{self.name}-" not in wrong], self.limit)
            os.kill(process.pid, signal.SIGCONT)
            yield


class Violated(Exception):
    """What must never be, was."""


def until(wrongs: Callable[[], list[str]], seconds: float) -> None:
    """Wait until nothing is wrong.

    Raises:
        Violated: something is, for so long.
    """
    deadline = time.monotonic() + seconds
    while found := wrongs():
        if time.monotonic() > deadline:
            raise Violated("; ".join(found))
        time.sleep(0.3)
