"""Bringing a lab up and down, whatever state an earlier run left it in."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import machine, network
from lab.base import base_tree, raise_limits, require_machine
from lab.shell import run, say
from lab.spec import DEFAULT_NAME, MOST_HOSTS, PROJECT, HostSpec, Lab, find_lab, inventory, root
from playbooks.errors import SlipwayError, UsageError

BOOT_SECONDS = 60
STUCK_SECONDS = 20


def up(name: str = DEFAULT_NAME, *, hosts: int = 3) -> tuple[Lab, list[HostSpec]]:
    """Bring a lab up, or what is missing of it; a lab that is up already is left alone.

    Args:
        name: which lab.
        hosts: application hosts; a lab with more keeps them.

    Raises:
        UsageError: this machine cannot run a lab, or the number is absurd.
        SlipwayError: a host does not boot.
    """
    if not 1 <= hosts <= MOST_HOSTS:
        raise UsageError(f"--hosts={hosts}: expected 1 to {MOST_HOSTS}")
    require_machine()
    raise_limits()
    with _alone():
        base = base_tree()
        lab = find_lab(name)
        specs = lab.hosts(max(hosts, _applications(lab)))
        _make_folder(lab, specs)
        network.raise_bridge(lab)
        _at_once(specs, lambda host: machine.prepare(lab, host, base))
        _write_inventory(lab, specs)
        _at_once(specs, lambda host: machine.start(lab, host))
        _at_once(specs, lambda host: _see_it_boot(lab, host))
    return lab, specs


def down(name: str = DEFAULT_NAME) -> Lab:
    """Take a lab down and remove all of it but the base tree. Safe for a lab that is half up, or not at all."""
    require_machine()
    with _alone():
        lab = find_lab(name)
        specs = [*lab.hosts(0), *_leftover(lab)]
        _at_once(specs, lambda host: machine.shut_down(lab, host))
        for host in specs:
            machine.remove(lab, host)
        network.drop_bridge(lab)
        shutil.rmtree(lab.folder, ignore_errors=True)
    return lab


def labs() -> list[str]:
    """Names of the labs that have a folder."""
    return sorted(path.parent.name for path in root().glob("*/lab.json"))


def status(name: str = DEFAULT_NAME) -> list[tuple[HostSpec, bool]]:
    """A lab's hosts, and whether each is up."""
    lab = find_lab(name)
    count = _applications(lab)
    return [(host, machine.is_up(lab, host)) for host in lab.hosts(count)] if count else []


def find_host(lab: Lab, name: str) -> HostSpec:
    """A host of a lab by its name.

    Raises:
        UsageError: there is none.
    """
    for host in lab.hosts(_applications(lab)):
        if host.name == name:
            return host
    raise UsageError(f"the lab {lab.name} has no host '{name}'")


def boot(lab: Lab, host: HostSpec) -> None:
    """Power on a host that is off, and wait until it can be reached."""
    machine.start(lab, host)
    network.wait_for_ssh(host, seconds=BOOT_SECONDS)


def _applications(lab: Lab) -> int:
    """How many application hosts the lab was made with."""
    try:
        return int(json.loads((lab.folder / "lab.json").read_text())["hosts"])
    except (OSError, ValueError, KeyError):
        return 0


def _leftover(lab: Lab) -> list[HostSpec]:
    found = sorted(path.name for path in (lab.folder / "hosts").glob("app*"))
    numbers = [int(name.removeprefix("app")) for name in found if name.removeprefix("app").isdigit()]
    return [host for host in lab.hosts(max(numbers, default=0)) if host.role == "app" and host.name in found]


@contextmanager
def _alone() -> Iterator[None]:
    """One lab.up or lab.down at a time on this machine."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab.up or lab.down is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _at_once(hosts: Sequence[HostSpec], act: Callable[[HostSpec], None]) -> None:
    with ThreadPoolExecutor(max_workers=16) as pool:
        for result in [pool.submit(act, host) for host in hosts]:
            result.result()


def _make_folder(lab: Lab, hosts: Sequence[HostSpec]) -> None:
    folder = lab.folder
    (folder / "ssh" / "hosts").mkdir(parents=True, exist_ok=True)
    (folder / "lab.json").write_text(
        json.dumps({"subnet": lab.subnet, "hosts": sum(host.role == "app" for host in hosts)}) + "\n"
    )
    _make_key(folder / "ssh" / "id_ed25519", f"slipway lab {lab.name}")
    known = []
    for host in hosts:
        key = folder / "ssh" / "hosts" / host.name
        _make_key(key, f"root@{host.name}")
        known.append(f"{host.address} {key.with_suffix('.pub').read_text().rsplit(' ', 1)[0]}\n")
    (folder / "ssh" / "known_hosts").write_text("".join(known))
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    for name in ("restic_password", "db_password"):
        path = folder / "secrets" / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(16) + "\n")


def _make_key(path: Path, comment: str) -> None:
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment.replace(" ", "-"), "-f", str(path)])


def _write_inventory(lab: Lab, hosts: Sequence[HostSpec]) -> None:
    folder = lab.folder / "inventory"
    folder.mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(inventory(lab, hosts))
    for name in ("group_vars", "templates"):
        link = folder / name
        link.unlink(missing_ok=True)
        if (PROJECT / "inventory" / "lab" / name).is_dir():
            link.symlink_to(PROJECT / "inventory" / "lab" / name)


def _see_it_boot(lab: Lab, host: HostSpec) -> None:
    """Wait for a host; one that hangs is switched off and on, once: on a busy machine a unit fails at times."""
    try:
        _wait_until_booted(lab, host, seconds=STUCK_SECONDS)
    except SlipwayError as error:
        say(f"{error}; switching it off and on again")
        machine.power_off(lab, host)
        machine.start(lab, host)
        _wait_until_booted(lab, host, seconds=BOOT_SECONDS)


def _wait_until_booted(lab: Lab, host: HostSpec, *, seconds: float) -> None:
    network.wait_for_ssh(host, seconds=seconds)
    ssh = ["ssh", "-i", f"{lab.folder}/ssh/id_ed25519", "-o", f"UserKnownHostsFile={lab.folder}/ssh/known_hosts"]
    ssh += ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    words = [*ssh, f"deploy@{host.address}", "systemctl is-system-running --wait"]
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(words, capture_output=True, text=True, timeout=BOOT_SECONDS, check=False)
        state = done.stdout.strip()
        if state in ("running", "degraded"):
            return
        # sshd answers before logins are permitted (pam_nologin(8)).
        if time.monotonic() > deadline:
            raise SlipwayError(f"it does not boot: {state or done.stderr.strip()}", host=host.name)
        time.sleep(0.2)
