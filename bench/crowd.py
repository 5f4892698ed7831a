"""Up to 500 sshd without hosts behind them, to see how the controller's cost grows with the fleet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench import meter
from bench.place import BENCH, PROJECT, tell
from lab.base import ALONE, base_tree, require_machine
from lab.files import make_key

DOORS = 16  # addresses that one sshd listens on at the most
CONFIG = """Port 22
{addresses}
HostKey /etc/crowd/host_key
PidFile /run/crowd-{number}.pid
AuthorizedKeysFile /etc/crowd/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 1000
MaxSessions 100
LogLevel ERROR
"""


@dataclass(frozen=True)
class Crowd:
    """Running sshd processes.

    Args:
        addresses: one a pretended host.
        folder: keys and inventories.
    """

    addresses: tuple[str, ...]
    folder: Path


def address(number: int) -> str:
    """The loopback address of one."""
    return f"127.84.{number // 250}.{number % 250 + 1}"


@contextmanager
def crowd(folder: Path, count: int) -> Iterator[Crowd]:
    """Start sshd processes, and end them with the block."""
    require_machine()
    base = base_tree()
    folder.mkdir()
    (folder / "layer").mkdir()
    for name in ("host_key", "key"):
        make_key(folder / name, "slipway-bench")
    (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
    addresses = tuple(address(number) for number in range(count))
    for number, at in enumerate(range(0, count, DOORS)):
        listen = "\n".join(f"ListenAddress {one}" for one in addresses[at : at + DOORS])
        (folder / f"sshd_config.{number:03}").write_text(CONFIG.format(addresses=listen, number=number))
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text("".join(f"{one} {public}\n" for one in addresses))
    lonely = [*ALONE, "--mount", str(BENCH / "crowd.sh"), str(base), str(folder)]
    with subprocess.Popen(lonely, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout  # noqa: S101
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the sshd processes do not start; see above")
            yield Crowd(addresses, folder)
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def environment(them: Crowd, count: int) -> Path:
    """An inventory of so many of them."""
    env = them.folder / f"inventory-{count}"
    (env / "group_vars").mkdir(parents=True)
    hosts = {f"host{number + 1:03}": {"ansible_host": one} for number, one in enumerate(them.addresses[:count])}
    told = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": f"{them.folder}/key",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={them.folder}/known_hosts",
        "ansible_become": False,
    }
    document = {"all": {"vars": told, "children": {"app": {"hosts": hosts}}}}
    (env / "hosts.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    settings = {"slipway_app": "crowd", "slipway_hosts": "app", "slipway_backup": {"enabled": False}}
    (env / "group_vars/all.yml").write_text(yaml.safe_dump(settings))
    return env


def growth(invoke: str, work: Path, counts: list[int], *, rounds: int) -> list[dict[str, Any]]:
    """What `status` costs the controller with so many sshd: it connects to every one and asks one question."""
    found = []
    with crowd(work, max(counts)) as them:
        for count in counts:
            words = [invoke, "status", f"--env={environment(them, count)}", "--json"]
            row: dict[str, Any] = {"hosts": count, "wall": [], "cpu": [], "memory": []}
            for _ in range(rounds):
                cost = meter.run(words, cwd=PROJECT, look_at_memory=False, ok=None)
                require_all(cost.output, count)
                row["wall"].append(cost.wall)
                row["cpu"].append(cost.cpu)
            row["memory"].append(meter.run(words, cwd=PROJECT, look_at_memory=True, ok=None).memory)
            found.append(row)
            tell(f"  {count} sshd: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s, {row['memory'][0]:.0f} MB")
    return found


def require_all(output: str, count: int) -> None:
    """Every one must have answered: a host that was given up costs little."""
    start = output.find("{\n")
    try:
        hosts = json.JSONDecoder().raw_decode(output[max(start, 0) :])[0]["hosts"]
    except (ValueError, KeyError):
        raise SystemExit(f"status gave no document:\n{output[-2000:]}") from None
    answered = [host for host in hosts if host["health"] != "unreachable"]
    if len(answered) != count:
        raise SystemExit(f"{len(answered)} of {count} sshd answered:\n{json.dumps(hosts[:2])}")
