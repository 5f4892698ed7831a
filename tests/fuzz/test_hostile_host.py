"""A hostile host among honest ones: the real tasks end in time, with a sentence, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
import pytest
import yaml

from playbooks.core.errors import BadAnswer
from playbooks.fleet.remote_shell import LONGEST_NOTE, MAX_NOTES, RemoteShell, ShellRequest
from tests.fuzz import hostile_host as hosts

PROJECT = Path(__file__).resolve().parent.parent.parent
MAX_MEMORY = 500 * 1024  # kilobytes; an honest run takes about 70 MB
MAX_SECONDS = 150.0  # facts have 60 s; the machine may be busy

QUICK = ("garbage", "closes", "steers", "lies", "forges")
ANSWERING = {"lies", "forges"}  # what they say can be read, in part
SLOW = (
    "no_status",
    "endless",
    "endless_records",
    "crowded",
    "endless_progress",
    "never",
    "drips",
    "endless_banner",
    "silent_port",
)
AT_LOCK = ("drips_at_lock", "mute_at_lock")


@dataclass(frozen=True)
class Ran:
    """A finished task."""

    status: int
    out: str
    err: str
    kilobytes: int


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An inventory of one honest host and every kind of hostile one, all of them listening."""
    folder = tmp_path_factory.mktemp("hostile")
    key = paramiko.ECDSAKey.generate()
    with contextlib.ExitStack() as stack:
        ports = {
            name: stack.enter_context(hosts.ssh_host(getattr(hosts, name), key))
            for name in ("honest", *QUICK, *SLOW[:-2], *AT_LOCK)
        }
        ports |= {name: stack.enter_context(hosts.listening(getattr(hosts, name))) for name in SLOW[-2:]}
        _write(folder, ports, key)
        yield folder


def _write(folder: Path, ports: dict[str, int], key: paramiko.PKey) -> None:
    (folder / "known_hosts").write_text(
        "".join(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n" for port in ports.values())
    )
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "root",
        "ansible_password": "not-a-secret",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder}/known_hosts",
        "slipway_app": "fuzzed-shop",
        "slipway_backup": {"enabled": False},
        "slipway_timeouts": {"connect": "5s", "command": "10s", "total": "60s"},
    }
    data = {"all": {"hosts": {name: {"ansible_port": port} for name, port in ports.items()}, "vars": variables}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(data))


def _invoke(inventory: Path, names: tuple[str, ...], *words: str, only: bool = False) -> Ran:
    """Run a task against the honest host and these, or these only; its memory is what the system counted."""
    limit = ",".join(names if only else ("honest", *names))
    command = [".venv/bin/invoke", *words, f"--env={inventory}/hosts.yml", f"--limit={limit}"]
    out, err = (inventory / f"{stream}-{words[0]}-{limit}" for stream in ("out", "err"))
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        deadline = time.monotonic() + MAX_SECONDS
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"{words} did not end; it said {err.read_text()[-2000:]}")
            time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(process.returncode, out.read_text(), err.read_text(), usage.ru_maxrss)


def _assert_calm(ran: Ran) -> None:
    """What holds for every task, whatever hosts do."""
    for text in (ran.out, ran.err):
        raw = sorted({sign for sign in text if (ord(sign) < 32 and sign != "\n") or 127 <= ord(sign) < 160})
        assert not raw, "it reached the terminal as it was"
        assert "Traceback" not in text
        assert "fault in Slipway" not in text
    assert ran.kilobytes < MAX_MEMORY


def _by_host(answer: Any) -> dict[str, Any]:
    return {line["host"]: line for line in answer["hosts"]}


@pytest.mark.parametrize("names", [QUICK, SLOW], ids=["quick", "slow"])
def test_status_tells_every_host_by_itself(inventory: Path, names: tuple[str, ...]) -> None:
    """Fails if one host's nonsense, flood or silence ends the look at the others, or never ends."""
    ran = _invoke(inventory, names, "status", "--json")
    _assert_calm(ran)
    assert ran.status == 3
    lines = _by_host(json.loads(ran.out))
    assert lines["honest"]["health"] == "nothing deployed"
    for name in set(names) - ANSWERING:
        assert lines[name]["health"] == "unreachable", name
        assert lines[name]["detail"], name
    if "forges" in names:
        assert lines["forges"]["health"] == "nothing deployed"
        assert lines["forges"]["interrupted"] is None
        assert len(lines["forges"]["warnings"]) == 9, lines["forges"]


def test_nothing_that_a_host_says_steers_the_terminal(inventory: Path) -> None:
    """Fails if an escape sequence in a sentence, a version or a check's name comes out as it went in."""
    ran = _invoke(inventory, QUICK, "status")
    _assert_calm(ran)
    assert "evil" in ran.out + ran.err, "the host's words are shown, harmless"
    assert "\u202e" not in ran.out + ran.err


def test_health_and_check_end_with_a_sentence(inventory: Path) -> None:
    """Fails if a host that lies can end a task in a fault of ours, or hide the honest host."""
    health = _invoke(inventory, QUICK, "health", "--json")
    _assert_calm(health)
    assert health.status == 3
    answer = json.loads(health.out)
    assert set(answer["nothing_deployed"]) == {"honest", "forges"}
    assert set(answer["unreachable"]) >= set(QUICK) - ANSWERING
    artifact = inventory / "shop-1.tar.gz"
    program = "import sys, tarfile; tarfile.open(sys.argv[1], 'w:gz').add(sys.argv[2], 'f')"
    subprocess.run([sys.executable, "-c", program, artifact, inventory / "hosts.yml"], check=True)
    check = _invoke(inventory, QUICK, "deploy", f"--artifact={artifact}", "--version=1", "--check")
    _assert_calm(check)
    assert check.status not in (0, -9)
    assert "garbage" in check.err


def test_a_deploy_beside_a_host_that_forges_is_what_it_would_be_without(inventory: Path) -> None:
    """Fails if lies that fit no pattern end the plan for the others, name its release, or are not told."""
    artifact = inventory / "shop-3.tar.gz"
    program = "import sys, tarfile; tarfile.open(sys.argv[1], 'w:gz').add(sys.argv[2], 'f')"
    subprocess.run([sys.executable, "-c", program, artifact, inventory / "hosts.yml"], check=True)
    words = ("deploy", f"--artifact={artifact}", "--version=3", "--check", "--json")
    alone, beside = _invoke(inventory, (), *words), _invoke(inventory, ("forges",), *words)
    _assert_calm(beside)
    plans = [_by_host(json.loads(ran.out))["honest"] for ran in (alone, beside)]
    actions = [[re.sub(r"\d{8}T\d{6}Z", "STAMP", action) for action in plan["actions"]] for plan in plans]
    assert actions[0] == actions[1]
    assert "99991231" not in str(plans)
    assert "forges: its report about an interrupted task is invalid" in beside.err


def test_a_lock_that_is_never_answered_is_given_up(inventory: Path) -> None:
    """Fails if a host can hold a deploy for ever by answering a byte at a time, or by never ending the answer."""
    artifact = inventory / "shop-2.tar.gz"
    program = "import sys, tarfile; tarfile.open(sys.argv[1], 'w:gz').add(sys.argv[2], 'f')"
    subprocess.run([sys.executable, "-c", program, artifact, inventory / "hosts.yml"], check=True)

    def deploy(name: str) -> Ran:
        return _invoke(inventory, (name,), "deploy", f"--artifact={artifact}", "--version=2", "--yes", only=True)

    with ThreadPoolExecutor() as pool:
        for name, ran in zip(AT_LOCK, pool.map(deploy, AT_LOCK), strict=True):
            _assert_calm(ran)
            assert ran.status == 1
            assert name in ran.err


@pytest.mark.parametrize("name", ["endless_progress", "endless_message"])
def test_messages_without_end_are_not_told_without_end(name: str) -> None:
    """Fails if a host can fill the log of a CI, or the disk that it is on, with what it tells while a step runs."""
    key = paramiko.ECDSAKey.generate()
    told: list[str] = []
    with hosts.ssh_host(getattr(hosts, name), key) as port, contextlib.closing(paramiko.SSHClient()) as client:
        client.get_host_keys().add(f"[127.0.0.1]:{port}", key.get_name(), key)
        client.connect("127.0.0.1", port, "root", "x", allow_agent=False, look_for_keys=False)
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command("sh")
        line = RemoteShell("app1", channel)
        began = time.process_time()
        with pytest.raises(BadAnswer, match="messages without end"):
            line.receive(ShellRequest("facts", b""), time.monotonic() + 120, told.append)
    assert time.process_time() - began < 60, "paramiko's own share of it, and the host's, included"
    assert len(told) <= MAX_NOTES + 1
    assert max(map(len, told), default=0) <= LONGEST_NOTE + 1
    if name == "endless_progress":
        assert re.fullmatch(r"… and \d{6,} more lines", told[-1])
