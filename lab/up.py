"""Bring a lab up and down, whatever state an earlier run left."""

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
from threading import Event

from lab import machine, network
from lab.base import base_tree, raise_limits, remove_other_bases, require_machine
from lab.files import make_key, remove_tree, write_whole
from lab.shell import say
from lab.spec import DEFAULT_NAME, MAX_HOSTS, PROJECT, HostSpec, Lab, find_lab, inventory, root
from playbooks.core.errors import FleetError, SlipwayError, UsageError

BOOT_SECONDS = 120
STUCK_SECONDS = 60
# Not `--wait`: it waits for a signal that systemd sends to its bus only if somebody has subscribed there, which a user
# of `systemctl` has not. logind has, most times early enough; without it whoever waits does so for ever.
_BOOTED = "until case $(systemctl is-system-running) in running | degraded) ;; *) false ;; esac; do sleep 0.2; done"
_AT_WORK = "{ systemctl is-system-running; systemctl list-jobs --plain --no-legend; }"


def up(name: str = DEFAULT_NAME, *, hosts: int = 3, durable: bool = True) -> tuple[Lab, list[HostSpec]]:
    """Bring a lab up, or its missing parts; a lab that is up already stays as it is.

    Args:
        name: the lab's name.
        hosts: the number of application hosts; a lab with more keeps them.
        durable: whether new hosts wait for this machine's disk when they sync. Measurements need this; tests would
            only wait, sometimes for seconds during a health check.

    Raises:
        UsageError: this machine cannot run a lab, or the number is out of range.
        SlipwayError: a host does not boot.
    """
    if not 1 <= hosts <= MAX_HOSTS:
        raise UsageError(f"--hosts={hosts}: expected 1 to {MAX_HOSTS}")
    find_lab(name)
    require_machine()
    raise_limits()
    stop = Event()
    with _alone():
        lab = find_lab(name)
        network.refuse_foreign(lab)
        base = base_tree()
        specs = lab.hosts(max(hosts, _applications(lab)))
        _make_folder(lab, specs)
        network.raise_bridge(lab)
        _at_once(specs, lambda host: machine.prepare(lab, host, base, durable=durable))
        _write_inventory(lab, specs)
        if off := sum(not machine.is_up(lab, host) for host in specs):
            say(f"lab {lab.name}: starting {off} of {len(specs)} hosts")
        _at_once(specs, lambda host: machine.start(lab, host))
        _at_once(specs, lambda host: _see_it_boot(lab, host, stop), stop)
    return lab, specs


def down(name: str = DEFAULT_NAME) -> Lab:
    """Take a lab down and remove all of it except the base tree. It also works for a lab that is partly up."""
    find_lab(name)
    require_machine()
    with _alone():
        lab = find_lab(name)
        specs = _leftover(lab)
        _at_once(specs, lambda host: machine.shut_down(lab, host))
        for host in specs:
            machine.remove(lab, host)
        network.drop_bridge(lab)
        remove_tree(lab.folder)
    return lab


def remove_old_bases() -> None:
    """Remove base trees of other recipes and incomplete ones, unless a lab may use one."""
    with _alone():
        if not labs():
            remove_other_bases()


def labs() -> list[str]:
    """Return the names of the labs that have a folder, including remains of killed runs."""
    found = {path.parent.name for kind in ("lab.json", "hosts", "ssh") for path in root().glob(f"*/{kind}")}
    return sorted(name for name in found if not name.startswith("base"))


def status(name: str = DEFAULT_NAME) -> list[tuple[HostSpec, bool]]:
    """Return a lab's hosts, and whether each is up."""
    lab = find_lab(name)
    count = _applications(lab)
    return [(host, machine.is_up(lab, host)) for host in lab.hosts(count)] if count else []


def find_host(lab: Lab, name: str) -> HostSpec:
    """Return a host of a lab by its name.

    Raises:
        UsageError: there is none.
    """
    for host in lab.hosts(_applications(lab)):
        if host.name == name:
            return host
    raise UsageError(f"the lab {lab.name} has no host '{name}'")


def boot(lab: Lab, host: HostSpec) -> None:
    """Power on a host, and wait until it is reachable."""
    machine.start(lab, host)
    network.wait_for_ssh(host, seconds=BOOT_SECONDS, alive=lambda: machine.is_up(lab, host))


def _applications(lab: Lab) -> int:
    """Return the number of application hosts that the lab was made with."""
    try:
        return int(json.loads((lab.folder / "lab.json").read_text())["hosts"])
    except (OSError, ValueError, KeyError):
        return 0


def _leftover(lab: Lab) -> list[HostSpec]:
    """Return every host that has a folder, whatever the lab's record says."""
    return [HostSpec(path.name, "", "") for path in sorted((lab.folder / "hosts").glob("*")) if path.is_dir()]


@contextmanager
def _alone() -> Iterator[None]:
    """Allow one lab.up or lab.down at a time on this machine."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab.up or lab.down is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _at_once(hosts: Sequence[HostSpec], act: Callable[[HostSpec], None], stop: Event | None = None) -> None:
    """Do the same to all hosts, and report every one that fails."""
    problems: dict[str, SlipwayError] = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        futures = [pool.submit(act, host) for host in hosts]
        try:
            for host, future in zip(hosts, futures, strict=True):
                try:
                    future.result()
                except SlipwayError as error:
                    problems[host.name] = error
        except BaseException:  # Ctrl-C does not wait for the other hosts
            if stop:
                stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise FleetError("\n".join(map(str, problems.values())), problems)


def _make_folder(lab: Lab, hosts: Sequence[HostSpec]) -> None:
    folder = lab.folder
    (folder / "ssh" / "hosts").mkdir(parents=True, exist_ok=True)
    record = {"subnet": lab.subnet, "hosts": sum(host.role == "app" for host in hosts)}
    write_whole(folder / "lab.json", json.dumps(record) + "\n")
    make_key(folder / "ssh" / "id_ed25519", f"slipway-lab-{lab.name}")
    known = []
    for host in hosts:
        key = folder / "ssh" / "hosts" / host.name
        make_key(key, f"root@{host.name}")
        known.append(f"{host.address} {key.with_suffix('.pub').read_text().rsplit(' ', 1)[0]}\n")
    write_whole(folder / "ssh" / "known_hosts", "".join(known))
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    for name in ("restic_password", "db_password"):
        if not (folder / "secrets" / name).exists():
            write_whole(folder / "secrets" / name, secrets.token_hex(16) + "\n", mode=0o600)


def _write_inventory(lab: Lab, hosts: Sequence[HostSpec]) -> None:
    folder = lab.folder / "inventory"
    folder.mkdir(exist_ok=True)
    write_whole(folder / "hosts.yml", inventory(lab, hosts))
    # Copies, because --untrusted-inventory follows no link out of the inventory.
    for name in ("group_vars", "templates"):
        copy, place = folder / name, PROJECT / "inventory" / "lab" / name
        if copy.is_symlink():  # an older lab has links
            copy.unlink()
        if place.is_dir():
            shutil.copytree(place, copy, dirs_exist_ok=True)


def _see_it_boot(lab: Lab, host: HostSpec, stop: Event) -> None:
    """Wait for a host, and restart it once if it hangs, because units sometimes fail on a busy machine."""
    try:
        _wait_until_booted(lab, host, stop, seconds=STUCK_SECONDS)
    except SlipwayError as error:
        if stop.is_set():
            raise
        say(f"{error.host}: {error.message}; switching it off and on again")
        machine.power_off(lab, host)
        machine.start(lab, host)
        _wait_until_booted(lab, host, stop, seconds=BOOT_SECONDS)


def _wait_until_booted(lab: Lab, host: HostSpec, stop: Event, *, seconds: float) -> None:
    try:
        network.wait_for_ssh(host, seconds=seconds, stop=stop, alive=lambda: machine.is_up(lab, host))
    except SlipwayError as error:
        console = f"{lab.folder}/hosts/{host.name}/console"
        last = machine.last_words(lab, host)
        raise SlipwayError(f"{error.message}; its last words: {last}", host=host.name, hint=f"see {console}") from None
    words = [*network.ssh(lab, host, connect=10), f"timeout {seconds:g} sh -c '{_BOOTED}' && echo booted || {_AT_WORK}"]
    deadline = time.monotonic() + seconds
    while told := _ask(words, seconds + 10):
        # sshd answers before logins are permitted (pam_nologin(8)).
        if time.monotonic() > deadline or stop.wait(0.2):
            raise SlipwayError(f"it does not boot within {seconds:g} s: {told}", host=host.name)


def _ask(words: Sequence[str], seconds: float) -> str:
    """Return why a host is not up; empty if it is."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    if done.stdout == "booted\n":
        return ""
    said = done.stdout + done.stderr
    return "; ".join(" ".join(line.split()) for line in said.splitlines()) or f"ssh ends with {done.returncode}"
