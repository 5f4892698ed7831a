"""A program of the application's user on a lab host, started and stopped with a task."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.network import ssh
from lab.spec import HostSpec, Lab

PROGRAMS = Path(__file__).with_name("on_host")
ON_HOST = "/usr/local/lib/attacks"
SECONDS = 30


@dataclass
class Report:
    """What an attacker did and got; empty until it has been stopped.

    Args:
        seed: with it, it makes the same choices.
        flips: names exchanged; an attack without any proves nothing.
        counts: of all it did, by kind.
        attacked: folders that it could write to.
        stolen: files with a mark of root's that it could read.
        owned: files of a release that were root's when it wrote into them.
    """

    seed: int
    flips: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    attacked: list[str] = field(default_factory=list)
    stolen: list[str] = field(default_factory=list)
    owned: list[str] = field(default_factory=list)


def install(lab: Lab, host: HostSpec) -> None:
    """Put the programs on a host, where they are root's."""
    tar = subprocess.run(
        ["tar", "-C", str(PROGRAMS), "--owner=root:0", "--group=root:0", "--mode=u=rw,go=r,a+X", "-c", "."],
        capture_output=True,
        check=True,
    )
    words = f"sudo sh -c 'mkdir -p {ON_HOST} && tar -x -C {ON_HOST}'"
    subprocess.run([*ssh(lab, host), words], input=tar.stdout, check=True, capture_output=True)


@contextmanager
def attack(
    lab: Lab,
    host: HostSpec,
    user: str,
    *,
    places: Sequence[str],
    looks: Sequence[str],
    targets: Sequence[str],
    kinds: Sequence[str] = (),
    paces: Sequence[str] = (),
    spared: Sequence[str] = (),
    seed: int = 1,
    program: str = "flipper",
    may_be_lost: bool = False,
) -> Iterator[Report]:
    """Let a user attack a host while something goes on there. `install` the programs before.

    It ends with its connection, so none is left behind when a test is killed.

    Args:
        lab, host: where.
        user: as whom.
        places, looks, targets, kinds, paces, spared: see on_host/flipper.py.
        seed: of its choices.
        program: flipper or wrecker; see on_host.
        may_be_lost: whether the host may go down meanwhile, and what the attacker did with it.

    Raises:
        AssertionError: it does not start, or does not say what it did.
    """
    wanted = {
        "places": list(places),
        "looks": list(looks),
        "targets": list(targets),
        "kinds": list(kinds),
        "paces": list(paces),
        "spared": list(spared),
        "seed": seed,
    }
    words = f"python3 {ON_HOST}/{program}.py {shlex.quote(json.dumps(wanted))}"
    unit = f"attack-{user}"
    started = f"sudo systemd-run --quiet --pipe --wait --collect --unit={unit} --uid={user} -- {words}"
    running = subprocess.Popen(
        [*ssh(lab, host), started],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    report = Report(seed)
    assert running.stdout is not None
    try:
        ready = running.stdout.readline()
        assert ready == "ready\n", f"the attacker does not start: {ready}{running.communicate()[1]}"
        yield report
        out, err = running.communicate(timeout=SECONDS)
        assert may_be_lost or running.returncode == 0, f"the attacker ended with {running.returncode}: {err}"
        if running.returncode == 0:
            vars(report).update(json.loads(out))
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
