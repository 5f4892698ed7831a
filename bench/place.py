"""Where a run happens: lab hosts behind the relay, a folder for artifacts, inventories for every contender."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.artifacts import Content, write
from bench.uplink import Uplink, uplink
from lab import up as lab_up
from lab.spec import HostSpec, Lab

BENCH = Path(__file__).resolve().parent
PROJECT = BENCH.parent
APP, ALSO = "bench", "bench-also"
PORTS = {"slipway": 8090, "by hand": 8091, "pyinfra": 8092, "ansible-core": 8093, "slipway, the other": 8094}
PORTS |= {"ansible-core + mitogen": 8095, "fabric": 8096}
KEPT = 2 * len(PORTS) + 2  # artifacts: two rounds, at least


@dataclass
class Place:
    """Hosts and files of a run.

    Args:
        lab, hosts: the application hosts.
        work: artifacts, inventories.
        relay: before the hosts.
        invoke: Slipway's command.
        peers: programs of bench/.venv; None to do without.
        also: another checkout of Slipway.
        count: artifacts made so far; each has a version of its own.
        warm: megabytes of what each contender has deployed here last.
    """

    lab: Lab
    hosts: tuple[HostSpec, ...]
    work: Path
    relay: Uplink
    invoke: str
    peers: Path | None
    also: Path | None
    count: int = 0
    warm: dict[str, float] = field(default_factory=dict)

    def next_version(self) -> str:
        """A version that no artifact has had."""
        self.count += 1
        return f"{self.count}.0.0"

    def artifact(self, version: str) -> Path:
        """Where a version's artifact is."""
        return self.work / f"{APP}-{version}.tar.zst"

    def make(self, content: Content) -> Path:
        """Write an artifact. What was deployed before stays, as it does in a person's folder: Slipway looks for it."""
        path = self.artifact(content.version)
        write(content, path)
        self.artifact(f"{self.count - KEPT}.0.0").unlink(missing_ok=True)
        return path

    def addresses(self) -> list[str]:
        """The relay's address of each host."""
        return [door(self.lab, host) for host in self.hosts]


def door(lab: Lab, host: HostSpec) -> str:
    """The relay's own loopback address for a host; with one of its own each, every contender can keep port 22."""
    return f"127.83.{lab.subnet}.{host.address.rpartition('.')[2]}"


@contextmanager
def place(name: str, count: int, work: Path, *, peers: Path | None = None, also: Path | None = None) -> Iterator[Place]:
    """Bring a lab up with a relay before its hosts, and take both down at the end, come what may."""
    work.mkdir()
    try:
        lab, specs = lab_up.up(name, hosts=count)
        hosts = tuple(host for host in specs if host.role == "app")[:count]
        with uplink({host.name: (door(lab, host), host.address) for host in hosts}) as relay:
            here = Place(lab, hosts, work, relay, str(PROJECT / ".venv/bin/invoke"), peers, also)
            write_ssh(here)
            yield here
    finally:
        lab_up.down(name)


def write_ssh(here: Place) -> None:
    """What each contender needs to know of hosts: keys behind the relay's addresses, and how to log in."""
    folder, work = here.lab.folder, here.work
    known = []
    for host in here.hosts:
        key = (folder / "ssh/hosts" / f"{host.name}.pub").read_text().split()
        known.append(f"{door(here.lab, host)} {key[0]} {key[1]}\n")
    (work / "known_hosts").write_text("".join(known))
    (work / "ssh_config").write_text(
        f"Host *\n  User deploy\n  IdentityFile {folder}/ssh/id_ed25519\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {work}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
    told = {
        "ssh_user": "deploy",
        "ssh_key": f"{folder}/ssh/id_ed25519",
        "ssh_known_hosts_file": f"{work}/known_hosts",
        "ssh_strict_host_key_checking": "yes",
    }
    (work / "pyinfra_inventory.py").write_text(f"hosts = ({here.addresses()!r}, {told!r})\n")
    connection = f"[ssh_connection]\npipelining = True\ncontrol_path_dir = {work}/cp\n"
    (work / "ansible.cfg").write_text(f"[defaults]\n{connection}")
    if here.peers:
        strategy = next(here.peers.parent.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
        chosen = f"[defaults]\nstrategy = mitogen_linear\nstrategy_plugins = {strategy}\n"
        (work / "mitogen.cfg").write_text(chosen + connection)


def inventory(here: Place, app: str, port: int, *, hosts: int | None = None, slipway: Sequence[str] = ()) -> Path:
    """Write an inventory for Slipway and Ansible, and provision its hosts.

    Args:
        here: the place.
        app, port: the application, and where it answers.
        hosts: only so many.
        slipway: how another checkout is run, to provision with it.
    """
    env = here.work / f"inventory-{app}"
    (env / "group_vars").mkdir(parents=True)
    chosen = here.hosts[:hosts]
    document = {
        "all": {
            "vars": {
                "ansible_user": "deploy",
                "ansible_ssh_private_key_file": f"{here.lab.folder}/ssh/id_ed25519",
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={here.work}/known_hosts",
                "ansible_become": True,
                "lab_dir": str(here.lab.folder),
            },
            "children": {
                "app": {"hosts": {host.name: {"ansible_host": door(here.lab, host)} for host in chosen}},
            },
        }
    }
    (env / "hosts.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    (env / "group_vars/all.yml").write_text(
        f"""slipway_app: {app}
slipway_hosts: app
slipway_user: www-data
slipway_artifact: {here.work}/{APP}-{{version}}.tar.zst
slipway_services:
  - {{name: {app}, unit: {{Service: {{ExecStart: /opt/{app}/current/bin/run {port}}}}}}}
slipway_health:
  checks: [{{type: http, name: version, url: "http://127.0.0.1:{port}/VERSION"}}]
slipway_secrets: {{restic_password: {{file: "{{{{ lab_dir }}}}/secrets/restic_password"}}}}
"""
    )
    words = [*(slipway or [here.invoke]), "provision", f"--env={env}"]
    done = subprocess.run(words, cwd=PROJECT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"provision ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return env


def require_running(hosts: Sequence[HostSpec], port: int, wanted: str) -> None:
    """Ask every host from outside what it runs: a contender that did not deploy is not quick, it is wrong."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for host in hosts:
        with ask.open(f"http://{host.address}:{port}/VERSION", timeout=10) as answer:
            found = answer.read().decode().strip()
        if found != wanted:
            raise SystemExit(f"{host.name}:{port} runs {found}, expected {wanted}")


def tell(line: str) -> None:
    """Progress, for a person."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
