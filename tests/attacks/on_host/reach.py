"""What the user who runs this can write to, by descriptors: a folder whose name is changed is still the same."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import stat

EXCHANGE = 2  # RENAME_EXCHANGE, linux/fs.h
DEEPEST = 8
_libc = ctypes.CDLL(None, use_errno=True)


def is_over() -> bool:
    """Whether standard input has ended: whoever started us wants us to stop, or is gone."""
    return bool(select.select([0], [], [], 0)[0])


def exchange(folder: int, one: str, other: str) -> bool:
    """Exchange two names of a folder by one system call, so that neither is missing at any moment."""
    return bool(_libc.renameat2(folder, os.fsencode(one), folder, os.fsencode(other), EXCHANGE) == 0)


def bind(folder: int, name: str) -> None:
    """Make a socket.

    Raises:
        OSError: it cannot be made.
    """
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{name}")


def remove(folder: int, name: str) -> None:
    """Remove a name, whatever it is; a folder, if it is empty."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)


def entries(folder: int) -> list[tuple[str, bool]]:
    """Names in an open folder, and whether each is a folder itself, in their order."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    return []


class Reach:
    """Folders that can be written to.

    Args:
        places: below these.
        most: how many folders at the most.
    """

    def __init__(self, places: list[str], most: int) -> None:
        self.places, self.most = places, most
        self.folders: dict[int, str] = {}
        self.seen: set[str] = set()

    def scan(self) -> None:
        """Look anew; the descriptors of before are closed."""
        for opened in self.folders:
            os.close(opened)
        self.folders.clear()
        for place in self.places:
            self._enter(place, 0)

    def _enter(self, path: str, depth: int) -> None:
        if depth > DEEPEST or len(self.folders) >= self.most:
            return
        try:
            opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return
        inner = [name for name, is_folder in entries(opened) if is_folder]
        if os.access(path, os.W_OK):
            self.folders[opened] = path
            self.seen.add(path)
        else:
            os.close(opened)
        for name in inner:
            self._enter(f"{path}/{name}", depth + 1)
