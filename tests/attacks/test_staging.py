"""A release while it is made: nobody but root, and whoever makes it, has a hand on what is going to run."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.attacks import attacker
from tests.hosts.conftest import App, Ran, invoke

On = Callable[[str], Host]
USER = "www-data"
HOST = "app1"
MEGABYTE = 1024 * 1024


@pytest.fixture
def one(app: App, on: On) -> Iterator[App]:
    """An application on one host."""
    app.write(hosts=HOST)
    yield app
    on(HOST).run(f"systemctl stop {app.name}; rm -rf /home/{app.name}")


def good(ran: Ran) -> None:
    assert ran.status == 0, ran.out + ran.err


def refused(ran: Ran, status: int, *sentences: str) -> None:
    assert ran.status == status, ran.out + ran.err
    for sentence in sentences:
        assert sentence in ran.out + ran.err, ran.out + ran.err


def assert_manifest(app: App, on: On) -> None:
    """What runs is what was staged, and root's but for what the settings give to the user."""
    host = on(HOST)
    assert host.check_output(f"cd {app.home}/current && sha256sum --check --quiet .slipway/manifest || :") == ""
    foreign = host.check_output(f"find {app.home}/current/ ! -user root; find {app.home}/current/ -perm /022 ! -type l")
    assert foreign == ""


def member(name: str, *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname = mode, kind, link
    return info


def pack(app: App, version: str, *more: tuple[tarfile.TarInfo, bytes]) -> None:
    """An artifact of its program and these members."""
    members = []
    for name, content in app.program(version).items():
        info = member(name, mode=0o755)
        info.size = len(content)
        members.append((info, content))
    for info, content in more:
        info.size = len(content)
        members.append((info, content))
    app.pack(version, members)


def test_places_that_overlap_are_refused(one: App, on: On) -> None:
    """Of nested shared folders the outer one's data was removed, and became a link to itself."""
    one.write(shared=["storage"])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    data = f"{one.home}/shared/storage/framework/cache"
    on(HOST).check_output(f"mkdir -p {data} && echo live >{data}/file")
    one.write(shared=["storage", "storage/framework/cache"])
    one.build("1.1.0")
    refused(one.deploy("1.1.0"), 2, "storage/framework/cache is inside storage of slipway_shared")
    assert on(HOST).check_output(f"cat {data}/file") == "live"


def test_a_link_of_the_artifact_leads_nothing_to_live_data(one: App, on: On) -> None:
    """`data` is the artifact's link to `storage`: through it the shared folder `data/live` was cleared in live data."""
    one.write(shared=["storage"])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    on(HOST).check_output(f"mkdir {one.home}/shared/storage/live && echo live >{one.home}/shared/storage/live/file")
    one.write(shared=["storage", "data/live"])
    pack(one, "1.1.0", (member("data", kind=tarfile.SYMTYPE, link="storage"), b""))
    refused(one.deploy("1.1.0"), 1, "data/live would be outside of the release")
    assert on(HOST).check_output(f"cat {one.home}/shared/storage/live/file") == "live"


# Exchanges a name with a link, some hundred thousand times a second (RENAME_EXCHANGE, renameat2(2)).
FLIP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
name, target = (word.encode() for word in sys.argv[1:])
os.symlink(target, name + b".link")
while True:
    libc.renameat2(-100, name, -100, name + b".link", 2)
"""


def test_shared_folders_whose_names_are_flipped(one: App, on: On) -> None:
    """Below a folder of the user's root made folders, and gave them away, by names that the user changed meanwhile."""
    host = on(HOST)
    one.write(shared=["storage"])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    storage = f"{one.home}/shared/storage"
    host.check_output(f"rm -rf /root/canary && install -d -o {USER} -g {USER} {storage}/framework")
    # What root would give away if it followed the link.
    names = [str(number) for number in range(20)]
    host.check_output(f"install -d -m 0700 /root/canary && cd /root/canary && mkdir -m 0700 {' '.join(names)}")
    seen = "stat -c '%n %U %G %a' /root/canary /root/canary/*"
    before = host.check_output(seen)
    one.write(shared=[f"storage/framework/{name}" for name in names])
    one.build("1.1.0")
    unit = f"flip-{one.name}"
    words = (
        f"systemd-run --quiet --collect --unit={unit} --uid={USER} -- python3 -c %s {storage}/framework /root/canary"
    )
    host.check_output(words, FLIP)
    try:
        # Done or refused: it is the host that counts.
        assert {one.deploy("1.1.0", "--force").status for _ in range(6)} <= {0, 1}
        assert host.run(f"systemctl is-active {unit}").rc == 0
    finally:
        host.run(
            f"systemctl stop {unit}; cd {storage} && [ -L framework ] && rm framework && mv framework.link framework"
        )
    assert host.check_output(seen) == before
    good(one.deploy("1.1.0", "--force"))
    assert host.check_output(f"stat -c '%U %a' {storage}/framework/7") == f"{USER} 750"


def test_folders_on_the_way_to_nested_ones_can_be_entered(one: App, on: On) -> None:
    """Folders between were root's, 0700: the application could not come to its own data."""
    one.write(shared=["tmp/pids"], writable=["var/cache"])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    current = f"{one.home}/current"
    on(HOST).check_output(f"runuser -u {USER} -- touch {current}/tmp/pids/x {current}/var/cache/x")
    assert on(HOST).run(f"runuser -u {USER} -- touch {one.home}/shared/tmp/x {current}/var/x").rc != 0


def test_the_running_application_writes_nothing_into_the_next_release(
    one: App, on: On, lab: Lab, specs: dict[str, HostSpec]
) -> None:
    """While hooks made a release it was the application's own: what it opened then it could write to for good."""
    attacker.install(lab, specs[HOST])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    hook = "sleep 3; test -f bin/tool"
    one.write(hooks={"install": [{"run": hook}, {"run": "sh bin/tool", "user": "root"}]})
    one.build("1.1.0", {"bin/tool": b"#!/bin/sh\ntrue\n"})
    with attacker.attack(lab, specs[HOST], USER, places=[], looks=[f"{one.home}/releases"], targets=[]) as report:
        deployed = one.deploy("1.1.0")
        time.sleep(1)
    assert (report.owned, on(HOST).file("/etc/owned-by-the-attacker").exists) == ([], False)
    good(deployed)
    assert_manifest(one, on)


LEAVES = (
    "exec 3>>VERSION; (trap '' HUP TERM; while :; do echo late >&3; echo late >>bin/run; sleep 0.01; done) "
    ">/dev/null 2>&1 </dev/null &"
)


def test_what_a_hook_leaves_running_ends_with_it(one: App, on: On) -> None:
    """A process that a hook leaves behind went on writing into the release after its manifest was made."""
    one.write(hooks={"install": [{"run": LEAVES}]}, health={"attempts": 1, "checks": []})
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    time.sleep(0.5)
    assert_manifest(one, on)
    assert on(HOST).run("ps -e -o user:40= | grep -q ^slipway-build-").rc == 1


def test_a_hook_says_more_than_a_disk_holds(one: App) -> None:
    """Its output was kept whole in /tmp."""
    used = "$(df --output=used /tmp | tail -n 1)"
    run = f'before={used}; head -c 200000000 /dev/zero; [ "$(({used} - before))" -lt 20000 ]'
    one.write(hooks={"install": [{"run": run}]})
    one.build("1.0.0")
    good(one.deploy("1.0.0"))


def test_install_hooks_reach_no_other_place(one: App, on: On) -> None:
    """What a package runs while it is installed has neither the application's data nor its privilege, nor the host."""
    one.write(shared=["data"])
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    on(HOST).check_output(f"echo private >{one.home}/shared/data/x")
    hook = "; ".join(
        (
            'set -e; no() { if "$@"; then echo "it could: $*"; exit 9; fi; }; no cat data/x',
            f"no touch {one.home}/x; no touch /usr/x; no touch $RELEASE/../x; no ls $RELEASE/.slipway",
            "no setpriv --clear-groups true; grep -q 'NoNewPrivs:.*1' /proc/self/status; test $RELEASE = $PWD",
            # What is made knows its own place, which is where it will run.
            "python3 -m venv --without-pip venv; touch /tmp/x $HOME/y; ln -s /etc/shadow link",
            "mkfifo pipe; mkdir -m 0777 open; chmod 4755 bin/run",
        )
    )
    one.write(hooks={"install": [{"run": hook}]})
    one.build("1.1.0")
    good(one.deploy("1.1.0"))
    assert_manifest(one, on)
    assert on(HOST).check_output(f"find {one.home}/current/ -type p -o -perm /7000") == ""
    prefix = on(HOST).check_output(
        f"runuser -u {USER} -- {one.home}/current/venv/bin/python -c 'import sys; print(sys.prefix)'"
    )
    assert prefix == f"{one.home}/current/venv"
    assert f"{one.home}/releases/" in on(HOST).check_output(f"cat {one.home}/current/venv/bin/activate")
    one.write(hooks={"install": [{"run": "mkdir .slipway; touch .slipway/complete"}]})
    one.build("1.2.0")
    refused(one.deploy("1.2.0"), 1, "a name that Slipway uses")


# Opens what it can for writing as soon as it is there.
OPEN = """
import glob, os, sys
while True:
    for path in glob.glob(sys.argv[1]):
        try:
            os.open(path, os.O_WRONLY)
        except OSError:
            continue
        sys.exit(f"opened {path}")
"""


def test_entries_that_anybody_could_write_to(one: App, on: On) -> None:
    """0666 in an artifact: any local user opened it while it was staged, and changed the release for good."""
    members = [(member(name, mode=0o777, kind=tarfile.DIRTYPE), b"") for name in ("./", "./lib")]
    for folder in range(80):
        members.append((member(f"./lib/{folder}", mode=0o777, kind=tarfile.DIRTYPE), b""))
        members += [(member(f"./lib/{folder}/{number}", mode=0o666), b"code") for number in range(100)]
    pack(one, "1.0.0", *members)
    unit = f"open-{one.name}"
    words = f"systemd-run --quiet --unit={unit} --uid=nobody -- python3 -c %s"
    on(HOST).check_output(f"{words} '{one.home}/releases/*/lib/0/0'", OPEN)
    good(one.deploy("1.0.0"))
    assert on(HOST).run(f"systemctl is-active {unit}").rc == 0, on(HOST).check_output(f"journalctl -u {unit} -o cat")
    on(HOST).check_output(f"systemctl stop {unit}")
    assert_manifest(one, on)


def test_a_hard_link_between_writable_and_code_is_refused(one: App, on: On) -> None:
    """What is given to the user by one name was the user's by the other, too: code."""
    one.write(writable=["var"])
    pack(
        one,
        "1.0.0",
        (member("lib/code"), b"code"),
        (member("var/code", kind=tarfile.LNKTYPE, link="lib/code"), b""),
    )
    refused(one.deploy("1.0.0"), 1, "var/code is a hard link to a file outside of slipway_writable")
    one.write(hooks={"install": [{"run": "mkdir -p var; ln VERSION var/code"}]})
    one.build("1.1.0")
    refused(one.deploy("1.1.0"), 1, "var/code is a hard link to a file outside of slipway_writable")
    assert on(HOST).check_output(f"ls -A {one.home}/releases") == ""


def test_a_delta_takes_nothing_from_where_the_running_application_writes(one: App, on: On) -> None:
    """What has not changed is linked from the running release: there its user could put links to root's files."""
    host = on(HOST)
    host.check_output("rm -rf /root/canary && mkdir -m 0700 /root/canary && echo mine >/root/canary/x")
    host.check_output("chmod 0600 /root/canary/x")
    big = bytes(range(256)) * (6 * MEGABYTE // 256)
    noise = {f"data/{number}": bytes([number]) + big[number:] + os.urandom(MEGABYTE) for number in range(5)}
    one.write(writable=["var"])
    one.build("1.0.0", {**noise, "var/sub/x": b"x\n"})
    good(one.deploy("1.0.0"))
    host.check_output(f"runuser -u {USER} -- mv {one.home}/current/var/sub {one.home}/current/var/away")
    host.check_output(f"runuser -u {USER} -- ln -s /root/canary {one.home}/current/var/sub")
    one.write(writable=[])
    one.build("1.1.0", {**noise, "var/sub/x": b"x\n"})
    good(one.deploy("1.1.0"))
    assert host.check_output("stat -c '%U %G %a %h' /root/canary/x") == "root root 600 1"
    assert_manifest(one, on)


def test_folders_that_others_can_change_are_refused(one: App, on: On) -> None:
    """Units and scripts below them are run by root, so whoever can change the way there is root."""
    home = f"/home/{one.name}/app"
    on(HOST).check_output(f"install -d -o {USER} /home/{one.name}")
    one.write(path=home, backup={"enabled": False})
    one.build("1.0.0")
    sentence = f"others than root can change /home/{one.name} "
    refused(invoke("provision", one.env), 1, sentence)
    refused(one.deploy("1.0.0"), 1, "choose a slipway_path whose folders are root's alone")
    assert on(HOST).check_output(f"ls -A /home/{one.name}") == ""
    one.write(path=f"/opt/{one.name}", backup={"repository": f"/home/{one.name}/backups"})
    refused(invoke("provision", one.env), 1, sentence)


def test_links_that_the_application_makes_keep_nobody_from_going_back(one: App, on: On) -> None:
    """A link in a writable path made a release "damaged": its application could forbid the way back to it."""
    one.write(writable=["var"])
    one.build("1.0.0", {"var/seed": b"seed"})
    good(one.deploy("1.0.0"))
    on(HOST).check_output(f"runuser -u {USER} -- ln -s /etc/passwd {one.home}/current/var/link")
    one.build("1.1.0")
    good(one.deploy("1.1.0"))
    good(invoke("rollback", one.env, "--reason=test"))


def test_a_health_command_has_no_way_to_more_and_no_end(one: App) -> None:
    """It ran with all that root's shell had, filled /tmp with what it said, and could hold a step by what it left."""
    flood = "sleep 40 & grep -q 'NoNewPrivs:.*1' /proc/self/status && head -c 300000000 /dev/zero"
    check = {"type": "command", "name": "flood", "run": flood, "timeout": "5s"}
    one.write(health={"attempts": 1, "checks": [check]})
    one.build("1.0.0")
    began = time.monotonic()
    good(one.deploy("1.0.0"))
    assert time.monotonic() - began < 20
    flood = "grep -q 1.0.0 VERSION || { yes no | head -n 999999; echo why; exit 3; }"
    one.write(health={"attempts": 1, "interval": "1s", "checks": [{**check, "run": flood}]})
    one.build("1.1.0")
    refused(one.deploy("1.1.0"), 1, "status 3: why", "| no\n")


def test_no_program_of_the_users_runs_in_the_place_of_roots(one: App, on: On) -> None:
    """Such a link is made in a minute, for a newer restic; root ran what the user put there, in each backup."""
    host, link, restic = on(HOST), "/usr/local/bin/zstd", "/usr/local/bin/restic"
    # For now it leads on to root's own.
    host.check_output(f"mkdir -p /srv/theirs && ln -s /usr/bin/zstd /srv/theirs/zstd && ln -s /srv/theirs/zstd {link}")
    host.check_output(f"chown {USER} /srv/theirs")
    try:
        one.build("1.0.0")
        refused(one.deploy("1.0.0"), 1, f"user {USER} can write to /srv/theirs, which is {link} or on the way to it")
        refused(invoke("provision", one.env), 1, f"user {USER} can write to /srv/theirs")
        host.check_output(f"rm {link} && ln -s /usr/bin/zstd {link}")
        good(one.deploy("1.0.0"))
        # The same once it is deployed: nothing but the backup is made, by a timer, for months.
        one.write(backup={"enabled": True})
        good(invoke("backup", one.env))
        host.check_output(f"ln -sf $(command -v restic) /srv/theirs/restic && ln -s /srv/theirs/restic {restic}")
        for words in (["backup"], ["verify-backups"], ["restore", "--to-dir=/var/tmp/restored"]):
            refused(invoke(*words, one.env), 1, f"user {USER} can write to /srv/theirs, which is {restic}")
    finally:
        host.check_output(f"rm -rf {link} {restic} /srv/theirs /var/tmp/restored")


def test_no_module_of_the_users_is_loaded_by_roots_programs(one: App, on: On) -> None:
    """psql is written in Perl, which looks below /usr/local first: who could write there had root run a module."""
    host = on(HOST)
    version = host.check_output("perl -e 'print substr($^V, 1)'")
    modules = f"/usr/local/share/perl/{version}"
    host.check_output(f"mkdir -p {modules} && chown {USER} {modules}")
    asks = {
        "type": "postgresql",
        "name": "db",
        "database": "x",
        "host": "192.0.2.1",
        "timeout": "1s",
        "critical": False,
    }
    try:
        evil = "system(q(touch /srv/ran)); package POSIX; 1;"
        host.check_output(f"runuser -u {USER} -- sh -c %s", f"echo '{evil}' >{modules}/POSIX.pm")
        one.write(health={**one.settings["health"], "checks": [*one.settings["health"]["checks"], asks]})
        one.build("1.0.0")
        refused(one.deploy("1.0.0"), 1, f"user {USER} can write to {modules}")
        assert not host.file("/srv/ran").exists
    finally:
        host.check_output("rm -rf /usr/local/share/perl /srv/ran")
    good(one.deploy("1.0.0"))


def test_where_nobody_looks_root_runs_its_own_programs(one: App, on: On) -> None:
    """A look at a host ran what lay in /usr/local/bin, whosever it was; a health check, too, with nobody looking."""
    host, shadows = on(HOST), "awk cat find grep ls mkdir readlink rm sed stat"
    # Slipway's steps have that language, and what else the host does as root meanwhile has not.
    shadow = (
        '#!/bin/sh\n[ "$(/usr/bin/id -u) ${LC_ALL-}" != "0 C.UTF-8" ] || echo "$0 $*" >>/srv/ran\n'
        'exec "/usr/bin/${0##*/}" "$@"\n'
    )
    one.build("1.0.0")
    good(one.deploy("1.0.0"))
    host.check_output(
        f"install -d -o {USER} /srv/theirs; cd /usr/local/bin; for name in {shadows}; do printf %s >$name;"
        f" chown {USER} $name; chmod 755 $name; done",
        shadow,
    )
    try:
        for words in (["drift"], ["history"], ["rollback", "--list"]):
            good(invoke(*words, one.env))
        assert host.run("/bin/cat /srv/ran").stdout == ""
        for words in (["health"], ["status"]):
            refused(invoke(*words, one.env), 3, f"user {USER} can write to /usr/local/bin/")
        assert host.run("/bin/cat /srv/ran").stdout == ""
    finally:
        host.check_output(f"cd /usr/local/bin; /bin/rm -rf /srv/theirs /srv/ran {shadows}")
    good(invoke("health", one.env))
