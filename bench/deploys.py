"""Deploys by all contenders in turn: at several round trips, of several sizes, and of an artifact changed a little."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench import artifacts, contenders, meter
from bench.artifacts import Content
from bench.place import PORTS, Place, require_running, tell

ROUND_TRIPS = (0, 50, 150)  # ms
UPLINK = 100  # Mbit/s
CHANGED = 0.01
Row = dict[str, list[float]]


def turn(here: Place, name: str, version: str) -> dict[str, float]:
    """One deploy by one contender, from cold: hosts quiet, nothing connected, nothing left to write."""
    meter.wait_until_quiet(here.lab, here.hosts)
    hosts, sent = meter.hosts_usage(here.lab, here.hosts), here.relay.count()["up"]
    cost = contenders.run(here, name, version)
    require_running(here.hosts, PORTS[name], version)
    contenders.end_masters(here)
    sent = here.relay.count()["up"] - sent
    after = meter.wait_until_quiet(here.lab, here.hosts)
    used = meter.hosts_usage(here.lab, here.hosts) - hosts
    tell(f"  {name}: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s, hosts' CPU {used:.1f} s, quiet after {after:.1f} s")
    return {"wall": cost.wall, "cpu": cost.cpu, "hosts_cpu": used, "sent": sent}


def warm_up(here: Place, names: Sequence[str], *, megabytes: float, files: int) -> None:
    """The first deploy has nothing to back up, the second makes the backup repository, and one of another size backs up
    the old size: none of them is measured."""
    here.relay.set()
    for name in names:
        if here.warm.get(name) == megabytes:
            continue
        for _ in range(2 if name.startswith("slipway") and name not in here.warm else 1):
            version = here.next_version()
            here.make(artifacts.fresh(version, megabytes=megabytes, files=files))
            contenders.run(here, name, version)
        here.warm[name] = megabytes
        tell(f"  {name}: warm")


def full(here: Place, *, round_trip: int, megabytes: float, files: int, rounds: int) -> dict[str, Any]:
    """A table: every contender deploys artifacts that have nothing in common with what is there.

    Args:
        here: the place.
        round_trip: milliseconds.
        megabytes, files: of the artifact.
        rounds: how often, in turn.
    """
    names = [name for name in contenders.names(here) if megabytes == 1 or name not in contenders.SMALL_ONLY]
    tell(f"{megabytes:g} MB, {round_trip} ms")
    warm_up(here, names, megabytes=megabytes, files=files)
    here.relay.set(round_trip=round_trip / 1000)
    figures = here.relay.measure().as_dict()
    rows: dict[str, Row] = {}
    for number in range(rounds):
        for name in names:
            if number and is_slow(name, round_trip=round_trip, megabytes=megabytes):
                continue
            version = here.next_version()
            here.make(artifacts.fresh(version, megabytes=megabytes, files=files))
            add(rows, name, turn(here, name, version))
    size = {"megabytes": megabytes, "files": files, "hosts": len(here.hosts)}
    return {"round_trip": round_trip, "rate": 0, **size, "relay": figures, "rows": rows}


def is_slow(name: str, *, round_trip: int, megabytes: float) -> bool:
    """Whether one round of a contender is enough: it takes half a minute, and no goal is about it."""
    return name.startswith("ansible-core") and (name, round_trip, megabytes) != ("ansible-core", 50, 1)


def changed(here: Place, *, megabytes: float, files: int, rounds: int) -> dict[str, Any]:
    """A table: an artifact of which 1 % changed, over a shared uplink, by hand (once) and by Slipway."""
    tell(f"{megabytes:g} MB, {CHANGED:.0%} of it changed, {UPLINK} Mbit/s")
    warm_up(here, [name for name in contenders.HANDS if name not in here.warm], megabytes=1, files=20)
    here.relay.set()
    content = artifacts.fresh(here.next_version(), megabytes=megabytes, files=files)
    here.make(content)
    for name in contenders.HANDS:
        contenders.run(here, name, content.version)
        here.warm[name] = megabytes
        tell(f"  {name}: warm")
    here.relay.set(rate=UPLINK)
    figures = here.relay.measure().as_dict()
    rows: dict[str, Row] = {}
    kinds: list[tuple[str, Callable[[Content, str], Content]]] = [
        ("files", partial(artifacts.rewrite_files, share=CHANGED)),
        ("ranges", partial(artifacts.rewrite_ranges, share=CHANGED)),
    ]
    size = 0.0
    for number in range(rounds):
        for kind, change in kinds:
            content = change(content, here.next_version())
            size = here.make(content).stat().st_size
            if number == 0 and kind == "files":
                add(rows, "by hand", turn(here, "by hand", content.version))
            add(rows, f"slipway, {kind}", turn(here, "slipway", content.version))
    about = {"megabytes": megabytes, "files": files, "hosts": len(here.hosts), "size": size}
    return {"round_trip": 0, "rate": UPLINK, **about, "relay": figures, "rows": rows}


def nothing_to_do(here: Place, *, rounds: int) -> dict[str, Any]:
    """A deploy of what runs already."""
    warm_up(here, ["slipway"], megabytes=here.warm.get("slipway", 1), files=20)
    here.relay.set()
    version = here.next_version()
    here.make(artifacts.fresh(version, megabytes=1, files=20))
    contenders.run(here, "slipway", version)
    wall = []
    for _ in range(rounds):
        meter.wait_until_quiet(here.lab, here.hosts)
        wall.append(contenders.run(here, "slipway", version).wall)
    tell(f"nothing to do: {statistics.median(wall):.2f} s")
    return {"hosts": len(here.hosts), "wall": wall}


def add(rows: dict[str, Row], name: str, found: dict[str, float]) -> None:
    """One more turn in a contender's row."""
    row = rows.setdefault(name, {})
    for key, value in found.items():
        row.setdefault(key, []).append(value)
