"""Find and end a host's processes by its control group, which includes processes whose parent has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from lab.spec import HostSpec, Lab
from playbooks.core.errors import SlipwayError

TOPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")


def groups(lab: Lab, host: HostSpec) -> list[Path]:
    """Return the host's group in each hierarchy that systemd uses, whether it exists or not."""
    tops = [Path(top) for top in TOPS if (Path(top) / "cgroup.procs").is_file()]
    return [top / f"slipway-{lab.machine_name(host)}" for top in tops]


def processes(lab: Lab, host: HostSpec) -> list[int]:
    """Return the ids of all processes in the host, including systemd-nspawn's own."""
    found = set()
    for group in groups(lab, host):
        for folder, _, _ in os.walk(group):
            with contextlib.suppress(OSError):  # the group has just disappeared
                found |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()}
    return sorted(found - {0})


def kill(lab: Lab, host: HostSpec, *, seconds: float = 10) -> None:
    """Kill all processes in the host at once.

    Raises:
        SlipwayError: a process still exists after a time limit.
    """
    deadline = time.monotonic() + seconds
    while left := processes(lab, host):
        if time.monotonic() > deadline:
            raise SlipwayError(f"its processes {left[:5]} cannot be killed", host=host.name)
        switches = [group / "cgroup.kill" for group in groups(lab, host) if (group / "cgroup.kill").is_file()]
        for switch in switches:
            switch.write_text("1")
        for process in [] if switches else left:  # before Linux 5.14
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def remove(lab: Lab, host: HostSpec) -> None:
    """Remove the empty groups."""
    for group in groups(lab, host):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
