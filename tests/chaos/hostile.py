"""The user of an application of the matrix, who wrecks all that it can write to while a task is broken."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.network import ssh
from lab.spec import HostSpec, Lab
from tests.attacks import allowed, attacker, host_manifest

USER = "www-data"
MAX_TOLD = 8
KINDS = ("records", "releases", "units", "backups", "drills")
TARGETS = ("/root/canary", "/etc", "/var/lib/slipway", "/usr/local")
# As an application leaves its data; nothing of root's is in it.
_FILL = """
shared=$1 data=$2 user=$3
mkdir -p /root/canary/sub
chmod 0700 /root/canary
[ -f /root/canary/a ] || echo "stolen-mark-1000-$(head -c 8 /dev/urandom | od -An -tx1 | tr -d ' \\n')" >/root/canary/a
for folder in "$shared" "$data"; do
    [ -d "$folder" ] && [ ! -L "$folder" ] || { rm -rf "$folder"; mkdir -p "$folder"; }
    chmod 0750 "$folder"
    find "$folder" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
    mkdir "$folder/sub"
    echo a >"$folder/a"
    echo b >"$folder/sub/b"
    sqlite3 "$folder/notes.db" 'create table notes (t); insert into notes values (1), (2)'
    chown -hR "$user:" "$folder"
done
id -u "$user"
id -g "$user"
"""


@dataclass
class Hostile:
    """An application's user at work on every host of the application.

    Args:
        lab, hosts: where.
        app: which application.
        seed: of what it does.
    """

    lab: Lab
    hosts: Sequence[HostSpec]
    app: str
    seed: int = 1
    _ids: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the inventory says besides: places that the user may write to."""
        return {"shared": ["data"], "writable": ["cache"], "timeouts": {"connect": "3s", "command": "60s"}}

    @property
    def backup(self) -> dict[str, Any]:
        """What is backed up besides."""
        return {"paths": [self._data], "sqlite": [f"{self._data}/notes.db"]}

    @property
    def _data(self) -> str:
        return f"/srv/{self.app}/media"

    @property
    def _places(self) -> allowed.Places:
        home = f"/opt/{self.app}"
        folders = (f"{home}/shared/data", self._data, f"{home}/releases/*/cache")
        own = (*folders, *(f"{folder}/**" for folder in folders))
        return allowed.Places(self.app, home, f"/var/lib/slipway/{self.app}", f"/var/backups/{self.app}", "", own)

    def fill(self) -> None:
        """The data is as an application leaves it, on every host."""
        for host in self.hosts:
            words = f"sudo sh -eus -- /opt/{self.app}/shared/data {self._data} {USER}"
            done = subprocess.run(
                [*ssh(self.lab, host), words], input=_FILL, capture_output=True, text=True, check=True
            )
            uid, gid = done.stdout.split()
            self._ids[host.name] = int(uid), int(gid)

    def install(self) -> None:
        """Put the attacking program on every host."""
        for host in self.hosts:
            attacker.install(self.lab, host)

    @contextmanager
    def attacking(self, number: int, wrongs: list[str], *, loses: bool) -> Iterator[None]:
        """Attack on every host meanwhile; then look what came of it, and fill the data anew.

        Args:
            number: of the attempt; each does something else.
            wrongs: gets what has become of the hosts that is no task's business.
            loses: whether a host loses its power meanwhile; what is in its memory is another one's then.
        """
        before = {host.name: host_manifest.take(self.lab, host) for host in self.hosts}
        reports = []
        with ExitStack() as stack:
            for host in self.hosts:
                at_work = attacker.attack(
                    self.lab,
                    host,
                    USER,
                    program="wrecker",
                    places=[f"/opt/{self.app}", f"/srv/{self.app}"],
                    looks=[f"/opt/{self.app}", f"/srv/{self.app}", "/tmp", "/var/tmp"],
                    targets=TARGETS,
                    seed=self.seed + number,
                    may_be_lost=loses,
                )
                reports.append(stack.enter_context(at_work))
            yield
        wrongs += [f"the user did nothing: {report.counts}" for report in reports if not (loses or report.flips)]
        wrongs += [f"the user could read {path}" for report in reports for path in report.stolen]
        for host in self.hosts:
            now = host_manifest.take(self.lab, host)
            changes = [
                change
                for change in now.changes(before[host.name])
                if not (loses and change.path.startswith((*now.memory, "mount:")))
            ]
            found = allowed.wrongs(changes, self._places.of(*KINDS), *self._ids[host.name])
            wrongs += [f"{host.name}, seed {self.seed + number}: {wrong}" for wrong in found[:MAX_TOLD]]
        self.fill()
