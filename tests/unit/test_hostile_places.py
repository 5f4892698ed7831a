"""What can be tried of scripts without a host: somebody else's folders, ports and files, and a full disk."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

import playbooks.steps
from playbooks.fleet import script as scripts

STEPS = Path(playbooks.steps.__file__).parent
NOBODY = 65534


def run(script: str, *fragments: str, limit: float = 10, **words: str) -> subprocess.CompletedProcess[str]:
    """Run a script with fragments of the steps'."""
    read = "".join((STEPS / "lib" / f"{name}.sh").read_text() for name in ("prelude", *fragments))
    return subprocess.run(
        ["sh", "-c", read + script],
        env={**os.environ, **words},
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def test_what_is_somebody_elses_is_not_looked_into(tmp_path: Path) -> None:
    """A folder that another tool made is the application's user's: a FIFO in it stopped every task on the host."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for place in (mine, theirs):
        (place / ".slipway").mkdir(parents=True)
        (place / ".slipway/release.json").write_text(f'{{"release": "{place.name}"}}\n')
    os.chown(theirs / ".slipway", NOBODY, NOBODY)
    asks = 'is_own_release "$mine" && ! is_own_release "$theirs" && echo told\n'
    assert run(asks, "own_release", mine=str(mine), theirs=str(theirs)).stdout == "told\n"


def access_list(folder: Path, name: str, permissions: int) -> None:
    """An access list in which nobody is named (linux/posix_acl_xattr.h)."""
    entries = [(1, 7, -1), (2, permissions, NOBODY), (4, 5, -1), (16, permissions, -1), (32, 5, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(folder, f"system.posix_acl_{name}", struct.pack("<I", 2) + packed)


def test_who_may_write_what_root_makes_later_is_found(tmp_path: Path) -> None:
    """Its former owner left such a list in releases: what root made there was that user's to write, umask or not."""
    given, read, plain = tmp_path / "given", tmp_path / "read", tmp_path / "plain"
    for folder in (given, read, plain):
        folder.mkdir(mode=0o755)
    access_list(given, "default", 7)
    access_list(read, "access", 5)
    asks = 'find_foreign "$place_of" && echo "$foreign"\n'
    for place in (given, given / "new/er"):
        assert run(asks, "root_only", place_of=str(place)).stdout == f"{given}\n"
    for place in (read, plain):
        assert run(asks, "root_only", place_of=str(place)).stdout == "\n"
    refused = run('require_roots "$place_of"\n', "root_only", place_of=str(given))
    assert f"setfacl --remove-default {given}" in refused.stdout


@pytest.mark.parametrize(
    "line",
    [
        "StandardOutput=append:{theirs}/log",
        "StandardError=file:{theirs}/a/log",
        "EnvironmentFile=-{theirs}/env",
        "EnvironmentFile={theirs}/*.env",
        "LoadCredential=key:{theirs}/key",
        "BindReadOnlyPaths=/usr {theirs}/data:/data",
        "StandardOutput=\\\n append:{current}/log/web",
        "StandardOutput=append:{group}/own/log",
        "BindPaths=/srv:{theirs}/media",
        "TemporaryFileSystem=/mnt {theirs}/scratch:ro",
        "RootDirectory={theirs}",
        "ExtensionImages={theirs}/image",
        "[Socket]\nListenStream={theirs}/a/app.sock",
        "[Socket]\nListenStream={theirs}/app.sock\nSocketUser=nobody",
        # What systemd gives to the unit's user itself is not there yet at a first deploy.
        "User=nobody\nLogsDirectory=slipway-{{}} slipway-none\nStandardOutput=append:/var/log/slipway-none/web.log",
        "RuntimeDirectory=slipway-none\nUser=nobody\nEnvironmentFile=-%t/slipway-none/env",
        "User=nobody\nStateDirectory=slipway-none slipway-none/cache",
        "DynamicUser=yes\nCacheDirectory=%p-none/a\nLoadCredential=a:/var/cache/x-none/a",
        "DynamicUser=yes\nStateDirectory=slipway-none\nEnvironmentFile=/var/lib/private/slipway-none/env",
        "PIDFile={theirs}/a/web.pid",
        "ListenSpecial={theirs}/device",
        "LoadCredential=all:{theirs}",
        # As root, whoever changed it.
        "User=nobody\nExecStartPre=-+{theirs}/prepare --now",
        "User=nobody\nExecStart=/bin/true\nExecStop=!/usr/bin/env A=1 python3 -u {theirs}/stop.py",
        "ExecStart={theirs}/run",
        "ExecStart=/bin/sh {theirs}/run",
        "User=nobody\nEnvironmentFile={current}/own\nExecStartPre=+/bin/true",
        "EnvironmentFile=-{current}/own\nExecStart=/bin/true",
        "User=nobody\nExecStart=+@{theirs}/run python3 -u",
        "User=nobody\nExecStart=+@/usr/bin/python3 python3 {theirs}/run.py",
        "User=nobody\nExecStart=/bin/true\nExecStop=+/usr/bin/true ; +{theirs}/stop",
        # By a folder that it starts in, or that programs, libraries and modules are looked for in.
        "User=nobody\nWorkingDirectory=-{theirs}\nExecStartPre=+/bin/sh -e prepare",
        "WorkingDirectory={theirs}\nExecStart=/usr/bin/python3 -u -m web",
        "User=nobody\nExecSearchPath=/bin:{theirs}\nExecStartPre=+prepare --now",
        "User=nobody\nEnvironment=A=1 LD_PRELOAD={theirs}/own.so\nExecStartPre=+/bin/true",
        'User=nobody\nEnvironment="PATH=/usr/bin:{theirs}" A=1\nExecStartPre=+/bin/sh -c prepare',
        "Environment=PYTHONPATH={theirs}\nExecStart=/usr/bin/python3 /usr/bin/true",
        # By a program that starts another.
        "User=nobody\nExecStartPre=+/usr/bin/timeout -k 5 30s {theirs}/prepare",
        "User=nobody\nExecStartPre=+/usr/bin/nice -n 5 /usr/bin/env A=1 sh {theirs}/prepare",
        "User=nobody\nExecStartPre=+/usr/bin/java -Xmx1g -jar {theirs}/prepare.jar",
        "User=nobody\nExecStartPre=+/bin/sh -ec 'exec {theirs}/prepare --now'",
        # systemd reads no user there.
        "ExecStart={theirs}/run\n[Install]\nUser=nobody",
        # By a group that the unit adds, and by another user than the application's.
        "User=nobody\nGroup=daemon\nStandardOutput=append:{group}/log",
        "User=nobody\nSupplementaryGroups=tty 1\nEnvironmentFile={group}/env",
        "User=daemon\nStandardOutput=append:{group}/log",
    ],
)
def test_what_systemd_opens_for_a_unit_is_in_folders_of_roots(tmp_path: Path, line: str) -> None:
    """As root, through links: a log in a shared folder went where its user said, a credential was /etc/shadow, a folder
    was mounted over /etc, and a socket's owner was given any file."""
    units, theirs, release, group = tmp_path / "units", tmp_path / "theirs", tmp_path / "release", tmp_path / "group"
    for folder in (units, theirs, release, group, theirs / "log", group / "own"):
        folder.mkdir()
    (release / "log").symlink_to(theirs / "log")
    (release / "own").touch()
    # As /var/log is on some distributions, with a folder of the application's.
    os.chown(group, 0, 1)
    group.chmod(0o775)
    for place in (theirs, theirs / "log", release / "own", group / "own"):
        os.chown(place, NOBODY, NOBODY)
    asks = 'if find_unit_path "$units" /opt/x/current "$release"; then echo "$unit_path in $foreign"; fi\n'

    def asked() -> subprocess.CompletedProcess[str]:
        named = {"units": str(units), "release": str(release)}
        return run(f"user=nobody; {asks}", "root_only", "can_write", "unit_paths", limit=10, **named)

    unit = units / "x.service"
    unit.write_text("[Service]\n" + line.format(theirs=theirs, group=group, current="/opt/x/current") + "\n")
    told = asked().stdout
    places = [theirs, theirs / "log", group / "own", group, release / "own", "/var/cache/x-none/a"]
    places += [f"{place}/slipway-none" for place in ("/var/log", "/run", "/var/lib", "/var/lib/private")]
    assert told.endswith(tuple(f" in {place}\n" for place in places)), told
    # Of a file of the user's in a folder of root's, systemd opens that one.
    fine = "EnvironmentFile=/opt/x/current/own\nStandardOutput=append:/var/log/x.log\nLoadCredential=key:/etc/x.key\n"
    fine += f"BindPaths=/srv:{theirs}\nStandardError=append:{group}/log\n"
    fine += "StateDirectory=x x-cache\nPIDFile=/run/x/x.pid\nRuntimeDirectory=x\n"
    fine += f"ExecStart={theirs}/run\nExecReload=!!/bin/sh {theirs}/run\n"
    fine += f"[Socket]\nListenStream={theirs}/app.sock\nListenStream=80\nListenStream=/run/x/app.sock\n"
    unit.write_text(f"[Service]\nUser=nobody\n{fine}# StandardOutput=append:{theirs}/log\n")
    other = f"ExecStart=/bin/true\nExecStop=+/bin/sh -c 'test -e {theirs}/run'\nExecStartPost=+true\n"
    other += "ExecStopPost=+nowhere\nExecStartPre=+/bin/mkdir -p /run/x/y\nEnvironmentFile=/opt/x/current/env\n"
    # A program that looks for no other is not led astray by where others are looked for.
    third = f"WorkingDirectory={theirs}\nEnvironment=PATH={theirs}:/usr/bin HOME={theirs}\nExecStart=python3 -m run\n"
    third += "ExecReload=/bin/sh -e run\n"
    third += f"ExecStartPre=+/usr/bin/install -d -m 0750 {theirs}/new\nExecStartPre=+ssh -i {theirs}/key other\n"
    (units / "other.service").write_text(f"[Service]\nUser=nobody\n{other}")
    (units / "third.service").write_text(f"[Service]\nUser=nobody\n{third}")
    (units / "other.socket").write_text("[Socket]\nSocketUser=nobody\nListenStream=/run/x.sock\n")
    assert asked().stdout == ""


def test_a_folder_that_is_written_to_meanwhile_is_out_of_the_way(tmp_path: Path) -> None:
    """rm failed, half a release stayed for good, and a deploy that went well said that it had not been recorded."""
    place, ended = tmp_path / "place", threading.Event()
    place.mkdir()
    inside = os.open(place, os.O_RDONLY)

    def fill() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                os.close(os.open(f"f{number % 5000}", os.O_CREAT, dir_fd=inside))
            except FileNotFoundError:
                return

    fillers = [threading.Thread(target=fill) for _ in range(3)]
    for one in fillers:
        one.start()
    done = run('discard "$place"\n', "discard", limit=90, place=str(place))
    ended.set()
    for one in fillers:
        one.join()
    os.close(inside)
    assert done.returncode == 0, done.stderr
    assert not place.exists()
    (tmp_path / "next").mkdir()
    assert run('discard "$place"\n', "discard", place=str(tmp_path / "next")).returncode == 0
    assert list(tmp_path.iterdir()) == [], "what was left is gone with the next one"


UNITS = """
home=/opt/x
units_folder=$folder/units
installed= mounts= reload=no what=deploy
for release in 1 2; do
    mkdir -p "$folder/$release/.slipway/unit-files"
    printf '# Slipway: /opt/x/current\\n# %s\\n' "$release" >"$folder/$release/.slipway/unit-files/x.service"
done
printf '# Slipway: /opt/x/current\\n' >"$folder/1/.slipway/unit-files/gone.timer"
mkdir "$units_folder"
install_unit "$folder/1" x.service /opt/x/current
install_unit "$folder/1" gone.timer /opt/x/current
install_unit "$folder/2" x.service /opt/x/current
remove_unit gone.timer
cat "$units_folder/x.service"
(
    ulimit -f 0
    what=back
    install_unit "$folder/1" x.service /opt/x/current
    install_unit "$folder/1" gone.timer /opt/x/current
)
cat "$units_folder/x.service"
what=deploy
install_unit "$folder/2" x.service /opt/x/current
remove_unit gone.timer
ls "$units_folder"
forget_units_back
ls "$units_folder"
"""


def test_a_unit_file_goes_back_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The application's user can fill the disk; what ran before came back under the unit of what had failed."""
    done = run(UNITS, "unit_files", folder=str(tmp_path))
    assert done.returncode == 0, done.stderr
    mark = "# Slipway: /opt/x/current"
    kept = ["gone.timer.slipway-back", "x.service", "x.service.slipway-back"]
    assert done.stdout.split("\n") == [mark, "# 2", mark, "# 1", *kept, "x.service", ""]


@pytest.mark.parametrize(
    ("listens", "asked", "found"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
    ],
)
def test_who_listens_is_found(listens: str, asked: str, found: bool) -> None:
    """The kernel's own list, by the address that a connection would go to."""
    with socket.create_server((listens, 0), family=socket.AF_INET6 if ":" in listens else socket.AF_INET) as server:
        inode = Path(f"/proc/self/fd/{server.fileno()}").stat().st_ino
        port = str(server.getsockname()[1])
        done = run('listeners "$asked" "$port"\n', "listeners", asked=asked, port=port)
        assert done.stdout == (f"{os.getuid()} {inode}\n" if found else ""), done.stderr
        if found:
            asks = 'find_stranger "$asked" "$port" "$users"; echo "$listened $stranger"'
            for users, stranger in ((" 0 ", ""), (" ", "root")):
                said = run(asks, "listeners", asked=asked, port=port, users=users).stdout
                assert said == f"yes {stranger}\n"


def test_the_most_exact_listener_is_the_one() -> None:
    """Somebody who listens at all addresses gets nothing of what is sent to the one that is taken: it is no reason."""
    with socket.create_server(("127.0.0.1", 0)) as exact:
        port = exact.getsockname()[1]
        other = socket.socket(socket.AF_INET6)
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with other:
            other.bind(("::", port))
            other.listen()
            inode = Path(f"/proc/self/fd/{exact.fileno()}").stat().st_ino
            assert run('listeners 127.0.0.1 "$port"\n', "listeners", port=str(port)).stdout.split() == ["0", str(inode)]


LINKS = """
umask 022
mkdir -p "$folder/real/app/shared/data" "$folder/disk/lo%gs" "$folder/far"
ln -s real "$folder/home"
ln -s ../../../disk "$folder/real/app/shared/disk"
ln -s /elsewhere "$folder/disk/lo%gs/more"
ln -s /theirs "$folder/real/app/shared/data/in-theirs"
ln -s /theirs "$folder/real/app/shared/theirs"
chown -h 65534 "$folder/real/app/shared/theirs"
chown 65534 "$folder/real/app/shared/data"
home=$folder/home/app
find_mounts "$home" "$home/shared/data/in-theirs" \\
    "$home/shared/theirs" "$home/shared/disk/lo%gs/more" "$folder/real/app"
printf '%s' "$mounts"
"""


def test_only_root_s_links_say_what_a_unit_waits_for() -> None:
    """A unit is root's: a link that the application's user made, or could replace, leads it nowhere."""
    folder = Path("/var/lib") / f"slipway-test-{os.getpid()}"
    folder.mkdir(0o755)
    try:
        done = run(LINKS, "root_only", "mounts", folder=str(folder))
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    assert [line.removeprefix("RequiresMountsFor=").strip('"') for line in done.stdout.splitlines()] == [
        f"{folder}/real/app",
        f"{folder}/real/app/shared/data/in-theirs",
        f"{folder}/real/app/shared/theirs",
        f"{folder}/real/app/shared/disk",
        f"{folder}/disk/lo%%gs/more",
        "/elsewhere",
    ]


def test_nobody_takes_the_place_of_prometheus(tmp_path: Path) -> None:
    """Its port is whose program takes it while it is down: that one was sent the token, and answered for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listens = subprocess.Popen(
            ["python3", "-m", "http.server", "--bind=127.0.0.2", str(port)],
            cwd=tmp_path,
            user=NOBODY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    script = scripts.load("http_get")

    def asked(address: str, served_by: str) -> str:
        payload = f"header Authorization: Bearer x\nurl http://{address}:{port}/missing\n"
        text = script.given({"seconds": "2", "ca": "-", "served_by": served_by}).reading().decode()
        words = ["sh", "-c", text]
        return subprocess.run(words, input=payload, capture_output=True, text=True, timeout=20, check=False).stdout

    try:
        for _ in range(100):
            if run('listeners 127.0.0.2 "$port"\n', "listeners", port=str(port)).stdout:
                break
        assert "listens a program of nobody" in asked("127.0.0.2", "")
        assert "nobody listens there" in asked("127.0.0.1", "")
        assert asked("127.0.0.2", "nobody").startswith("reply\t404\t")
    finally:
        listens.terminate()
        listens.wait()


def test_a_release_that_is_only_tried_shares_nothing_with_the_application(tmp_path: Path) -> None:
    """A link in a restored backup had led the release out of the drill, or a drill had changed files of what runs."""
    home, root = tmp_path / "srv/shop", tmp_path / "drill/root"
    release, there = home / "releases/1-new", root / str(home).lstrip("/")
    (release / ".slipway").mkdir(parents=True)
    (release / ".slipway/shared").write_text("uploads\nup/deep\nmine/deep\n")
    (release / "code").write_text("x")
    os.link(release / "code", home / "code-that-runs")
    (there / "releases").mkdir(parents=True)
    (there / "shared").mkdir()
    (there / "shared/up").symlink_to(tmp_path)
    (there / "shared/mine").mkdir()
    os.chown(there / "shared/mine", NOBODY, NOBODY)
    (home / "releases/0-old/.slipway").mkdir(parents=True)
    (home / "releases/0-old/.slipway/tried").touch()
    (home / "releases/.incoming.0-old.tar").touch()
    (home / "releases/0-staged/.slipway").mkdir(parents=True)
    asks = """
        release=$home/releases/1-new meta=$release/.slipway incoming=$home/releases/.incoming.1-new user=root group=root
        clear_incoming() { rm -f "$incoming".*; }
        require_drill && clear_former_tries && move_to_drill && echo moved
    """
    read = ("root_only", "restored", "output", "to_drill")
    assert run(asks, *read, home=str(home), root=str(root)).stdout == "moved\n"
    assert [one.name for one in (home / "releases").iterdir()] == ["0-staged"], (
        "what lost its power is gone, and a deploy's is not"
    )
    assert ((there / "releases/1-new/code").read_text(), (home / "code-that-runs").stat().st_nlink) == ("x", 1)
    assert (there / "shared/uploads").is_dir()
    assert not (tmp_path / "deep").exists(), "nothing is made through a link of the backup's"
    assert not (there / "shared/mine/deep").exists(), "nor where its owner may put one meanwhile"
    release.mkdir()
    shutil.rmtree(there / "releases")
    (there / "releases").symlink_to(tmp_path)
    refused = run(asks, *read, home=str(home), root=str(root))
    assert (refused.returncode, "the backup has a link" in refused.stdout) == (1, True), refused.stdout


def test_what_a_restored_database_says_is_kept_to_a_limit(tmp_path: Path) -> None:
    """Root's shell kept in its memory, or in a file, all that a view of the database's owner said: without an end."""
    asks = """
    timeout() { case $(cat) in *pg_tables*) echo 1 ;; *everything*) yes t ;; *) yes t >&2 ;; esac; }
    use_database shop '' 5432 postgres ''
    echo 'select everything from theirs' >"$scratch/checks"
    (ulimit -v 300000 && judge_database shop 0 "$scratch/checks")
    load_into shop /dev/null || echo failed
    """
    done = run(
        asks, "at_most", "listeners", "postgres", limit=40, scratch=str(tmp_path), database_limit="5", name="shop"
    )
    said = done.stdout.splitlines()
    assert len(said) == 2, done.stdout[-1000:]
    assert "answers more than 64 kB, expected one row that is true" in said[0]
    assert said[1] == "failed"
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 4 << 20


@pytest.mark.parametrize(
    ("limit", "names", "why"),
    [
        ("archive_most=100", [f"{n}" for n in range(101)], "has more than 100 entries"),
        ("archive_listing_kb=8", [f"{n}" for n in range(200)], "the list of what is in it is larger"),
        ("", ["/".join("d" * 202)], "is in more than 200 folders"),
    ],
)
def test_an_archive_takes_neither_memory_nor_time_of_roots(
    limit: str, names: list[str], why: str, tmp_path: Path
) -> None:
    """Root's awk kept the name of each empty file of an artifact, of which a kilobyte has a million."""
    with tarfile.open(tmp_path / "tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    asks = f'{limit}\ncheck_archive "$place/tar" "$place/list"\n'
    done = run(asks, "output", "archive", place=str(tmp_path))
    assert (done.returncode, why in done.stdout) == (1, True), done.stdout + done.stderr


def test_a_databases_host_is_provisioned_only_where_root_alone_can_put_a_link(tmp_path: Path) -> None:
    """A link in the place of the repository led to a folder of the system, which root closed to everybody else."""
    theirs, victim = tmp_path / "theirs", tmp_path / "etc"
    theirs.mkdir()
    victim.mkdir(mode=0o755)
    (theirs / "backups").symlink_to(victim)
    os.chown(theirs, NOBODY, NOBODY)
    values = {"state": str(tmp_path / "state"), "repository": str(theirs / "backups"), "user": "root", "stanzas": ""}
    text = scripts.load("provision_database").given(values).reading().decode()
    done = subprocess.run(["sh", "-c", text], input="", capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.startswith("error\tnot-roots\t"), done.stdout + done.stderr
    assert victim.stat().st_mode & 0o777 == 0o755


def test_a_backup_does_not_wait_for_an_owner_who_is_gone(tmp_path: Path) -> None:
    """The owner's session ended before it had a snapshot, and what wrote to it had the backup wait for ever."""
    programs, scratch = tmp_path / "bin", tmp_path / "scratch"
    programs.mkdir()
    scratch.mkdir()
    (programs / "systemd-run").write_text("#!/bin/sh\nsleep 0.3\necho 'FATAL: no such user' >&2\nexit 2\n")
    (programs / "systemd-run").chmod(0o755)
    asks = """
    PATH=$programs:$PATH us=$(printf '\\037')
    is_known_server() { :; }
    note() { echo "$1"; }
    owner_line shop there 5432 me secret ''
    begin_contents
    echo "snapshot '$dump_snapshot'"
    end_contents "$scratch/contents"
    """
    read = ("at_most", "listeners", "postgres", "owner_sql", "contents")
    done = run(asks, *read, programs=str(programs), scratch=str(scratch), database_limit="5", name="shop")
    assert done.stdout.startswith("snapshot ''\n"), done.stdout + done.stderr
    assert "FATAL: no such user" in done.stdout


PGBACKREST = ("output", "at_most", "listeners", "postgres", "escape", "last_line", "root_only", "backup_pgbackrest")
# The rights of the server's user are nobody's here.
SERVER = """
    us=$(printf '\\037')
    chown() { command chown $(printf '%s ' "$@" | sed s/postgres:/65534:65534/); }
    need_room() { :; }
    lacks_room() { return 1; }
    systemctl() { :; }
    journalctl() { :; }
    pgbackrest_reachable() { :; }
    as_server() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
"""


def test_root_writes_nothing_where_a_servers_user_has_been(tmp_path: Path) -> None:
    """A link in a scratch cluster led root to a file of the system's, which it emptied and gave away."""
    victim, folder = tmp_path / "shadow", tmp_path / "drill"
    victim.write_text("root's\n")
    folder.mkdir(mode=0o700)
    # What restores has that user's rights, and whoever has them reaches the folder by /proc/PID/root meanwhile.
    asks = """
    pgbackrest_apart() {
        case $* in *' restore') ;; *) return 1 ;; esac
        (cd "$1" && as_server sh -c 'rm -f postgresql.conf && ln -s "$0" postgresql.conf' "$victim") || :
    }
    find_foreign() { foreign=; }
    app=shop bin=$server bytes=1 stanza=s label=l point=p timeline=1 name=shop
    pgbackrest_start_scratch "$folder" || echo ended
    """
    (tmp_path / "postgres").write_text("")
    (tmp_path / "postgres").chmod(0o755)
    here = str(tmp_path)
    done = run(SERVER + asks, *PGBACKREST, victim=str(victim), folder=str(folder), server=here, scratch=here)
    assert done.stdout == "ended\n", done.stdout + done.stderr
    assert (victim.read_text(), victim.stat().st_uid) == ("root's\n", 0)


def test_a_server_is_no_program_that_somebody_else_can_change(tmp_path: Path) -> None:
    """An entry in a backup names the server's programs, which run with the server's rights."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "postgres").write_text("")
    (theirs / "postgres").chmod(0o755)
    os.chown(theirs, NOBODY, NOBODY)
    asks = 'app=shop bin=$server bytes=1; pgbackrest_start_scratch "$scratch" || echo "$said"'
    done = run(SERVER + asks, *PGBACKREST, server=str(theirs), scratch=str(tmp_path))
    assert "is not root's alone" in done.stdout, done.stdout + done.stderr


def test_no_file_of_the_servers_user_keeps_root_waiting(tmp_path: Path) -> None:
    """The server's user put a FIFO, or a line without end, in the place of what names the server's process."""
    os.mkfifo(tmp_path / "postmaster.pid")
    asks = """
    timeout() { shift 2; command timeout 1 "$@"; }
    data=$scratch name=shop
    pgbackrest_unit || echo "$said"
    """
    done = run(SERVER + asks, *PGBACKREST, scratch=str(tmp_path))
    assert "runs in no unit" in done.stdout, done.stdout + done.stderr


def test_every_program_that_root_looks_for_is_looked_at() -> None:
    """Of pgbackrest below /usr/local nobody asked whose it was, and it ran with the rights of the server's user."""
    needed: set[str] = set()
    for file in STEPS.rglob("*.sh"):
        for words in re.findall(r"^(?:[^#\n]*\s)?need ([a-z0-9_ -]+)", file.read_text(), re.MULTILINE):
            needed |= set(words.split())
    listed = re.search(r"^programs_of_roots='(.*)'$", (STEPS / "lib/programs.sh").read_text(), re.MULTILINE)
    assert listed is not None
    # What every system has in its own folders; for these nobody looks below /usr/local.
    systems = {"base64", "flock", "ss", "sudo", "systemd-run", "visudo"}
    assert "restic" in needed
    assert needed - systems - set(listed[1].split()) == set()
