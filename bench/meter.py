"""What a command costs: time on the wall, and processor time and memory of all it starts, whoever ends first.

A control group counts what has no parent any more as well, like the connections that ssh leaves open for later.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cgroup import TOPS, groups
from lab.spec import HostSpec, Lab

QUIET = 0.04  # of a processor, all hosts together
WINDOW = 0.5
SAMPLE = 0.05


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Args:
        wall, cpu: seconds.
        memory: megabytes at the peak, shared pages shared out (PSS); 0 where it was not looked at.
        first: processor seconds until its first byte of output.
        first_line: that output.
        output: all of it.
    """

    wall: float
    cpu: float
    memory: float = 0.0
    first: float = 0.0
    first_line: str = ""
    output: str = ""


def top() -> Path:
    """The hierarchy whose groups count processor time: version 2.

    Raises:
        SystemExit: this kernel has none.
    """
    for place in map(Path, TOPS):
        if (place / "cgroup.controllers").is_file():
            return place
    raise SystemExit("bench needs a mounted cgroup v2 hierarchy, to count processor time")


def usage(group: Path) -> float:
    """Seconds of processor time of all that runs or ever ran in a group."""
    for line in (group / "cpu.stat").read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) / 1e6
    raise SystemExit(f"{group}/cpu.stat has no usage_usec")


def run(
    words: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    look_at_memory: bool = False,
    ok: Sequence[int] | None = (0,),
) -> Cost:
    """Run a command to its end.

    Args:
        words: the command.
        cwd: where.
        environment: beside this process's own.
        look_at_memory: sample it; that takes processor time of its own from the machine.
        ok: exit statuses that are; None for any.

    Raises:
        SystemExit: it ended otherwise.
    """
    group = top() / f"slipway-bench-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *words]
    # As a person has it, Python's programs are kept compiled, whatever is set where the bench runs.
    shell = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun = time.monotonic()
    process = subprocess.Popen(
        enter,
        cwd=cwd,
        env={**shell, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = [0.0]
    ended = threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(group, ended, peak))
    if look_at_memory:
        watcher.start()
    try:
        assert process.stdout is not None  # noqa: S101
        select.select([process.stdout], [], [])
        first = usage(group)
        output = process.stdout.read(1)
        rest, _ = process.communicate()
        wall, cpu = time.monotonic() - begun, usage(group)
    finally:
        ended.set()
        if process.poll() is None:
            process.terminate()
            process.wait()
        if look_at_memory:
            watcher.join()
        remove_groups()
    text = (output + rest).decode(errors="replace")
    if ok is not None and process.returncode not in ok:
        raise SystemExit(f"{' '.join(words[:4])} … ended with {process.returncode}:\n{text[-3000:]}")
    line = text.strip().partition("\n")[0]
    return Cost(wall, cpu, peak[0], first, line, text)


def remove_groups() -> None:
    """Remove this run's groups, but those that something is still in, like a connection that ssh keeps."""
    for group in top().glob(f"slipway-bench-{os.getpid()}-*"):
        with contextlib.suppress(OSError):
            group.rmdir()


def _watch_memory(group: Path, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(SAMPLE):
        peak[0] = max(peak[0], memory(group))


def memory(group: Path) -> float:
    """Megabytes of all processes of a group, what they share counted once (PSS)."""
    total = 0
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # it has just ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def hosts_usage(lab: Lab, hosts: Sequence[HostSpec]) -> float:
    """Seconds of processor time that hosts have used since they are up."""
    here = top()
    return sum(usage(group) for host in hosts for group in groups(lab, host) if here in group.parents)


def wait_until_quiet(lab: Lab, hosts: Sequence[HostSpec], *, most: float = 90.0) -> float:
    """Write everything to disk and wait until hosts do nothing, so that nobody pays for another's work.

    Returns:
        Seconds until they were; ``most`` if they never were.
    """
    os.sync()
    begun, still = time.monotonic(), 0
    before = hosts_usage(lab, hosts)
    while still < 2 and time.monotonic() - begun < most:
        time.sleep(WINDOW)
        now = hosts_usage(lab, hosts)
        allowed = (QUIET + 0.002 * len(hosts)) * WINDOW
        still = still + 1 if now - before < allowed else 0
        before = now
    os.sync()
    return time.monotonic() - begun
