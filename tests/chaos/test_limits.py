"""Hosts that run out of something or cannot be written to: the fleet stays whole, the message says what is short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

from tests.chaos.faults import BROKEN, PAIR, arm, assert_whole, fault, said, small_disk
from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]


def start(app: App, **changes: Any) -> None:
    """1.0.0 on two hosts."""
    app.write(hosts=":".join(PAIR), limits={"disk_used": 100}, **changes)
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err


FILL = "dd if=/dev/zero of={place}/filler bs=64k 2>/dev/null || :"
EMPTY = "rm -f {place}/filler"
# What has a file open may go on writing to it, as the lock does; for everybody else the disk is read-only at once.
FREEZE = "mount --bind {place} {place} && mount -o remount,bind,ro {place}"
# A hook of the install moment sees mounts of its own.
FREEZE_ALL = f"nsenter --target 1 --mount -- sh -c '{FREEZE}'"
THAW = "umount -l {place}"  # what was started meanwhile may have its working folder there
NO_INODES = "i=0; while touch {place}/filler.$i; do i=$((i + 1)); done 2>/dev/null || :"
INODES = "rm -f {place}/filler.*"


@dataclass(frozen=True)
class Shortage:
    """Something that happens to a file system in the middle of a deploy.

    Args:
        moment: of the hook in which it happens.
        place: "home" or "state".
        harm, mend: commands.
        ends: exit status of the deploy that meets it.
        told: what it must say, besides the host.
    """

    moment: str
    place: str
    harm: str
    mend: str
    ends: int
    told: str


SHORTAGES = {
    "full while staging": Shortage("install", "home", FILL, EMPTY, 1, "the file system of {place} is full"),
    "full at the switch": Shortage("before_switch", "home", FILL, EMPTY, 1, "the file system of {place} is full"),
    # The guard's own link gives its inode to the mark that comes after it.
    "no inodes at the end": Shortage("after_switch", "home", NO_INODES, INODES, 0, "is deployed"),
    # The way back must not need room that is gone by then.
    "no inodes on the way back": Shortage(
        "after_switch", "home", f"{NO_INODES}; echo no good >&2; exit 7", INODES, 1, "ended with status 7: no good"
    ),
    "read-only while staging": Shortage("install", "home", FREEZE_ALL, THAW, 1, "Read-only file system"),
    "read-only at the switch": Shortage("before_switch", "home", FREEZE, THAW, 1, "Read-only file system"),
    "read-only at the end": Shortage("after_switch", "state", FREEZE, THAW, 1, "its guard cannot be removed"),
}


@pytest.mark.parametrize("name", SHORTAGES)
def test_a_file_system_gives_out_in_the_middle(app: App, on: On, name: str) -> None:
    """A half-written release, link or ledger on one host, a mixed fleet, or a reason nobody can act on."""
    case, host = SHORTAGES[name], on(BROKEN)
    place = app.home if case.place == "home" else app.state
    with small_disk(host, place, "size=4m,nr_inodes=1200"):
        start(app)
        app.write(hooks={case.moment: [fault(app, case.harm.format(place=place))]})
        app.build("1.1.0")
        arm(on, app)
        met = app.deploy("1.1.0")
        assert met.status == case.ends, said(met)
        assert BROKEN in said(met)
        assert case.told.format(place=place) in said(met)
        host.check_output(case.mend.format(place=place))
        status = invoke("status", app.env, "--json").json
        assert (status["mixed"], status["versions"]) == (False, ["1.1.0" if case.ends == 0 else "1.0.0"])
        again = app.deploy("1.1.0", "--force")
        assert again.status == 0, said(again)
        assert_whole(app, on, "1.1.0")
        host.run(f"systemctl stop {app.name}")


def test_more_files_than_inodes(app: App, on: On) -> None:
    """An artifact of many small files ends on a disk with room but no inodes: 'No space left' sends people astray."""
    with small_disk(on(BROKEN), app.home, "size=64m,nr_inodes=1500"):
        start(app)
        app.build("1.1.0", {f"files/{n}": b"x" for n in range(2000)})
        met = app.deploy("1.1.0")
        assert met.status == 1, said(met)
        assert f"{BROKEN}: the file system of {app.home} has no inodes left" in said(met)
        assert_whole(app, on, "1.0.0")
        app.build("1.1.0")
        assert app.deploy("1.1.0").status == 0
        assert_whole(app, on, "1.1.0")
        on(BROKEN).run(f"systemctl stop {app.name}")


@pytest.mark.parametrize("folder", ["home", "state"])
def test_read_only_from_the_start(app: App, on: On, folder: str) -> None:
    """A disk that went read-only in the night: the deploy must end before anything is staged anywhere."""
    start(app)
    place = app.home if folder == "home" else app.state
    app.build("1.1.0")
    on(BROKEN).check_output(FREEZE.format(place=place))
    try:
        met = app.deploy("1.1.0")
        assert met.status == 1, said(met)
        assert BROKEN in said(met)
        assert "cannot be written to" in said(met) or "Read-only file system" in said(met)
        assert place in said(met)
        assert_whole(app, on, "1.0.0")
    finally:
        on(BROKEN).check_output(THAW.format(place=place))
    assert app.deploy("1.1.0").status == 0
    assert_whole(app, on, "1.1.0")


def test_state_fills_up_during_the_backup_of_a_deploy(app: App, on: On) -> None:
    """A copy of a database too large for the disk: no deploy without a backup, and no scratch copy left to fill it."""
    data = f"{app.home}/shared/data/notes.db"
    insert = "create table notes (t); insert into notes values (randomblob(6000000))"
    with small_disk(on(BROKEN), app.state, "size=4m"):
        start(app, shared=["data"], backup={"sqlite": [data], "max_age": "0s"})
        for name in PAIR:
            on(name).check_output(f"sqlite3 {data} '{insert}' && chown www-data: {data}")
        app.build("1.1.0")
        met = app.deploy("1.1.0")
        assert met.status == 1, said(met)
        assert f"{BROKEN}: the file system of {app.state} is full" in said(met)
        assert_whole(app, on, "1.0.0")
        on(BROKEN).check_output(f"sqlite3 {data} 'delete from notes; vacuum'")  # noqa: S608
        assert app.deploy("1.1.0").status == 0
        assert_whole(app, on, "1.1.0")
        on(BROKEN).run(f"systemctl stop {app.name}")
