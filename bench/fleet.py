"""Many hosts: what a deploy costs the controller for each of them, and how soon the old version is back on all."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import artifacts, meter
from bench.observer import observing
from bench.place import PROJECT, Place, inventory, require_running, tell
from lab.spec import HostSpec

PORT = 8100
# The restart, and when the application answers again, as the host itself sees it; all hosts begin at the same moment.
RESTART = """
wait=$(({start} - $(date +%s%N)))
sleep "$((wait / 1000000000)).$(printf %09d "$((wait % 1000000000))")"
sudo systemctl restart {app}
until curl -sf http://127.0.0.1:{port}/VERSION >/dev/null; do sleep 0.1; done
date +%s%N
"""


def fan_out(here: Place, counts: list[int], *, rounds: int) -> list[dict[str, Any]]:
    """Deploys of 1 MB to fleets of several sizes: the controller's processor time and memory."""
    here.relay.set()
    found = []
    for number, count in enumerate(counts):
        env = inventory(here, f"fleet{count}", PORT + number, hosts=count)
        for _ in range(2):
            deploy(here, env)
        row: dict[str, Any] = {"hosts": count, "wall": [], "cpu": [], "memory": [], "hosts_cpu": []}
        for turn in range(rounds):
            meter.wait_until_quiet(here.lab, here.hosts)
            before = meter.hosts_usage(here.lab, here.hosts)
            version, cost = deploy(here, env)
            require_running(here.hosts[:count], PORT + number, version)
            meter.wait_until_quiet(here.lab, here.hosts)
            row["hosts_cpu"].append(meter.hosts_usage(here.lab, here.hosts) - before)
            row["wall"].append(cost.wall)
            row["cpu"].append(cost.cpu)
            if turn == 0:  # apart: to look costs time
                row["memory"].append(deploy(here, env, look_at_memory=True)[1].memory)
        found.append(row)
        tell(f"  {count} hosts: {row['wall'][-1]:.1f} s, CPU {row['cpu'][-1]:.2f} s, {row['memory'][-1]:.0f} MB")
    return found


def deploy(here: Place, env: Path, *, look_at_memory: bool = False) -> tuple[str, meter.Cost]:
    """Deploy 1 MB to a fleet."""
    version = here.next_version()
    here.make(artifacts.fresh(version, megabytes=1, files=20))
    words = [here.invoke, "deploy", f"--env={env}", f"--version={version}", "--batch=100%"]
    cost = meter.run(words, cwd=PROJECT, look_at_memory=look_at_memory)
    return version, cost


def rollback(here: Place, count: int, *, rounds: int) -> dict[str, Any]:
    """From the command to the old version on every host, seen from outside; and the application's own start."""
    here.relay.set()
    app, port, hosts = "fleetback", PORT + 20, here.hosts[:count]
    env = inventory(here, app, port, hosts=count)
    addresses = [host.address for host in hosts]
    old, _ = deploy(here, env)
    row: dict[str, Any] = {"hosts": count, "back": [], "ended": [], "start": []}
    for _ in range(rounds):
        new, _ = deploy(here, env)
        require_running(hosts, port, new)
        meter.wait_until_quiet(here.lab, here.hosts)
        with observing(addresses, port) as seen:
            while seen.all_since(addresses, new) is None:
                time.sleep(0.05)
            begun = time.monotonic()
            cost = meter.run([here.invoke, "rollback", f"--env={env}", "--reason=bench", "--yes"], cwd=PROJECT)
            time.sleep(0.5)
            back = seen.all_since(addresses, old)
        if back is None:
            raise SystemExit(f"after the rollback not every host answers {old}")
        meter.wait_until_quiet(here.lab, here.hosts)
        row["back"].append(back - begun)
        row["ended"].append(cost.wall)
        row["start"].append(restart_by_hand(here, hosts, app, port))
        tell(f"  back after {row['back'][-1]:.2f} s, ended after {cost.wall:.2f} s, start {row['start'][-1]:.2f} s")
    return row


def restart_by_hand(here: Place, hosts: tuple[HostSpec, ...], app: str, port: int) -> float:
    """Seconds that the slowest host takes from `systemctl restart` to an answer, all at the same moment."""
    start = time.time_ns() + 5 * 10**9
    script = RESTART.format(start=start, app=app, port=port)

    def one(host: HostSpec) -> int:
        words = ["ssh", "-F", "none", "-i", f"{here.lab.folder}/ssh/id_ed25519", "-o", "StrictHostKeyChecking=yes"]
        words += ["-o", f"UserKnownHostsFile={here.lab.folder}/ssh/known_hosts", f"deploy@{host.address}", script]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    with ThreadPoolExecutor(len(hosts)) as pool:
        return (max(pool.map(one, hosts)) - start) / 1e9
