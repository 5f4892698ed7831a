"""What a task costs before it says its first word: processor time of the controller, on a lab host."""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import Any

from bench import artifacts, contenders, meter
from bench.place import PROJECT, Place, tell

# What a task needs beside --env; the rest runs as it is. On this machine no cron entry is made, so schedule refuses.
MORE = {
    "deploy": ["--force"],
    "rollback": ["--reason=bench"],
    "restore": ["--to-dir=/srv/bench-restored"],
    "schedule": ["--at=never"],
}


def startup(here: Place, *, rounds: int) -> dict[str, Any]:
    """Start `invoke --list` and every task; returns seconds of processor time until the first byte of output."""
    listed = subprocess.run(
        [here.invoke, "--list", "--list-format=json"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    tasks = [task["name"] for task in json.loads(listed.stdout)["tasks"]]
    env = contenders.environment(here)
    here.relay.set()
    for _ in range(2):  # something to go back to
        version = here.next_version()
        here.make(artifacts.fresh(version, megabytes=1, files=20))
        contenders.run(here, "slipway", version)
    found = {"--list": [first(here, ["--list"]) for _ in range(rounds)]}
    for task in tasks:
        more = [word if "restored" not in word else f"{word}-{here.next_version()}" for word in MORE.get(task, [])]
        words = [task, f"--env={env}", *more]
        found[task] = [first(here, words) for _ in range(1 if task in ("restore", "verify-backups") else rounds)]
    found["lab.status"] = [first(here, ["lab.status", f"--name={here.lab.name}"]) for _ in range(rounds)]
    slowest = max(found, key=lambda name: statistics.median(float(run["cpu"]) for run in found[name]))
    tell(f"start-up: {len(found)} tasks, the slowest is {slowest}")
    return {
        name: {"cpu": [run["cpu"] for run in runs], "line": runs[0]["line"]} for name, runs in found.items() if runs
    }


def first(here: Place, words: list[str]) -> dict[str, Any]:
    """One start."""
    cost = meter.run([here.invoke, *words], cwd=PROJECT, ok=None)
    return {"cpu": cost.first, "line": cost.first_line[:100]}
