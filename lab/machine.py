"""Make and control a host: its file system, its process, its power."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from lab import cgroup, network
from lab.files import remove_tree, write_whole
from lab.shell import run
from lab.spec import HostSpec, Lab
from playbooks.core.errors import SlipwayError

KEEPER_SECONDS = 10
PROPAGATE = Path("/run/systemd/nspawn/propagate")
NOISE = ("Attempted to remove disk file system under",)  # nspawn prints this at each end if /run is no tmpfs
ROLES = {"edge": ("haproxy",), "app": (), "db": ("postgresql", "redis-server")}


def prepare(lab: Lab, host: HostSpec, base: Path, *, durable: bool) -> None:
    """Make a host's file system: an overlay on the base, with its name, address, keys and role.

    Args:
        lab, host, base: the lab, the host and the base tree.
        durable: whether its synced data survives a power cut of this machine. It survives the host's own in any case.
    """
    folder = lab.folder / "hosts" / host.name
    tree = lab.root_of(host)
    if os.path.ismount(tree) and (folder / "prepared").exists():
        return
    made_on = _made_on(folder)
    if made_on is None:
        remove_tree(folder)
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={made_on or base},upperdir={folder}/upper,workdir={folder}/work"
    if not durable:
        options += ",volatile"
    run(["mount", "-t", "overlay", f"slipway-{lab.name}-{host.name}", "-o", options, str(tree)])
    if made_on:
        return
    _write(tree / "etc/hostname", f"{host.name}\n")
    _write(tree / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n")
    # Empty rather than absent, because a look-up of the own name would wait 10 s for a missing name server.
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    _write(tree / "etc/resolv.conf", "")
    _write(tree / "etc/systemd/network/10-lab.network", f"[Match]\nName=host0\n[Network]\nAddress={host.address}/24\n")
    for kind in ("", ".pub"):
        key = lab.folder / "ssh" / "hosts" / f"{host.name}{kind}"
        shutil.copy(key, tree / f"etc/ssh/ssh_host_ed25519_key{kind}")
        (tree / f"etc/ssh/ssh_host_ed25519_key{kind}").chmod(0o600 if not kind else 0o644)
    home = tree / "home/deploy/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    _write(home / "authorized_keys", (lab.folder / "ssh/id_ed25519.pub").read_text())
    owner = (tree / "home/deploy").stat()
    for path in (home, home / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)
    for service in ROLES[host.role]:
        wants = tree / "etc/systemd/system/multi-user.target.wants" / f"{service}.service"
        with contextlib.suppress(FileExistsError):
            wants.symlink_to(f"/lib/systemd/system/{service}.service")
    if host.role == "db":
        _database(lab, tree, host)
    write_whole(folder / "prepared", f"{base}\n")


def _made_on(folder: Path) -> Path | None:
    """Return the base of a host's overlay, because its files would not fit another base after a restart of the machine.
    None for a host that is incomplete, has no base, or never wrote to the disk; it is made anew."""
    if (folder / "work/work/incompat/volatile").exists():
        return None
    try:
        base = (folder / "prepared").read_text().strip()
    except OSError:
        return None
    return Path(base) if base and Path(base).is_dir() else None


def _database(lab: Lab, tree: Path, host: HostSpec) -> None:
    settings = f"listen_addresses = 'localhost,{host.address}'\nfsync = on\npassword_encryption = 'scram-sha-256'\n"
    _write(tree / "etc/postgresql/15/main/conf.d/lab.conf", settings)
    with (tree / "etc/postgresql/15/main/pg_hba.conf").open("a") as rules:
        rules.write(f"host all all 10.83.{lab.subnet}.0/24 scram-sha-256\n")
    with (tree / "etc/redis/redis.conf").open("a") as redis:
        redis.write(f"\nbind 127.0.0.1 {host.address}\nprotected-mode no\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def is_up(lab: Lab, host: HostSpec) -> bool:
    """Return whether the host's process runs. The start time is checked too, because its pid may be reused."""
    return _pid(lab, host) is not None


def start(lab: Lab, host: HostSpec) -> None:
    """Power on the host, without waiting until it has booted.

    Raises:
        SlipwayError: systemd-nspawn does not start.
    """
    if is_up(lab, host):
        return
    cgroup.kill(lab, host)  # processes that outlived systemd-nspawn
    folder = lab.folder / "hosts" / host.name
    command = [
        str(Path(__file__).with_name("keep.sh")),
        str(folder / "pid"),
        *(str(group) for group in cgroup.groups(lab, host)),
        "--",
        "systemd-nspawn",
        "--quiet",
        f"--directory={lab.root_of(host)}",
        f"--machine={lab.machine_name(host)}",
        "--boot",
        f"--network-bridge={lab.bridge}",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--console=pipe",
        "--resolv-conf=off",
    ]
    # Not subprocess, because the host outlives this program.
    with (folder / "console").open("ab") as console, Path("/dev/null").open("rb") as nothing:
        pid = os.posix_spawnp(
            command[0],
            command,
            {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, console.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, console.fileno(), 2),
            ],
            setsid=True,
        )
    deadline = time.monotonic() + KEEPER_SECONDS
    while not is_up(lab, host) and _started(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise SlipwayError(f"its keeper does not start within {KEEPER_SECONDS} s", host=host.name)
        time.sleep(0.01)


def power_off(lab: Lab, host: HostSpec) -> None:
    """Cut the host's power, without a shutdown.

    Raises:
        SlipwayError: the host still runs.
    """
    cgroup.kill(lab, host)
    if not _wait_gone(lab, host, KEEPER_SECONDS):
        raise SlipwayError(f"its keeper, process {_pid(lab, host)}, is outside its control group", host=host.name)
    network.unplug(lab, host)


def shut_down(lab: Lab, host: HostSpec, *, seconds: float = 15) -> None:
    """Shut down the host; after a while, cut its power."""
    pid = _pid(lab, host)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _wait_gone(lab, host, seconds)
    power_off(lab, host)


def remove(lab: Lab, host: HostSpec) -> None:
    """Unmount and remove a host that is off."""
    cgroup.remove(lab, host)
    with contextlib.suppress(OSError):  # nspawn leaves this behind if /run is no tmpfs
        (PROPAGATE / lab.machine_name(host)).rmdir()
    remove_tree(lab.folder / "hosts" / host.name)


def last_words(lab: Lab, host: HostSpec) -> str:
    """Return the last line on the console of a host that does not boot."""
    try:
        said = (lab.folder / "hosts" / host.name / "console").read_text(errors="replace").split("\n")
    except OSError:
        return ""
    telling = [line.strip() for line in said if line.strip() and not any(noise in line for noise in NOISE)]
    return telling[-1] if telling else ""


def _pid(lab: Lab, host: HostSpec) -> int | None:
    try:
        pid, started = (lab.folder / "hosts" / host.name / "pid").read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def _started(pid: int) -> str:
    """Return a process's start time in kernel ticks (proc(5), field 22); empty if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _wait_gone(lab: Lab, host: HostSpec, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid = _pid(lab, host)
        if pid is None:
            return True
        with contextlib.suppress(ChildProcessError):  # only its parent can wait for it
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    return False
