"""Define a lab: names, addresses and folders."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playbooks.core.errors import UsageError

DEFAULT_ROOT = Path("/var/lib/slipway-lab")
DEFAULT_NAME = "lab"
MAX_HOSTS = 100
PROJECT = Path(__file__).resolve().parent.parent


def root() -> Path:
    """Return the folder of all labs and the base tree, which is outside the project, so that a clone stays clean."""
    place = Path(os.environ.get("SLIPWAY_LAB_DIR") or DEFAULT_ROOT).resolve()
    if any(character in str(place) for character in ' \t\n,:\\"'):
        raise UsageError(f"SLIPWAY_LAB_DIR={place}: no spaces, commas, colons, quotes: it becomes a mount option")
    return place


@dataclass(frozen=True)
class HostSpec:
    """A host of a lab.

    Args:
        name: the inventory name.
        role: edge, app or db.
        address: the IPv4 address.
    """

    name: str
    role: str
    address: str


@dataclass(frozen=True)
class Lab:
    """A lab.

    Args:
        name: its name; several labs can be up at once.
        subnet: the third number of its network, 10.83.N.0/24.
    """

    name: str
    subnet: int

    @property
    def folder(self) -> Path:
        """Return the folder of this lab."""
        return root() / self.name

    @property
    def bridge(self) -> str:
        """Return the name of its bridge; an interface's name has at most 15 characters."""
        return f"slipway{self.subnet}"

    @property
    def gateway(self) -> str:
        """Return this machine's address in the network."""
        return f"10.83.{self.subnet}.1"

    def hosts(self, applications: int) -> list[HostSpec]:
        """Return its hosts: one balancer, one database host, and this many application hosts."""
        net = f"10.83.{self.subnet}"
        apps = [HostSpec(f"app{n}", "app", f"{net}.{100 + n}") for n in range(1, applications + 1)]
        return [HostSpec("edge1", "edge", f"{net}.10"), HostSpec("db1", "db", f"{net}.20"), *apps]

    def machine_name(self, host: HostSpec) -> str:
        """Return the name of a host's machine and control group, which differs from those of labs in other folders."""
        elsewhere = "" if root() == DEFAULT_ROOT else "-" + hashlib.sha256(str(root()).encode()).hexdigest()[:6]
        return f"{self.name}-{host.name}{elsewhere}"

    def root_of(self, host: HostSpec) -> Path:
        """Return a host's root file system, where it is mounted."""
        return self.folder / "hosts" / host.name / "root"


def find_lab(name: str) -> Lab:
    """Find a lab by name; a new one gets its own network, which is recorded.

    Raises:
        UsageError: the name is not allowed.
    """
    if not re.fullmatch(r"(?!base)[A-Za-z0-9]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?", name):
        raise UsageError(
            f"'{name}' is no name for a lab: at most 40 letters, digits and hyphens between them, not base…"
        )
    if name == DEFAULT_NAME:
        return Lab(name, 0)
    recorded = _subnet(root() / name)
    if recorded is not None:
        return Lab(name, recorded)
    taken = {_subnet(path.parent) for path in root().glob("*/lab.json")}
    for number in range(1, 250):
        if number not in taken and not Path(f"/sys/class/net/{Lab(name, number).bridge}").exists():
            return Lab(name, number)
    raise UsageError("all 249 networks for labs are taken", hint="invoke lab.down --all")


def environment_of(lab: Lab) -> str:
    """Return the value for --env: the project's own inventory if it lists exactly these hosts, else the lab's."""
    own, of_lab = PROJECT / "inventory" / DEFAULT_NAME, lab.folder / "inventory"
    same = lab.name == DEFAULT_NAME and root() == DEFAULT_ROOT and _host_lines(own) == _host_lines(of_lab)
    return DEFAULT_NAME if same else str(of_lab)


def _host_lines(folder: Path) -> list[str]:
    try:
        text = (folder / "hosts.yml").read_text()
    except OSError:
        return []
    return [line for line in text.splitlines() if "ansible_host:" in line]


def _subnet(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "lab.json").read_text())["subnet"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def inventory(lab: Lab, hosts: Sequence[HostSpec]) -> str:
    """Return the lab's inventory, in Ansible's YAML format."""
    lines = [
        "# Hosts of a lab on this machine; see docs/lab.md.",
        "all:",
        "  vars:",
        "    ansible_user: deploy",
        f"    ansible_ssh_private_key_file: {lab.folder}/ssh/id_ed25519",
        f'    ansible_ssh_common_args: "-o UserKnownHostsFile={lab.folder}/ssh/known_hosts"',
        "    ansible_become: true",
        f"    lab_dir: {lab.folder}",
        "  children:",
    ]
    for role in ("edge", "app", "db"):
        lines += [f"    {role}:", "      hosts:"]
        lines += [f"        {host.name}: {{ansible_host: {host.address}}}" for host in hosts if host.role == role]
    return "\n".join(lines) + "\n"
