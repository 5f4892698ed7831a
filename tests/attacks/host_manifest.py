"""Everything that is on a lab host, and what has become of it since.

A host's file system is an overlay: its upper layer, a folder of this machine, holds every path of the host that is not
as in the base tree, which is read-only for it. The kernel records each change there: owner, mode, extended attributes,
content, a new name, a removed one. So what is not in the upper layer has not changed. All of it is read; nothing is
remembered from the time before, so a change that leaves size and date as they were is seen as well. The file systems in
memory (/run, /tmp, /dev …) are read whole, through the host's first process. Nothing runs on the host.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.spec import HostSpec, Lab

# File systems that are the kernel's own, and those that come and go with them.
_KERNELS = {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "hugetlbfs", "ramfs"}
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True)
class Entry:
    """One path.

    Args:
        kind: file, folder, link, fifo, socket, device, mount or absent.
        uid, gid, mode: whose it is; the mode is the permissions alone.
        content: of a file its SHA-256, of a link its target, of a device its numbers, of a mount what is mounted.
        attributes: extended ones, such as capabilities and access lists.
    """

    kind: str
    uid: int = 0
    gid: int = 0
    mode: int = 0
    content: str = ""
    attributes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind in ("absent", "mount"):
            return f"{self.kind} {self.content}".strip()
        told = f"{self.kind} {self.uid}:{self.gid} {self.mode:04o} {ascii(self.content[:60])[1:-1]}".strip()
        return " ".join([told, *self.attributes])


ABSENT = Entry("absent")


@dataclass(frozen=True)
class Change:
    """A path that is not what it was."""

    path: str
    before: Entry
    after: Entry

    def __str__(self) -> str:
        return f"{ascii(self.path)[1:-1]}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Manifest:
    """A host at one moment.

    Args:
        entries: what is in the upper layer and in memory, by path.
        base: the tree below.
        memory: where file systems in memory are mounted.
    """

    entries: dict[str, Entry]
    base: Path
    memory: tuple[str, ...]

    def at(self, path: str) -> Entry:
        """What a path is, wherever that is recorded."""
        found = self.entries.get(path)
        if found:
            return found
        if path.startswith("mount:") or any(path.startswith(f"{place}/") for place in self.memory):
            return ABSENT
        # A folder that took the place of another one hides what the base has there.
        for folder in Path(path).parents:
            above = self.entries.get(str(folder))
            if above and (above.kind != "folder" or _OPAQUE in above.attributes):
                return ABSENT
        return _of_base(self.base, path)

    def changes(self, since: Manifest) -> list[Change]:
        """Every path that is not what it was.

        Args:
            since: the manifest of before.
        """
        paths = sorted(self.entries.keys() | since.entries.keys())
        pairs = ((path, since.at(path), self.at(path)) for path in paths)
        return [Change(path, before, after) for path, before, after in pairs if before != after]


def take(lab: Lab, host: HostSpec) -> Manifest:
    """Read a host; what is being changed meanwhile may be told as before or after."""
    folder = lab.folder / "hosts" / host.name
    base = Path((folder / "prepared").read_text().strip())
    first = Path("/proc") / str(_first_process(int((folder / "pid").read_text().split()[0])))
    entries: dict[str, Entry] = {}
    memory = []
    for point, source, kind in _mounts(first):
        below = entries.get(f"mount:{point}", ABSENT).content  # one mount may hide another
        entries[f"mount:{point}"] = Entry("mount", content=f"{below} {kind} {source}".strip())
        if kind == "tmpfs" and not point.startswith(("/sys", "/proc", "/run/host")):
            memory.append(point)
    with _opened(folder / "upper") as top:
        entries.update(_walk(top, ""))
    for point in memory:
        with _opened(first / "root" / point.lstrip("/")) as top:
            entries.update(_walk(top, point))
    return Manifest(_without_opaque_news(entries, base), base, tuple(memory))


def _without_opaque_news(entries: dict[str, Entry], base: Path) -> dict[str, Entry]:
    """Every new folder is opaque for overlayfs. It says something only where the base has a folder of that name."""
    for path, entry in entries.items():
        if _OPAQUE in entry.attributes and not (base / path.lstrip("/")).is_dir():
            kept = tuple(one for one in entry.attributes if one != _OPAQUE)
            entries[path] = Entry(entry.kind, entry.uid, entry.gid, entry.mode, entry.content, kept)
    return entries


def _first_process(keeper: int) -> int:
    """The number that a host's process 1 has on this machine."""
    todo = [keeper]
    while todo:
        process = Path("/proc") / str(todo.pop())
        status = (process / "status").read_text()
        if len(status.partition("NSpid:")[2].split("\n", 1)[0].split()) == 2:
            return int(process.name)
        todo += [
            int(child) for task in (process / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    raise RuntimeError(f"process {keeper} keeps no host")


def _mounts(first: Path) -> list[tuple[str, str, str]]:
    """Mount point, source and kind of the host's mounts (proc(5), mountinfo)."""
    found = []
    for line in (first / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        words, (kind, source, *_) = left.split(), right.split()
        if kind not in _KERNELS and not words[4].startswith("/proc/"):
            found.append((words[4], f"{source} {words[3]}", kind))
    return found


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield opened
    finally:
        os.close(opened)


def _walk(folder: int, path: str) -> Iterator[tuple[str, Entry]]:
    """By descriptors and without following a link: on the host somebody may be renaming."""
    device = os.fstat(folder).st_dev
    for name in os.listdir(folder):
        try:
            seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            entry = _entry(folder, name, seen)
        except OSError:
            continue  # Gone since.
        yield f"{path}/{name}", entry
        if entry.kind != "folder" or seen.st_dev != device:
            continue
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _walk(inner, f"{path}/{name}")
        finally:
            os.close(inner)


def _entry(folder: int, name: str, seen: os.stat_result) -> Entry:
    kind = _KINDS[stat.S_IFMT(seen.st_mode)]
    if kind == "device" and stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:
        return ABSENT  # overlayfs's mark of a name that was removed
    content = ""
    if kind == "file":
        content = _sum(folder, name)
    elif kind == "link":
        content = os.readlink(name, dir_fd=folder)
    elif kind == "device":
        content = f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
    mode = 0 if kind == "link" else stat.S_IMODE(seen.st_mode)
    return Entry(kind, seen.st_uid, seen.st_gid, mode, content, _attributes(folder, name))


def _sum(folder: int, name: str) -> str:
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with open(opened, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()


def _attributes(folder: int, name: str) -> tuple[str, ...]:
    path = f"/proc/self/fd/{folder}/{name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    return tuple(
        one if one == _OPAQUE else f"{one}={os.getxattr(path, one, follow_symlinks=False).hex()}"
        for one in sorted(names)
        if one == _OPAQUE or not one.startswith("trusted.overlay.")
    )


def _of_base(base: Path, path: str) -> Entry:
    place = base / path.lstrip("/")
    try:
        with _opened(place.parent) as folder:
            return _entry(folder, place.name, os.stat(place.name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return ABSENT
