"""What stands in front of an application that is broken on purpose: HAProxy, seen by its socket and by requests."""

from __future__ import annotations

import http.client
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.network import ssh
from lab.spec import HostSpec, Lab
from tests.chaos.fleet_view import Seen

Strategy = Literal["canary", "blue-green", "rolling"]
PUBLIC = 80
FULL = "256"
SLOTS = ("blue", "green")
# Columns of HAProxy's `show servers state`, counted from 0, and what they say of a server that is in use.
NAME, UP, ADMIN, WEIGHT = 3, 5, 6, 7
ASKED = 12
# Requests of users, and of the looks at where they go.
EVERY = 0.05


@dataclass(frozen=True)
class Front:
    """The balancer, and how releases come behind it.

    Args:
        edge: its host.
        strategy: by which deploys move the traffic.
        slots: whether old and new run beside each other on a host.
    """

    edge: HostSpec
    strategy: Strategy
    slots: bool = False

    def settings(self, app: str, ports: Sequence[int]) -> dict[str, Any]:
        """What an inventory says of it."""
        ladder = [{"share": share, "for": "1s"} for share in ("20%", "100%")]
        steps = {} if self.strategy == "rolling" else {self.strategy.replace("-", "_"): ladder}
        return {
            "balancer": {"hosts": self.edge.name, "port": ports[0], "listen": [PUBLIC], "health_path": "/VERSION"},
            "rollout": {
                "strategy": self.strategy,
                **steps,
                "judgement": {"interval": "1s", "inconclusive": "promote"},
            },
            "backup": {"enabled": False},
            **(self._beside(app, ports) if self.slots else {}),
        }

    def _beside(self, app: str, ports: Sequence[int]) -> dict[str, Any]:
        check = {"type": "http", "name": "version", "url": "http://127.0.0.1:{port}/VERSION"}
        return {
            "slots": dict(zip(SLOTS, ports, strict=True)),
            "services": [{"name": f"{app}@", "unit": {"Service": {"ExecStart": f"/opt/{app}/current/run"}}}],
            "health": {"attempts": 20, "interval": "500ms", "checks": [check]},
        }

    def wrongs(self, lab: Lab, app: str, seen: Mapping[str, Seen]) -> list[str]:
        """What must not be so when nobody moves traffic: every host has its share, by one server, and all serve."""
        weights = _servers(lab, self.edge, app)
        if not weights:
            return [f"{self.edge.name}: HAProxy tells nothing"]
        used = {name: weight for name, (up, weight) in weights.items() if up and weight != "0"}
        if sorted(name.partition("-")[0] for name in used) != sorted(seen) or set(used.values()) != {FULL}:
            return [f"{self.edge.name}: in use are {used}, expected each of {sorted(seen)} once with {FULL}"]
        answers = Counter(fetch(self.edge.address) for _ in range(ASKED))
        old_or_new = {version for one in seen.values() for version in (one.version, one.beside)}
        if set(answers) - old_or_new:
            return [f"{self.edge.name}: users are answered {dict(answers)}"]
        return []

    def astray(self, seen: Mapping[str, Seen]) -> list[str]:
        """Where users are answered by something else than what is current."""
        answers = Counter(fetch(self.edge.address) for _ in range(ASKED))
        current = {one.version for one in seen.values()}
        return (
            [f"{self.edge.name}: users are answered {dict(answers)}, current is {current}"]
            if set(answers) - current
            else []
        )


def fetch(address: str) -> str:
    """Which version answers a user; of a failure, what it was."""
    connection = http.client.HTTPConnection(address, PUBLIC, timeout=10)
    try:
        connection.request("GET", "/VERSION")
        answer = connection.getresponse()
        text = answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    else:
        return text if answer.status == 200 else f"status {answer.status}"
    finally:
        connection.close()


@dataclass
class Users:
    """People who go on asking, one request after another.

    Args:
        answers: by version or failure.
    """

    answers: Counter[str] = field(default_factory=Counter)

    def failed(self, versions: Sequence[str]) -> dict[str, int]:
        """What was no answer of a version."""
        return {what: count for what, count in self.answers.items() if what not in versions}


@contextmanager
def users(front: Front | None) -> Iterator[Users]:
    """Have users until the block ends; none where nothing stands in front."""
    those, stop = Users(), threading.Event()

    def ask(address: str) -> None:
        while not stop.wait(EVERY):
            those.answers[fetch(address)] += 1

    thread = threading.Thread(target=ask, args=(front.edge.address,)) if front else None
    if thread:
        thread.start()
    try:
        yield those
    finally:
        stop.set()
        if thread:
            thread.join()


def _servers(lab: Lab, edge: HostSpec, app: str) -> dict[str, tuple[bool, str]]:
    """Whether each server gets requests, and its weight."""
    asked = f"echo 'show servers state {app}' | sudo socat - /run/haproxy/admin.sock"
    try:
        done = subprocess.run([*ssh(lab, edge), asked], capture_output=True, text=True, timeout=15, check=False)
    except subprocess.TimeoutExpired:
        return {}
    rows = [line.split() for line in done.stdout.splitlines()]
    return {
        row[NAME]: (row[UP] == "2" and row[ADMIN] == "0", row[WEIGHT])
        for row in rows
        if len(row) > WEIGHT and row[0].isdigit()
    }
