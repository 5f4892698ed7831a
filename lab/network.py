"""Manage the lab's network: a bridge on this machine without a connection to other networks."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from lab.shell import run
from lab.spec import HostSpec, Lab
from playbooks.core.errors import SlipwayError, UsageError

# ssh's own choice is safe from quantum computers, and takes 0.13 s of processor a login: no cable leaves this machine.
QUICK_KEX = "curve25519-sha256"


def ssh(lab: Lab, host: HostSpec, *, user: str = "deploy", connect: int = 3) -> list[str]:
    """Return the words that log in to a host, independent of this machine's ssh configuration.

    Args:
        lab, host: the lab and the host.
        user: the login user.
        connect: seconds until the host counts as unreachable.
    """
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": f"{connect}",
        "KexAlgorithms": QUICK_KEX,
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"{lab.folder}/ssh/known_hosts",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", f"{lab.folder}/ssh/id_ed25519", *words, f"{user}@{host.address}"]


def raise_bridge(lab: Lab) -> None:
    """Make the bridge, or its missing parts.

    Raises:
        UsageError: a lab in another folder uses this network.
    """
    refuse_foreign(lab)
    if not _there(lab):
        run(["ip", "link", "add", lab.bridge, "type", "bridge"])
    run(["ip", "link", "set", lab.bridge, "alias", str(lab.folder)])
    run(["ip", "address", "replace", f"{lab.gateway}/24", "dev", lab.bridge])
    run(["ip", "link", "set", lab.bridge, "up"])


def drop_bridge(lab: Lab) -> None:
    """Remove the bridge, if it is there."""
    if _there(lab):
        refuse_foreign(lab)
        run(["ip", "link", "delete", lab.bridge])


def _there(lab: Lab) -> bool:
    return Path(f"/sys/class/net/{lab.bridge}").exists()


def refuse_foreign(lab: Lab) -> None:
    """Make sure that no other lab uses this lab's network.

    Raises:
        UsageError: a lab in another folder uses it.
    """
    owner = Path(f"/sys/class/net/{lab.bridge}/ifalias").read_text(encoding="utf-8").strip() if _there(lab) else ""
    if owner not in ("", str(lab.folder)):
        raise UsageError(
            f"the network 10.83.{lab.subnet}.0/24 belongs to the lab in {owner}", hint="take it down first"
        )


def veth(lab: Lab, host: HostSpec) -> str:
    """Return this machine's end of a host's cable. nspawn cuts a long name to 15 characters and keeps it as an alias.

    Raises:
        SlipwayError: there is none.
    """
    wanted = f"vb-{lab.machine_name(host)}"
    for link in json.loads(run(["ip", "-json", "link", "show", "type", "veth"]) or "[]"):
        if wanted in (link["ifname"], link.get("ifalias"), *link.get("altnames", [])):
            return str(link["ifname"])
    raise SlipwayError("it has no cable: is it up?", host=host.name, hint=f"invoke lab.status --name={lab.name}")


def cut(lab: Lab, host: HostSpec) -> None:
    """Disconnect a host's cable."""
    run(["ip", "link", "set", veth(lab, host), "down"])


def restore(lab: Lab, host: HostSpec) -> None:
    """Connect a host's cable again."""
    run(["ip", "link", "set", veth(lab, host), "up"])


def unplug(lab: Lab, host: HostSpec) -> None:
    """Remove the cable of a host that is off. The kernel removes it too, but late on a busy machine."""
    with contextlib.suppress(SlipwayError):  # the kernel has removed it
        run(["ip", "link", "delete", veth(lab, host)])


def wait_for_ssh(
    host: HostSpec, *, seconds: float, stop: Event | None = None, alive: Callable[[], bool] = lambda: True
) -> None:
    """Wait until a host's sshd answers.

    Args:
        host: the host.
        seconds: the time limit.
        stop: ends the waiting when set.
        alive: returns whether the host can still come up.

    Raises:
        SlipwayError: sshd does not answer.
    """
    stop = stop or Event()
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host.address, 22), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if not alive():
            raise SlipwayError("it went off before its sshd answered", host=host.name)
        if time.monotonic() > deadline or stop.wait(0.1):
            raise SlipwayError(f"its sshd does not answer within {seconds:g} s", host=host.name)
