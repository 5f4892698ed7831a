"""What each contender runs to deploy an artifact: all do the same job, on the same hosts, through the same relay."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import meter
from bench.place import ALSO, APP, BENCH, PORTS, PROJECT, Place, inventory

HANDS = ("by hand", "slipway")
PEERS = ("pyinfra", "ansible-core", "ansible-core + mitogen", "fabric")
SMALL_ONLY = ("ansible-core + mitogen", "fabric")  # of these 1 MB tells all


@dataclass(frozen=True)
class Command:
    """A command with what it needs in its environment."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def names(here: Place) -> list[str]:
    """The contenders of a full round."""
    also = ["slipway, the other"] if here.also else []
    return ["by hand", "slipway", *also, *(PEERS if here.peers else ())]


def environment(here: Place, app: str = APP) -> Path:
    """The inventory of Slipway's application, made when first asked for."""
    found = here.work / f"inventory-{app}"
    if found.exists():
        return found
    if app == ALSO:
        return inventory(here, app, PORTS["slipway, the other"], slipway=other(here))
    return inventory(here, app, PORTS["slipway"])


def other(here: Place) -> list[str]:
    """How the other checkout of Slipway is run."""
    assert here.also  # noqa: S101
    return [str(here.also / ".venv/bin/invoke"), f"--search-root={here.also}"]


def command(here: Place, name: str, version: str) -> Command:
    """What a contender runs to deploy a version."""
    port, artifact, release = str(PORTS[name]), str(here.artifact(version)), f"{int(version.split('.')[0]):04}"
    hosts, key = here.addresses(), f"{here.lab.folder}/ssh/id_ed25519"
    deploy = [f"--version={version}", "--batch=100%"]
    if name == "by hand":
        return Command([str(BENCH / "floor.sh"), artifact, release, APP, port, f"{here.work}/ssh_config", *hosts])
    if name == "slipway":
        return Command([here.invoke, "deploy", f"--env={environment(here)}", *deploy])
    if name == "slipway, the other":
        return Command([*other(here), "deploy", f"--env={environment(here, ALSO)}", *deploy])
    assert here.peers  # noqa: S101
    if name == "pyinfra":
        told = {"ARTIFACT": artifact, "RELEASE": release, "APP": APP, "PORT": port}
        words = [str(here.peers / "pyinfra"), "-y", f"{here.work}/pyinfra_inventory.py"]
        return Command([*words, str(BENCH / "peers/pyinfra_deploy.py")], told)
    if name == "fabric":
        words = [str(here.peers / "python"), str(BENCH / "peers/fabric_deploy.py"), artifact, release, APP, port, key]
        return Command([*words, f"{here.work}/known_hosts", *hosts])
    app, config = (APP, "ansible.cfg") if name == "ansible-core" else (f"{APP}-mitogen", "mitogen.cfg")
    words = [str(here.peers / "ansible-playbook"), "-i", str(environment(here)), "-f", str(len(hosts))]
    words += [str(BENCH / "peers/ansible_deploy.yml"), "-e", f"artifact={artifact}", "-e", f"release={release}"]
    return Command([*words, "-e", f"app={app}", "-e", f"port={port}"], {"ANSIBLE_CONFIG": f"{here.work}/{config}"})


def run(here: Place, name: str, version: str, *, look_at_memory: bool = False) -> meter.Cost:
    """Let a contender deploy a version."""
    asked = command(here, name, version)
    return meter.run(asked.words, cwd=PROJECT, environment=asked.environment, look_at_memory=look_at_memory)


def end_masters(here: Place) -> None:
    """End the connections that Ansible's ssh keeps for a minute: every turn begins without any."""
    for path in (here.work / "cp").glob("*"):
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "-"], capture_output=True, check=False)
