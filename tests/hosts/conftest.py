"""Provide real lab hosts, the real command line, and a small application for each test."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

from lab import up as lab_up
from lab.network import QUICK_KEX
from lab.spec import HostSpec, Lab
from tests import last_commands, warm_start
from tests.schemas import check_answer

PROJECT = Path(__file__).resolve().parent.parent.parent
INVOKE = PROJECT / ".venv" / "bin" / "invoke"
# What a shell or systemctl says of an empty or a wrong value that a script gave to it.
SCRIPT_FAULT = re.compile(
    r".*(Failed to (mangle|expand) name|parameter not set|Illegal number|unexpected operator|bad variable name).*"
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def invoke(*words: str, stdin: str | None = None, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a task as a person does, without a terminal, and check a JSON document against its schema."""
    done = _invoke(words, stdin, environment or {})
    last_commands.remember(words, done.status, done.out, done.err)
    check_answer(words, done.out)
    fault = SCRIPT_FAULT.search(done.err)
    assert fault is None, f"a script went wrong on a host, and went on: {fault[0]}"
    return done


def _invoke(words: Sequence[str], stdin: str | None, environment: Mapping[str, str]) -> Ran:
    if warm_start.can_run(environment):
        return Ran(*warm_start.run(words, stdin=stdin, environment={**os.environ, **environment}, timeout=240))
    done = subprocess.run(
        [str(INVOKE), *words],
        cwd=PROJECT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def own_lab() -> str:
    """Return the name of this run's lab; each of several workers has its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return os.environ.get("SLIPWAY_TEST_LAB", "test") + (f"-{worker}" if worker else "")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Bring up a lab for the tests, and take it down at the end in any case."""
    name = own_lab()
    try:
        yield lab_up.up(name, hosts=3, durable=False)[0]
    finally:
        lab_up.down(name)


@pytest.fixture(scope="session")
def specs(lab: Lab) -> dict[str, HostSpec]:
    return {host.name: host for host, _ in lab_up.status(lab.name)}


@pytest.fixture(scope="session")
def on(lab: Lab, specs: dict[str, HostSpec]) -> Callable[[str], Host]:
    """Return testinfra's view of a host, as root."""
    config = lab.folder / "ssh" / "config"
    config.write_text(
        "Host *\n  User deploy\n  StrictHostKeyChecking yes\n"
        f"  IdentityFile {lab.folder}/ssh/id_ed25519\n  UserKnownHostsFile {lab.folder}/ssh/known_hosts\n"
        f"  KexAlgorithms {QUICK_KEX}\n"
    )
    return lambda name: testinfra.get_host(f"ssh://{specs[name].address}", ssh_config=str(config), sudo=True)


@dataclass
class App:
    """An application for one test, with its own inventory, so that tests do not affect each other.

    Args:
        name: its name, which is also in its folder, state and unit.
        port: the port on which it answers.
        folder: the folder of its inventory and artifacts.
        settings: the inventory's settings; change them and call `write`.
        started: the tasks that were begun.
    """

    name: str
    port: int
    folder: Path
    lab: Lab
    settings: dict[str, Any] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list, repr=False)

    @property
    def env(self) -> str:
        return f"--env={self.folder}/inventory"

    @property
    def home(self) -> str:
        return f"/opt/{self.name}"

    @property
    def state(self) -> str:
        return f"/var/lib/slipway/{self.name}"

    def write(self, **changes: Any) -> None:
        """Write the inventory with these settings changed; names get the prefix if they lack it."""
        self.settings.update(changes)
        variables = {f"slipway_{key}": value for key, value in self.settings.items()}
        place = self.folder / "inventory"
        (place / "group_vars").mkdir(parents=True, exist_ok=True)
        (place / "hosts.yml").write_text((self.lab.folder / "inventory/hosts.yml").read_text())
        (place / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables))

    def program(self, version: str, *, line: str | None = None) -> dict[str, bytes]:
        """Return a web service that answers with its version."""
        line = line or f"exec python3 -m http.server {self.port}"
        return {"bin/run": f"#!/bin/sh\ncd {self.home}/current\n{line}\n".encode(), "VERSION": f"{version}\n".encode()}

    def build(self, version: str, files: Mapping[str, bytes] | None = None, **program: Any) -> Path:
        """Build an artifact."""
        members = []
        for name, content in {**self.program(version, **program), **(files or {})}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            members.append((info, content))
        return self.pack(version, members)

    def pack(self, version: str, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
        """Pack members unchanged, even invalid ones."""
        path = self.folder / f"{self.name}-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
        return path

    def deploy(self, version: str, *flags: str) -> Ran:
        return invoke("deploy", self.env, f"--version={version}", "--batch=100%", *flags)

    def start(self, *words: str, at: Path = PROJECT) -> subprocess.Popen[str]:
        """Begin a task, from this checkout or another, without waiting."""
        process = subprocess.Popen(
            [str(INVOKE), *words, self.env],
            cwd=at,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.started.append(process)
        return process

    def abandon(self) -> None:
        """End tasks that a failed test began and did not wait for, because they would disturb later tests."""
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def app(lab: Lab, tmp_path: Path) -> Iterator[App]:
    """Return a new application without backups; tests of backups turn them on."""
    number = next(_numbers)
    made = App(f"t{number}", 9000 + number, tmp_path, lab)
    secret = tmp_path / "secrets"
    secret.mkdir(mode=0o700)
    for name in ("restic", "token"):
        (secret / name).touch(mode=0o600)
        (secret / name).write_text(f"very-{name}-secret-{own_lab()}-{number}\n")
    made.write(
        app=made.name,
        hosts="app",
        user="www-data",
        artifact=f"{tmp_path}/{made.name}-{{version}}.tar.gz",
        services=[{"name": made.name, "unit": {"Service": {"ExecStart": f"{made.home}/current/bin/run"}}}],
        health={
            "attempts": 8,
            "interval": "500ms",
            "checks": [{"type": "http", "name": "version", "url": f"http://127.0.0.1:{made.port}/VERSION"}],
        },
        backup={"enabled": False},
        secrets={"restic_password": {"file": f"{secret}/restic"}, "token": {"file": f"{secret}/token"}},
    )
    yield made
    made.abandon()


def clear_edge(edge: Host) -> None:
    """Remove the balancers of another file's tests, because these tests need the same ports."""
    files = "/etc/haproxy/slipway /var/lib/haproxy/slipway.state /etc/nginx/slipway"
    edge.run(f"systemctl stop haproxy nginx; rm -rf {files}; systemctl reset-failed")


def wait_until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


APPS = ("app1", "app2", "app3")
