"""The random attacker: a program of the application's user that does anything to anything in its reach.

It renames, links, unlinks, empties and replaces what is there, makes FIFOs, sockets, links that look like devices, and
names that no script expects, and takes rights away. It repairs nothing. The seed decides what it does.

Usage: python3 wrecker.py JSON, as flipper.py; runs until its standard input ends
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
from marks import files, is_marked  # type: ignore[import-not-found,unused-ignore]
from reach import Reach, bind, entries, exchange, is_over, remove  # type: ignore[import-not-found,unused-ignore]

MAX_FOLDERS, MAX_ENTRIES = 40, 40
EACH_SCAN = 40
# Such as no script expects, and such as scripts use themselves.
ODD = ("-rf", "--", "two words", "new\nline", "tab\there", "$(id)", "`id`", "*", "\\", "'", '"', "\udcff", "x" * 255)
NAMES = (*ODD, "a", "b", "current", "releases", ".slipway", "manifest", "notes.db", "notes.db-wal")
MODES = (0o000, 0o111, 0o444, 0o600, 0o700, 0o755, 0o777)
DEVICES = ("/dev/zero", "/dev/full", "/dev/random", "/dev/stdin", "/proc/self/fd/0")


class Wrecker:
    """Works until it is told to stop.

    Args:
        wanted: see the usage.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.reach = Reach(wanted["places"], MAX_FOLDERS)
        self.looks: list[str] = wanted["looks"]
        self.targets: list[str] = wanted["targets"]
        self.random = random.Random(wanted["seed"])  # noqa: S311 - to be had again
        self.counts: Counter[str] = Counter()
        self.stolen: set[str] = set()
        self.acts: list[Callable[[int, str], None]] = [
            *([self._exchange] * 6),
            *([self._link] * 4),
            self._rename,
            self._hard_link,
            self._fifo,
            self._socket,
            self._device,
            self._folder,
            self._remove,
            self._write,
            self._rights,
        ]

    def run(self) -> None:
        """Do one thing after the other."""
        print("ready", flush=True)
        while not is_over():
            self.reach.scan()
            for look in self.looks:
                self.stolen |= {file.path for file in files(look) if is_marked(file.path)}
            for _ in range(EACH_SCAN):
                self._act()
                time.sleep(self.random.choice((0.0, 0.0, 0.0002, 0.002, 0.01)))

    def report(self) -> dict[str, Any]:
        """What it did, and what it got."""
        return {
            "flips": self.counts.total() - self.counts["refused"],
            "counts": dict(self.counts),
            "attacked": sorted(self.reach.seen),
            "stolen": sorted(self.stolen),
        }

    def _act(self) -> None:
        if not self.reach.folders:
            return
        folder = self.random.choice(list(self.reach.folders))
        there = [name for name, _ in entries(folder)]
        act = self._remove if len(there) > MAX_ENTRIES else self.random.choice(self.acts)
        name = self.random.choice(there) if there and self.random.random() < 0.7 else self.random.choice(NAMES)
        try:
            act(folder, name)
        except OSError:
            self.counts["refused"] += 1
        else:
            self.counts[act.__name__.strip("_")] += 1

    def _any(self, folder: int) -> str:
        there = [name for name, _ in entries(folder)]
        return str(self.random.choice([*there, self.random.choice(NAMES)]))

    def _exchange(self, folder: int, name: str) -> None:
        exchange(folder, name, self._any(folder))

    def _rename(self, folder: int, name: str) -> None:
        to = self.random.choice(list(self.reach.folders))
        os.rename(name, self._any(to), src_dir_fd=folder, dst_dir_fd=to)

    def _link(self, folder: int, name: str) -> None:
        target = self.random.choice(self.targets)
        remove(folder, name)
        os.symlink(self.random.choice((target, f"{target}/{self._any(folder)}", "..", ".", name)), name, dir_fd=folder)

    def _hard_link(self, folder: int, name: str) -> None:
        other = self._any(folder)
        remove(folder, other)
        os.link(name, other, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def _fifo(self, folder: int, name: str) -> None:
        remove(folder, name)
        os.mkfifo(name, dir_fd=folder)

    def _socket(self, folder: int, name: str) -> None:
        remove(folder, name)
        bind(folder, name)

    def _device(self, folder: int, name: str) -> None:
        remove(folder, name)
        os.symlink(self.random.choice(DEVICES), name, dir_fd=folder)

    def _folder(self, folder: int, name: str) -> None:
        os.mkdir(name, dir_fd=folder)

    def _remove(self, folder: int, name: str) -> None:
        remove(folder, name)

    def _write(self, folder: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | self.random.choice((0, os.O_TRUNC))
        opened = os.open(name, flags, 0o644, dir_fd=folder)
        with os.fdopen(opened, "wb", buffering=0) as file:
            file.write(self.random.randbytes(self.random.randrange(2000)))
        os.utime(name, (0, self.random.choice((0, 1, 253402300799))), dir_fd=folder, follow_symlinks=False)

    def _rights(self, folder: int, name: str) -> None:
        opened = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.fchmod(opened, self.random.choice(MODES))
        finally:
            os.close(opened)


def main() -> None:
    """Attack until standard input ends."""
    wrecker = Wrecker(json.loads(sys.argv[1]))
    wrecker.run()
    print(json.dumps(wrecker.report()), flush=True)


if __name__ == "__main__":
    main()
