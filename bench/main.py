"""Slipway beside its peers, on real hosts: prints goals and tables, and draws the plots of docs/performance.md.

Root, Debian 12; see docs/lab.md. Everything goes through a relay on loopback (bench/relay.py) that gives the lab a
network: a round trip, and an uplink. Results are kept in bench/results, so that --again shows them without measuring.

--also runs another checkout of Slipway in turn with this one: what a change costs, in one run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import crowd, deploys, fleet, judgement, meter, startup, tables
from bench.place import BENCH, PROJECT, Place, place, tell
from lab.base import base_tree, require_machine

SMALL, LARGE, CROWD = ("latency", "full", "changed", "startup"), ("rollback", "fanout"), ("sshd",)
BEGIN, END = "<!-- results: bench/run --page -->", "<!-- end of results -->"
SCENARIOS = (*SMALL, *LARGE, *CROWD)
JUDGEMENT = "judgement"  # a simulation: it needs no host, and says nothing of this machine


def main() -> int:
    """Measure, or show what was measured; returns the exit status."""
    options = read_options()
    results: dict[str, Any]
    if options.again:
        results = json.loads(options.again.read_text())
        show(results, options.again, options)
        return 0
    if options.only == [JUDGEMENT]:
        simulate(options)
        return 0
    peers = None if options.without_peers else install_peers()
    folder = BENCH / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.json"
    results = {"machine": machine(peers), "options": sys.argv[1:]}
    begun = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        for name, value in measure(options, work, peers):
            results[name] = value
            results["machine"]["minutes"] = (time.monotonic() - begun) / 60
            path.write_text(json.dumps(results, indent=1))
    finally:
        meter.remove_groups()
        shutil.rmtree(work, ignore_errors=True)
    show(results, path, options)
    return 0


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", type=words, default=list(SCENARIOS), metavar="A,B", help=f"{','.join(SCENARIOS)}; or {JUDGEMENT}")
    add("--rounds", type=int, default=3, help="how often each is measured, in turn (default: 3)")
    add("--hosts", type=int, default=8, help="hosts of latency, full, changed and startup (default: 8)")
    add("--megabytes", type=int, default=20, help="artifact of full (default: 20)")
    add("--files", type=int, default=400, help="files in the artifacts of full and changed (default: 400)")
    add("--changed-megabytes", type=int, default=200, help="artifact of changed (default: 200)")
    add("--back", type=int, default=20, help="hosts of rollback (default: 20)")
    add("--fan-out", type=numbers, default=[10, 50], metavar="N,N", help="hosts of fanout (default: 10,50)")
    add("--sshd", type=numbers, default=[10, 50, 100, 200, 500], metavar="N,N", help="sizes (default: 10,…,500)")
    add("--also", type=lambda text: Path(text).resolve(), metavar="CHECKOUT", help="another checkout of Slipway")
    add("--without-peers", action="store_true", help="only by hand and Slipway")
    add("--again", type=Path, metavar="RESULTS", help="show these results, and measure nothing")
    add("--plots", type=Path, default=PROJECT / "docs/plots", help="where plots go (default: docs/plots)")
    page = PROJECT / "docs/performance.md"
    add("--page", type=Path, nargs="?", const=page, help="put the tables into this page (docs/performance.md)")
    add("--scale", type=float, default=1.0, help="of judgement: how many runs, as a multiple (default: 1, two minutes)")
    add("--labs", type=words, default=["bench", "bench-fleet"], help="names of the two labs")
    options = parser.parse_args()
    if unknown := set(options.only) - {*SCENARIOS, *([JUDGEMENT] * (len(options.only) == 1))}:
        parser.error(f"--only: there is no scenario {', '.join(sorted(unknown))}")
    return options


def words(text: str) -> list[str]:
    """A list on the command line."""
    return text.split(",")


def numbers(text: str) -> list[int]:
    """A list of numbers there, in order."""
    return sorted(map(int, text.split(",")))


def measure(options: argparse.Namespace, work: Path, peers: Path | None) -> Any:  # noqa: ANN401 - a generator of results
    """Run the scenarios; yields each one's name and results."""
    if chosen := [name for name in SMALL if name in options.only]:
        with place(options.labs[0], options.hosts, work / "small", peers=peers, also=options.also) as here:
            yield from small(here, options, chosen)
    if chosen := [name for name in LARGE if name in options.only]:
        count = max([options.back] * ("rollback" in chosen) + options.fan_out * ("fanout" in chosen))
        with place(options.labs[1], count, work / "large") as here:
            if "rollback" in chosen:
                tell(f"rollback, {options.back} hosts")
                yield "rollback", fleet.rollback(here, options.back, rounds=options.rounds)
            if "fanout" in chosen:
                tell("fan-out")
                yield "fan_out", fleet.fan_out(here, options.fan_out, rounds=options.rounds)
    if "sshd" in options.only:
        tell("sshd without hosts")
        invoke = str(PROJECT / ".venv/bin/invoke")
        yield "crowd", crowd.growth(invoke, work / "crowd", options.sshd, rounds=options.rounds)


def small(here: Place, options: argparse.Namespace, chosen: list[str]) -> Any:  # noqa: ANN401
    """The scenarios on a few hosts."""
    for trip in (0, 50, 150):
        here.relay.set(round_trip=trip / 1000)
        found = here.relay.measure()
        tell(
            f"relay: {trip} ms asked, {1000 * found.round_trip:.2f} measured, connecting {1000 * found.connect:.2f} ms"
        )
    here.relay.set(rate=deploys.UPLINK)
    tell(f"relay: {deploys.UPLINK} Mbit/s asked, {here.relay.measure().rate:.1f} measured")
    found_tables = []
    if "latency" in chosen:
        for trip in deploys.ROUND_TRIPS:
            found_tables.append(deploys.full(here, round_trip=trip, megabytes=1, files=20, rounds=options.rounds))
            yield "full", found_tables
        yield "nothing", deploys.nothing_to_do(here, rounds=options.rounds)
    if "full" in chosen:
        size = {"megabytes": options.megabytes, "files": options.files}
        found_tables.append(deploys.full(here, round_trip=0, rounds=options.rounds, **size))
        yield "full", found_tables
    if "startup" in chosen:
        yield "startup", startup.startup(here, rounds=options.rounds)
    if "changed" in chosen:
        size = {"megabytes": options.changed_megabytes, "files": options.files}
        yield "changed", deploys.changed(here, rounds=max(1, options.rounds - 1), **size)


def simulate(options: argparse.Namespace) -> None:
    """Judgement, by simulation."""
    if not options.without_peers:
        install_peers()
    folder = BENCH / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.json"
    path.write_text(json.dumps({JUDGEMENT: judgement.simulate(options.scale, tell)}, indent=1))
    show(json.loads(path.read_text()), path, options)


def install_peers() -> Path:
    """The peers, and what draws the plots, in a virtual environment of their own; returns its programs."""
    venv, wanted = BENCH / ".venv", BENCH / "requirements.txt"
    stamp = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not (venv / "stamp").exists() or (venv / "stamp").read_text() != stamp:
        tell("installing the peers into bench/.venv")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"--requirement={wanted}"], check=True)
        (venv / "stamp").write_text(stamp)
    return venv / "bin"


def machine(peers: Path | None) -> dict[str, Any]:
    """Where and with what this was measured."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    own = [name for name in pinned(PROJECT) if name.startswith(("paramiko", "fabric", "invoke"))]
    theirs = [name for name in pinned(BENCH) if not name.startswith("matplotlib")] if peers else []
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.split(",")[0].split()[0]
    commit = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--tags"]
    slipway = subprocess.run(commit, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return {
        "cores": os.cpu_count(),
        "model": next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?"),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "kernel": platform.release().partition("-")[0],
        "load": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "minutes": 0.0,
        "versions": [
            f"Slipway {slipway}",
            f"Python {platform.python_version()}",
            *dict.fromkeys([*own, *theirs]),
            ssh,
            *hosts_versions(),
        ],
    }


def write_page(page: Path, text: str) -> None:
    """Put the tables between the marks of a page.

    Raises:
        SystemExit: it has no such marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} needs the lines '{BEGIN}' and '{END}'")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def pinned(folder: Path) -> list[str]:
    """Packages and versions of a requirements file."""
    lines = (folder / "requirements.txt").read_text().splitlines()
    return [line.partition(" ")[0].replace("==", " ") for line in lines if "==" in line and not line.startswith("#")]


def hosts_versions() -> list[str]:
    """What hosts run, asked of the base tree that they stand on."""
    require_machine()
    asked = {"restic": ["restic", "version"], "zstd": ["zstd", "-q", "-V"], "systemd": ["systemctl", "--version"]}
    found = []
    for name, command in asked.items():
        said = subprocess.run(["chroot", str(base_tree()), *command], capture_output=True, text=True, check=True).stdout
        number = next((word for word in said.replace("v", "").split() if word[0].isdigit()), "?")
        found.append(f"{name} {number}")
    return found


def show(results: dict[str, Any], path: Path, options: argparse.Namespace) -> None:
    """Print the tables and draw the plots, from a file of results."""
    text = judgement.text(results[JUDGEMENT]) if JUDGEMENT in results else tables.text(results)
    sys.stdout.write(text)
    sys.stdout.flush()
    if options.page:
        write_page(options.page, text)
    python = BENCH / ".venv/bin/python"
    if not (BENCH / ".venv/stamp").exists():
        tell("plots are drawn when the peers are installed: leave out --without-peers")
        return
    draw = [str(python), "-m", "bench.plots", str(path.resolve()), str(options.plots.resolve())]
    subprocess.run(draw, cwd=PROJECT, check=True, stdout=2)
