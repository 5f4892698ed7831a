"""The lab's network: one bridge on this machine; nothing leaves it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from lab.shell import run
from lab.spec import HostSpec, Lab
from playbooks.errors import SlipwayError


def raise_bridge(lab: Lab) -> None:
    """Make the bridge, if it is not there."""
    if not Path(f"/sys/class/net/{lab.bridge}").exists():
        run(["ip", "link", "add", lab.bridge, "type", "bridge"])
        run(["ip", "address", "add", f"{lab.gateway}/24", "dev", lab.bridge])
    run(["ip", "link", "set", lab.bridge, "up"])


def drop_bridge(lab: Lab) -> None:
    """Remove the bridge, if it is there."""
    if Path(f"/sys/class/net/{lab.bridge}").exists():
        run(["ip", "link", "delete", lab.bridge])


def veth(lab: Lab, host: HostSpec) -> str:
    """This machine's end of a host's cable: nspawn cuts its name to 15 characters and keeps the whole one as alias."""
    for entry in Path(f"/sys/class/net/{lab.bridge}/brif").iterdir():
        alias = Path(f"/sys/class/net/{entry.name}/ifalias").read_text().strip()
        if alias == f"vb-{lab.name}-{host.name}":
            return entry.name
    raise SlipwayError("it has no cable: is it up?", host=host.name)


def cut(lab: Lab, host: HostSpec) -> None:
    """Pull a host's cable."""
    run(["ip", "link", "set", veth(lab, host), "down"])


def mend(lab: Lab, host: HostSpec) -> None:
    """Put it back."""
    run(["ip", "link", "set", veth(lab, host), "up"])


def wait_for_ssh(host: HostSpec, *, seconds: float) -> None:
    """Wait until a host's sshd answers.

    Raises:
        SlipwayError: it doesn't.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host.address, 22), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SlipwayError(f"its sshd does not answer within {seconds:g} s", host=host.name)
        time.sleep(0.1)
