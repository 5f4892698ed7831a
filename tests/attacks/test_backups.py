"""The application's user against backups, drills and restores: root reads every night what it writes into its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from tests.hosts.backups import reasons, secret
from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]
USER = "www-data"
TREASURE = "/root/treasure"
MARK = "Uf7T-of-root-alone"
# All there is for a drilled release; /root is systemd's, and empty.
ROOT = set("bin dev etc lib lib32 lib64 libx32 opt proc root run sbin srv sys tmp usr var".split())  # noqa: SIM905

# Exchanges two names as fast as the machine can, and says how often, until it is told to stop.
FLIP = """
import ctypes, os, select, sys
libc, one, other, flips = ctypes.CDLL(None), os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), 0
open(sys.argv[3], "w").write(str(os.getpid()))
while not os.path.exists(sys.argv[3] + ".stop"):
    for _ in range(1000):
        assert libc.renameat2(-100, one, -100, other, 2) == 0
        flips += 1
open(sys.argv[3] + ".flips", "w").write(str(flips))
"""
# Stops every sqlite3 of its own user's: a process of the user's cannot be what keeps time.
STOPPER = """
import glob, os, signal, sys, time
while not os.path.exists(sys.argv[1] + ".stop"):
    for comm in glob.glob("/proc/[0-9]*/comm"):
        try:
            if open(comm).read() in ("sqlite3\\n", "timeout\\n"):
                os.kill(int(comm.split("/")[2]), signal.SIGSTOP)
        except OSError:
            pass
    time.sleep(0.01)
"""


@dataclass(frozen=True)
class Hostile:
    """An application whose user means harm.

    Args:
        app: the application, deployed on app1.
        host: app1, as root.
    """

    app: App
    host: Host

    @property
    def data(self) -> str:
        """A folder of the user's, in which data is that is backed up."""
        return f"/srv/{self.app.name}"

    def as_user(self, script: str) -> str:
        """What the user does."""
        done = self.host.run("runuser -u %s -- sh -euc %s", USER, script)
        assert done.rc == 0, done.stderr
        return str(done.stdout)

    def covers(self, **backup: object) -> None:
        """Say what is backed up."""
        self.app.write(backup={**self.app.settings["backup"], **backup})

    def drills(self, command: str) -> None:
        """Start this in drills, and never find it well: the reason is its log."""
        drill = {"command": f"{command} >&2; exit 1", "url": "http://127.0.0.1:{port}/never", "timeout": "10s"}
        self.covers(drill=drill)

    def restic(self, words: str) -> str:
        password = secret(self.app, "restic").read_text().strip()
        command = f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{self.app.name} --no-cache {words}"
        return str(self.host.check_output(command))

    def is_stolen(self) -> bool:
        """Whether anything that was backed up, in however good a backup, holds root's mark."""
        out = f"/srv/{self.app.name}-everything"
        ids = self.host.check_output(f"cd /var/backups/slipway/{self.app.name}/snapshots && ls").split()
        for number, id_ in enumerate(ids):
            self.restic(f"restore {id_} --target {out}/{number}")
        return bool(self.host.run(f"grep -rl -e {MARK} {out}").stdout)

    def is_free(self) -> bool:
        """Whether nobody holds the lock of backups, and no copying is left."""
        if self.host.run(f"flock --nonblock {self.app.state}/backup.lock true").rc != 0:
            return False
        return str(self.host.run(f"pgrep -x sqlite3; ls -d {self.app.home}/.sqlite-backup").stdout) == ""

    @contextmanager
    def at_work(self, program: str, *words: str) -> Iterator[Callable[[], str]]:
        """Let a program of the user's run meanwhile; gives a function that stops it and tells what it counted."""
        place = f"/run/{self.app.name}-attack"
        mark = f"{place}/mark"
        self.host.check_output(f"rm -rf {place}; install -d -o {USER} {place}")
        start = "setsid runuser -u %s -- python3 -c %s " + " ".join(["%s"] * len(words)) + f" {mark} >/dev/null 2>&1 &"
        self.host.run(start, USER, program, *words)

        def stop() -> str:
            self.host.check_output(f"touch {mark}.stop")
            time.sleep(0.5)
            return str(self.host.run(f"cat {mark}.flips").stdout)

        try:
            yield stop
        finally:
            stop()
            self.host.check_output(f"rm -rf {place}")


@pytest.fixture
def hostile(app: App, on: On) -> Iterator[Hostile]:
    made = Hostile(app, on("app1"))
    statements = f"create table t (c); insert into t values ('{MARK}')"  # noqa: S608
    made.host.check_output(
        f"mkdir -p {made.data}/uploads {TREASURE} && echo mine >{made.data}/uploads/mine &&"
        f" chown -R {USER}: {made.data} && chmod 700 {TREASURE} && cd {TREASURE} &&"
        f' for i in $(seq 40); do echo {MARK} >f$i; done && rm -f private.db && sqlite3 private.db "{statements}" &&'
        " chmod 600 *"
    )
    app.write(hosts="app1", shared=["data"], backup={"paths": [f"{made.data}/uploads"], "after_deploy": False})
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    yield made
    made.host.run(f"rm -rf {TREASURE} /var/backups/slipway/{app.name} {made.data} {made.data}-* /etc/{app.name}*")


def test_a_restored_folder_is_mounted_over_nothing_of_the_hosts(hostile: Hostile) -> None:
    """Data that becomes /etc gives su its passwords: root by one link, made between a backup and its drill."""
    owned = f"/root/owned-{hostile.app.name}"
    permit = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so"
    hostile.as_user(
        f"cd {hostile.data}/uploads && mkdir pam.d && printf '{permit}\\n' >pam.d/su && cp pam.d/su pam.d/other &&"
        f" echo 'root::0:0:root:/:/bin/sh' >passwd && echo 'root:x:0:' >group && echo 'root::1::::::' >shadow"
    )
    hostile.drills(f"su root -c 'touch {owned}; echo it-is-root'")
    assert invoke("backup", hostile.app.env).status == 0
    hostile.as_user(f"cd {hostile.data} && mv uploads away && ln -s /etc uploads")
    failed = invoke("verify-backups", hostile.app.env, "--json")
    assert not hostile.host.file(owned).exists, "the application's user is root"
    assert "it-is-root" not in reasons(failed)["app1"]


def test_a_drilled_release_has_no_way_to_privilege_and_sees_nothing_of_the_host(hostile: Hostile) -> None:
    """A setuid program, a device or a capability in a backup, or one of the host's, is a way to root at night."""
    inside = f"{hostile.data}/uploads"
    hostile.host.check_output(
        f"cd {inside} && cp /usr/bin/id plain && cp /usr/bin/id root-id && chmod 4755 root-id &&"
        f" mknod -m 666 null c 1 3 && mkfifo -m 666 fifo && ln -s /etc/shadow link"
    )
    look = (
        f"cd {inside}; ls -A / | tr '\\n' ' '; echo; ls -A | tr '\\n' ' '; echo; stat -c %a root-id; ./root-id -u;"
        f" grep -E '^(NoNewPrivs|CapBnd|CapEff)' /proc/self/status | tr '\\n\\t' '  '; echo;"
        " touch /usr/it /etc/it 2>/dev/null && echo writes;"
        " ls -d /root/* /home /var/lib/slipway /etc/shadow 2>/dev/null; cat link"
    )
    hostile.drills(f"({look})")
    assert invoke("backup", hostile.app.env).status == 0
    (said,) = (host for host in invoke("verify-backups", hostile.app.env, "--json").json["hosts"] if host["log"])
    root, data, mode, uid, rights, *rest = said["log"]
    assert set(root.split()) <= ROOT, said
    assert data.split() == ["link", "mine", "plain", "root-id"], said
    assert (mode, uid) == ("755", hostile.host.check_output(f"id -u {USER}")), said
    assert rights.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"], said
    assert [line for line in rest if line] == ["cat: link: No such file or directory"], said


def test_a_restored_database_is_not_moved_through_a_link(hostile: Hostile) -> None:
    """The user's own tree decides where root puts a file: cron's folder, or another application's database."""
    other = f"/srv/{hostile.app.name}-other"
    hostile.host.check_output(f"mkdir -m 700 {other} && echo theirs >{other}/notes.db")
    hostile.as_user(
        f"cd {hostile.data} && mkdir real && ln -s $PWD/real hop && ln -s $PWD/hop uploads/db &&"
        " sqlite3 uploads/db/notes.db 'create table t (c)' && chmod 6777 real/notes.db"
    )
    hostile.covers(sqlite=[f"{hostile.data}/uploads/db/notes.db"])
    refused = invoke("backup", hostile.app.env)
    assert refused.status == 1 and f"{hostile.data}/uploads/db is a link that {USER} made" in refused.err, refused.err
    # The link comes once the copy is made, before restic reads.
    hostile.as_user(f"cd {hostile.data} && rm uploads/db && mv real uploads/db && mkdir real")
    copying = f"[ -e {hostile.app.home}/.sqlite-backup ]"
    wait = f"until {copying}; do sleep 0.01; done; while {copying}; do sleep 0.01; done"
    swap = f"{wait}; rm -r uploads/db; ln -s $PWD/hop uploads/db"
    hostile.host.check_output("systemd-run --quiet --uid=%s -- sh -c %s", USER, f"cd {hostile.data} && {swap}")
    (record,) = invoke("backup", hostile.app.env, "--json").json["backups"]
    hostile.as_user(f"ln -sfnT {other} {hostile.data}/hop")
    failed = invoke("verify-backups", hostile.app.env, "--json")
    assert hostile.host.run(f"grep -qx theirs {other}/notes.db").rc == 0, (
        "another application's database is overwritten"
    )
    assert f"the backup has a link in its place, {hostile.data}/uploads/db" in reasons(failed)["app1"]
    copy = f"{hostile.app.state}/backup.d/sqlite{hostile.data}/uploads/db/notes.db"
    listed = hostile.restic(f"ls --long {record['snapshot']} {copy}").splitlines()[-1]
    assert listed.startswith("-rw-r-----"), f"the user chose the mode of a file of root's: {listed}"


def test_a_database_that_the_user_cannot_read_is_in_no_backup(hostile: Hostile) -> None:
    """Any SQLite database of the host, copied by root and shown to the user by the drill."""
    hostile.as_user(f"ln -s {TREASURE}/private.db {hostile.data}/uploads/notes.db")
    hostile.host.check_output(f"chmod 711 /root {TREASURE}")
    hostile.covers(sqlite=[f"{hostile.data}/uploads/notes.db"])
    refused = invoke("backup", hostile.app.env)
    hostile.host.check_output("chmod 700 /root")
    assert not hostile.is_stolen()
    assert (refused.status, f"{USER}, whom the application runs as, cannot read" in refused.err) == (1, True), (
        refused.err
    )


def test_why_a_database_cannot_be_copied_is_told(hostile: Hostile) -> None:
    """A person sees "unable to open database file" for all of it, and does not know what to change."""
    wal, closed = f"{hostile.data}/wal", f"{hostile.data}/closed"
    hostile.host.check_output(
        f"mkdir {wal} && cd {wal} && sqlite3 notes.db 'pragma journal_mode=wal; create table t (c)' && chown {USER} *"
    )
    hostile.host.check_output(f"mkdir -m 700 {closed} && sqlite3 {closed}/notes.db 'create table t (c)'")
    for folder, told, hint in (
        (wal, f"cannot make its -wal and -shm files in {wal}", "PRAGMA journal_mode=DELETE"),
        (closed, f"it may not look into {closed}", "let that user into the folder"),
    ):
        hostile.covers(sqlite=[f"{folder}/notes.db"])
        refused = invoke("backup", hostile.app.env)
        assert refused.status == 1 and told in refused.err and hint in refused.err, refused.err


def test_what_is_no_file_in_the_place_of_a_database_stops_nothing(hostile: Hostile) -> None:
    """root's sqlite3 waits at a FIFO for good, with the lock that every backup and deploy after it waits for."""
    database = f"{hostile.data}/uploads/notes.db"
    hostile.covers(sqlite=[database])
    for make, kind in (
        (f"mkfifo {database}", "fifo"),
        (f"mkdir {database}", "directory"),
        (f"ln -s /dev/tty {database}", "character special file"),
        (f"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{database}\")'", "socket"),
    ):
        hostile.as_user(f"rm -rf {database}; {make}")
        began = time.monotonic()
        refused = invoke("backup", hostile.app.env)
        assert time.monotonic() - began < 60, f"{kind}: it hung"
        assert f"is no file but a {kind}" in refused.err, refused.err
        assert hostile.is_free(), f"{kind}: {hostile.host.run('ps -ef').stdout}"


def test_a_copy_that_is_stopped_ends_in_time(hostile: Hostile) -> None:
    """The user can stop its own processes: one that copies for root must not keep root, nor its lock, waiting."""
    database = f"{hostile.data}/uploads/notes.db"
    hostile.as_user(f"sqlite3 {database} 'create table t (c)'")
    hostile.covers(sqlite=[database])
    hostile.app.write(timeouts={"command": "8s"})
    # Somebody who writes keeps the copy waiting, so that it is there to be stopped.
    owner = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('begin exclusive'); time.sleep(25)"
    hostile.host.run("setsid runuser -u %s -- python3 -c %s %s >/dev/null 2>&1 &", USER, owner, database)
    with hostile.at_work(STOPPER):
        refused = invoke("backup", hostile.app.env)
        assert refused.status == 1, refused.err
        deadline = time.monotonic() + 20
        while not hostile.is_free():
            assert time.monotonic() < deadline, hostile.host.run("ps -ef").stdout
            time.sleep(0.5)


def test_flipping_names_brings_nothing_of_roots_into_a_backup(hostile: Hostile) -> None:
    """restic opens by name: a folder that is a link for a moment makes root's files part of the user's backup."""
    hostile.as_user(
        f"cd {hostile.data}/uploads && mkdir dir && ln -s {TREASURE} link && for i in $(seq 40); do echo >dir/f$i; done"
    )
    with hostile.at_work(FLIP, f"{hostile.data}/uploads/dir", f"{hostile.data}/uploads/link") as stop:
        told = [invoke("backup", hostile.app.env) for _ in range(4)]
        flips = int(stop())
    assert flips > 1000, "nothing was attacked"
    assert hostile.restic("snapshots --json") != "[]", [one.err for one in told]
    assert not hostile.is_stolen()


def test_a_link_in_the_place_of_data_is_not_followed(hostile: Hostile) -> None:
    """Whatever root can read, by one link and without a race."""
    hostile.as_user(f"cd {hostile.data} && mv uploads away && ln -s {TREASURE} uploads")
    refused = invoke("backup", hostile.app.env)
    assert not hostile.is_stolen()
    assert (refused.status, f"{hostile.data}/uploads is a link that {USER} made" in refused.err) == (1, True), (
        refused.err
    )


def test_root_restores_nothing_where_others_can_change_names(hostile: Hostile) -> None:
    """restic makes files by name and gives them away: in a folder of the user's it does so wherever the user likes."""
    assert invoke("backup", hostile.app.env).status == 0
    refused = invoke("restore", hostile.app.env, f"--to-dir={hostile.data}/look")
    assert (refused.status, f"others than root can change {hostile.data} ({USER}" in refused.err) == (1, True), (
        refused.err
    )
    hostile.covers(drill={"folder": hostile.data})
    failed = invoke("verify-backups", hostile.app.env, "--json")
    assert "slipway_backup.drill.folder is to be in" in reasons(failed)["app1"]
    hostile.covers(drill={}, repository=f"{hostile.data}/repository")
    refused = invoke("backup", hostile.app.env)
    assert "the restic repository is to be in" in refused.err
    assert hostile.as_user(f"ls {hostile.data}") == "uploads\n", "root has made something in a folder of the user's"
