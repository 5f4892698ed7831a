"""An application whose user is hostile, on a lab host full of what that user must not come to."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.network import ssh
from lab.spec import HostSpec
from tests.attacks import allowed, attacker, host_manifest
from tests.hosts.conftest import App

HOST = "app1"
# Root's alone; another application's; the system's, and Slipway's own.
TARGETS = ("/root/canary", "/srv/other", "/etc", "/var/lib/slipway")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0")


@dataclass
class Victim(App):
    """An application whose user attacks.

    Args:
        host: where it runs.
        uid, gid: its user's.
    """

    host: HostSpec = field(kw_only=True)
    uid: int = -1
    gid: int = -1

    @property
    def data(self) -> str:
        """A folder of the user's with data that is backed up."""
        return f"/srv/{self.name}"

    @property
    def restored(self) -> str:
        """Where backups are restored to, to be looked at."""
        return "/srv/restored"

    @property
    def places(self) -> allowed.Places:
        """What tasks and the user may change."""
        own = (f"{self.home}/shared/data", f"{self.home}/shared/storage/public", self.data)
        below = tuple(f"{place}/**" for place in own)
        writable = (f"{self.home}/releases/*/cache", f"{self.home}/releases/*/cache/**")
        return allowed.Places(
            self.name,
            self.home,
            self.state,
            f"/var/backups/slipway/{self.name}",
            self.restored,
            (*own, *below, *writable),
        )

    def manifest(self) -> host_manifest.Manifest:
        """The host as it is now."""
        return host_manifest.take(self.lab, self.host)

    def wrongs(self, before: host_manifest.Manifest, *kinds: str) -> list[str]:
        """What has become of the host since, that no task of these kinds may have done; see allowed.Places."""
        return allowed.wrongs(self.manifest().changes(before), self.places.of(*kinds), self.uid, self.gid)

    def attack(
        self,
        *,
        seed: int = 1,
        targets: Sequence[str] = TARGETS,
        kinds: Sequence[str] = (),
        paces: Sequence[str] = (),
        spared: Sequence[str] = (),
    ) -> AbstractContextManager[attacker.Report]:
        """The user changes names in all it can write to; see on_host/flipper.py for how."""
        return attacker.attack(
            self.lab,
            self.host,
            self.name,
            places=[self.home, self.data, self.restored],
            looks=[self.home, "/srv", "/tmp", "/var/tmp", "/dev/shm"],
            targets=targets,
            kinds=kinds,
            paces=paces,
            spared=spared,
            seed=seed,
        )

    def as_root(self, script: str, *words: str, status: int = 0) -> str:
        """Run a script on the host; returns what it says."""
        done = subprocess.run(
            [*ssh(self.lab, self.host), f"sudo sh -eus -- {' '.join(words)}"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *words: str, limit: float) -> tuple[int, str]:
        """Run a task.

        Args:
            words: without its environment.
            limit: seconds.

        Returns:
            Its exit status, and what it said at the end, if it failed.

        Raises:
            subprocess.TimeoutExpired: it takes longer.
        """
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=limit)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return process.returncode, "" if process.returncode == 0 else f"{out}{err}".strip()[-1500:]

    def must(self, *words: str) -> None:
        """Run a task that has to go well."""
        status, said = self.run(*words, limit=120)
        assert status == 0, f"{' '.join(words)}: {said}"

    def version(self) -> str:
        """What runs, if anything does."""
        return self.as_root(f"cat {self.home}/current/VERSION 2>/dev/null || :\n").strip()

    def remove(self) -> None:
        """Nothing of it is on the host, but its data and its user."""
        self.as_root(REMOVE, self.name, self.home, self.state)

    def units(self) -> str:
        """Steps that are at work on the host."""
        pattern = f"'slipway-{self.name}-*' 'slipway-guard-{self.name}-*.service'"
        return self.as_root(f"systemctl list-units --plain --no-legend --state=active,activating {pattern}\n").strip()

    def processes(self) -> str:
        """What its steps do there, for a message."""
        return self.as_root("ps -eo unit:70,stat,wchan:20,args --no-headers | grep '^slipway' | cut -c1-250 || :\n")

    def drills_saw(self, since: float) -> list[str]:
        """What of root's the release of a drill could read; see DRILL."""
        words = f"journalctl --since=@{since:.0f} --output=cat --no-pager | grep '^drill saw:' || :\n"
        return self.as_root(words).splitlines()

    def damaged_releases(self) -> list[str]:
        """Files of finished releases that are not what their manifests say, or hold a line of the attacker's."""
        return self.as_root(DAMAGED, self.home).splitlines()

    def reset(self) -> None:
        """Its data is as the application made it, and nothing is at work, whatever an attack left."""
        self.as_root(RESET, self.name, self.home, self.data)

    def marked(self) -> list[str]:
        """Files with a mark of root's that the user can read."""
        words = f"setpriv --reuid={self.name} --regid={self.name} --init-groups python3 {attacker.ON_HOST}/marks.py"
        found = self.as_root(f"{words} --except=/proc --except=/sys --except=/usr --except=/dev/fd /\n")
        return found.splitlines()


RESET = """
user=$1 home=$2 data=$3
systemctl kill --signal=KILL "slipway-$user-*" 2>/dev/null || :
fill() {
    [ -d "$1" ] || return 0
    find "$1" -mindepth 1 -delete
    mkdir -p "$1/sub"
    echo cat >"$1/cat.txt"
    echo dog >"$1/sub/dog.txt"
    sqlite3 "$1/notes.db" 'create table notes (t); insert into notes values (1), (2)'
    chown -hR "$user:$user" "$1"
}
mkdir -p "$data"
find "$data" -mindepth 1 -maxdepth 1 ! -name media -exec rm -rf {} +
[ -d "$data/media" ] && [ ! -L "$data/media" ] || { rm -rf "$data/media"; mkdir "$data/media"; }
chown "$user:$user" "$data"
fill "$data/media"
fill "$home/shared/data"
fill "$home/shared/storage/public"
"""
REMOVE = """
app=$1 home=$2 state=$3
systemctl stop "$app.service" 2>/dev/null || :
systemctl disable "$app.service" 2>/dev/null || :
rm -rf "$home" "$state" "/var/backups/slipway/$app" "/etc/systemd/system/$app.service"
rm -f /etc/systemd/system/multi-user.target.wants/"$app.service"
systemctl daemon-reload
systemctl reset-failed
"""
CLEARED = """
rm -rf /srv/victim /srv/other /srv/restored /root/canary /etc/attacks.secret /usr/local/lib/attacks
userdel canary
systemctl start cron.service
"""
DAMAGED = """
cd "$1/releases" 2>/dev/null || exit 0
for release in *; do
    [ -f "$release/.slipway/complete" ] || continue
    (cd "$release" && sha256sum --check --quiet --strict .slipway/manifest 2>&1) | sed "s|^|damaged: $release/|"
    find "$release" -type f -user 0 -exec grep -l owned-by-the-attacker {} + | sed 's/^/has a line of the attacker: /'
done
"""
CANARIES = """
user=$1 mark=$2
# The host's own housekeeping stands still: what it changes is no task's doing.
systemctl stop cron.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \\
    fstrim.timer logrotate.timer systemd-tmpfiles-clean.timer 2>/dev/null || :
number=1000
plant() { number=$((number + 1)); echo "stolen-mark-$number-$mark" >"$1"; chmod 0600 "$1"; }
fill() {
    mkdir -p "$1"
    chmod 0700 "$1"
    mkdir -p "$1/sub" "$1/media/sub" "$1/data/sub" "$1/storage/public/sub" "$1/cache"
    for folder in "$1" "$1/media" "$1/data" "$1/storage/public" "$1/cache"; do
        plant "$folder/cat.txt"
        plant "$folder/sub/dog.txt" 2>/dev/null || :
        number=$((number + 1))
        sqlite3 "$folder/notes.db" "create table t (x); insert into t values ('stolen-mark-$number-$mark')"
        chmod 0600 "$folder/notes.db"
    done
}
id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$user"
id canary >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin canary
usermod --password "!stolen-mark-1000-$mark" canary
rm -rf /root/canary /srv/other
fill /root/canary
fill /srv/other
chown -R www-data:www-data /srv/other
plant /etc/attacks.secret
id -u "$user"
id -g "$user"
"""


def settings(made: Victim, password: Path) -> dict[str, Any]:
    """What its inventory says: a place of every kind that the user may write to, and hooks of every moment."""
    service = {"ExecStart": f"{made.home}/current/bin/run", "User": made.name, "TimeoutStopSec": 5}
    return {
        "app": made.name,
        "hosts": HOST,
        "user": made.name,
        "artifact": f"{made.folder}/{made.name}-{{version}}.tar.gz",
        "services": [{"name": made.name, "unit": {"Service": service}}],
        "shared": ["data", "storage/public"],
        "writable": ["cache"],
        "keep_releases": 2,
        "hooks": {moment: hooks(moment) for moment in ("install", "before_switch", "after_switch")},
        "health": {
            "attempts": 40,
            "interval": "250ms",
            "checks": [{"type": "http", "name": "version", "url": f"http://127.0.0.1:{made.port}/VERSION"}],
        },
        "backup": {
            "password": "restic",
            "paths": [f"{made.data}/media"],
            "sqlite": [f"{made.home}/shared/data/notes.db", f"{made.data}/media/notes.db"],
            "keep": {"last": 1},
            "drill": {"command": DRILL, "url": "http://127.0.0.1:{port}/VERSION", "timeout": "10s"},
        },
        "timeouts": {"command": "45s", "total": "80s"},
        "secrets": {"restic": {"file": str(password)}},
    }


# What of root's the restored release can read, and what it sees in place of it, is told in the journal.
DRILL = (
    "[ ! -e /etc/cat.txt ] || echo 'drill saw: restored data in place of /etc'; "
    f"python3 {attacker.ON_HOST}/marks.py --except=/proc --except=/sys --except=/usr / | sed 's/^/drill saw: /'; "
    "cd $RELEASE && exec python3 -m http.server $PORT"
)


def hooks(moment: str) -> list[dict[str, str]]:
    """One of the user and one of root, as people write them: programs of the release that work in it."""
    work = "mkdir -p cache/made && date >cache/made/stamp && for i in 1 2 3; do echo $i >made.$i; sleep 0.05; done"
    own = work if moment == "install" else "ls >/dev/null; sleep 0.1"
    return [
        {"name": f"{moment} of the user", "user": "app", "run": own},
        {"name": f"{moment} of root", "user": "root", "run": "sh bin/maintain; sleep 0.1"},
    ]


def artifact(made: Victim, version: str) -> None:
    """Build a version."""
    made.build(version, {"bin/maintain": b"#!/bin/sh\ntest -f VERSION\n", "cache/seed.txt": b"seed\n"})
