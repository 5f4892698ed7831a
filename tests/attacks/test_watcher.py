"""The watcher itself: an attack that it does not see would be one that all other tests here pass."""

from __future__ import annotations

import pytest

from tests.attacks.victim import Victim

# What somebody changes on a host, and the path at which it has to be told. {data} is the application's user's own.
HARM = {
    "content with its size and dates kept": (
        "cp -p /etc/issue /run/issue; sed -i 's/D/d/' /etc/issue; touch -r /run/issue /etc/issue; rm /run/issue",
        "/etc/issue",
    ),
    "a setuid bit on a program of the base": ("chmod u+s /usr/bin/true", "/usr/bin/true"),
    "a capability": ("setcap cap_net_raw+ep /usr/bin/false", "/usr/bin/false"),
    "an owner": ("chown {user} /usr/sbin/chroot", "/usr/sbin/chroot"),
    "an extended attribute": ('python3 -c \'import os; os.setxattr("/opt", "user.x", b"y")\'', "/opt"),
    "a removed file": ("mv /etc/motd /run/saved", "/etc/motd"),
    "a folder in place of another of the same name": ("mv /etc/cron.d /run/saved; mkdir /etc/cron.d", "/etc/cron.d"),
    "a link's target": ("ln -sfn /tmp /etc/os-release", "/etc/os-release"),
    "a file in memory": ("touch /run/there", "/run/there"),
    "a mount": ("mount -t tmpfs none /mnt", "mount:/mnt"),
    "a user's file in a folder of root's": ("touch /opt/hers; chown {user} /opt/hers", "/opt/hers"),
    "a file of root's in the user's folder": ("touch {data}/roots", "{data}/roots"),
    "a setuid file of the user's": (
        "cp /usr/bin/id {data}/id; chown {user} {data}/id; chmod 4755 {data}/id",
        "{data}/id",
    ),
    "a device": ("mknod {data}/null c 1 3; chown {user}: {data}/null", "{data}/null"),
    "what others can read of the state": ("mkdir -p {state}; touch {state}/x; chmod 644 {state}/x", "{state}/x"),
}
MEND = """
rm -rf {data}/roots {data}/id {data}/null /opt/hers /run/there {state}
umount /mnt
python3 -c 'import os; os.removexattr("/opt", "user.x")'
ln -sfn ../usr/lib/os-release /etc/os-release
chown root /usr/sbin/chroot
setcap -r /usr/bin/false
chmod u-s /usr/bin/true
sed -i 's/d/D/' /etc/issue
rm -r /etc/cron.d
cp -a /run/saved/. /etc
rm -r /run/saved
"""
# What is the user's own business, or the task's.
FINE = (
    "su -s /bin/sh {user} -c 'echo more >>{data}/media/cat.txt; mkfifo {data}/fifo; ln -s /etc {data}/link'",
    "mkdir -p {state}; chmod 0700 {state}; (umask 077; echo line >{state}/ledger)",
)


@pytest.fixture
def names(victim: Victim) -> dict[str, str]:
    """What commands name."""
    return {"user": victim.name, "data": victim.data, "state": victim.state}


def test_whatever_changes_is_told(victim: Victim, names: dict[str, str]) -> None:
    """A change that leaves size, date or place as they were is as much an attack as a loud one."""
    victim.reset()
    victim.as_root("mkdir /run/saved")
    before = victim.manifest()
    for command in FINE:
        victim.as_root(command.format_map(names))
    assert victim.wrongs(before, "records") == []
    for harm, (command, path) in HARM.items():
        before = victim.manifest()
        victim.as_root(command.format_map(names))
        told = [one for one in victim.wrongs(before, "records") if not one.startswith("/run/saved/")]
        assert [one.split(": ", 1)[0] for one in told] == [path.format_map(names)], f"{harm}: {told}"
    victim.as_root(MEND.format_map(names))
    victim.reset()


def test_the_attacker_attacks_and_goes_and_leaves_all_as_it_was(victim: Victim) -> None:
    """An attack that never ran proves nothing, one that goes on breaks the next test."""
    victim.reset()
    before = victim.manifest()
    with victim.attack() as report:
        victim.as_root("sleep 1")
        assert victim.as_root("pgrep -u $1 -fc '[f]lipper.py'", victim.name).strip() != "0"
    assert report.flips > 1000, report
    assert {f"{victim.data}", f"{victim.data}/media", f"{victim.data}/media/sub"} <= set(report.attacked)
    assert victim.as_root("pgrep -u $1 -c python3 || :", victim.name).strip() == "0"
    changed = victim.manifest().changes(before)
    assert [change for change in changed if change.path.startswith(victim.data)] == []


def test_what_the_user_can_read_of_roots_is_found(victim: Victim) -> None:
    """Marks that nobody finds say nothing."""
    assert victim.marked() == []
    victim.as_root("cp /root/canary/cat.txt /opt/cat.txt; chmod 0644 /opt/cat.txt")
    assert victim.marked() == ["/opt/cat.txt"]
    victim.as_root("chmod 0600 /opt/cat.txt")
    assert victim.marked() == []
    victim.as_root("rm /opt/cat.txt")
