"""Read a tar archive from a pipe in a process of its own (core/confined.py): its members, or some files' content.

Python's ``tarfile`` keeps headers, sparse maps and members in memory, and some kilobytes can unpack to gigabytes of
them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, NoReturn, Self

from playbooks.core.confined import Limits

# A million members take two minutes and half of the memory.
LIMITS = Limits(seconds=300, waiting=900, memory=1 << 30, answer=256 << 20)
MAX_UNPACKED = 64 << 30  # bytes: hosts, which see how much room they have, judge a larger archive
MAX_HEADER = 1 << 20  # bytes; a name has at most 4096
MAX_CONTENT = 4 << 20  # bytes of all files whose content is asked for, as hosts send
_CHUNK = 1 << 20
_IN_MEMORY = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class PlainMember(tarfile.TarInfo):
    """A member whose headers are short, and that is not sparse. Of others Python keeps in memory what they say."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read the block with which a member begins.

        Raises:
            tarfile.ReadError: what follows it would be kept in memory, and is too long, or as long as it likes.
        """
        found = super().frombuf(buf, encoding, errors)
        if found.type == tarfile.GNUTYPE_SPARSE or (found.type in _IN_MEMORY and found.size > MAX_HEADER):
            raise tarfile.ReadError("a header that is too long, or a sparse file")
        return found

    def _refuse(self, *_: object) -> NoReturn:
        raise tarfile.ReadError("a sparse file")

    # The map of a sparse file is as long as the archive says: of this form it is in the file's own data.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


class _Counted:
    """A pipe that ends the reading where the archive is too large."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._left = MAX_UNPACKED

    def read(self, size: int) -> bytes:
        found = self._source.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise OSError("the archive is too large")
        return found


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Return an archive's members one by one, and keep none of them.

    Raises:
        tarfile.TarError: the archive cannot be read.
    """
    while (member := tar.next()) is not None:
        yield member
        tar.members = []  # type: ignore[attr-defined]


def plain(name: str) -> str:
    """Return a member's path without parts that have no meaning."""
    return str(PurePosixPath(name))


def answer(folders: Sequence[str], source: IO[bytes], out: IO[str]) -> None:
    """Read an archive to its end, and write one line about it.

    Args:
        folders: paths whose SQL files are wanted, with their content; without any all members' modes are wanted.
        source: the archive.
        out: gets ``{path: mode}``, of links -1; or ``{folder: {name: content in base64}}``; null if only tar can
            read it.
    """
    pipe = _Counted(source)
    told: object
    try:
        with tarfile.open(fileobj=pipe, mode="r|", tarinfo=PlainMember) as tar:  # type: ignore[call-overload]
            told = _content(tar, folders) if folders else _modes(tar)
    except (tarfile.TarError, OSError, ValueError):
        told = None
    with contextlib.suppress(OSError):
        while pipe.read(_CHUNK):  # to the end, so that closing early does not change the decompressor's status
            pass
    json.dump(told, out)
    out.write("\n")


def _modes(tar: tarfile.TarFile) -> dict[str, int]:
    return {plain(member.name): member.mode if member.isreg() else -1 for member in members(tar) if not member.isdir()}


def _content(tar: tarfile.TarFile, folders: Sequence[str]) -> dict[str, dict[str, str]] | None:
    found: dict[str, dict[str, str]] = {folder: {} for folder in folders}
    left = MAX_CONTENT
    for member in members(tar):
        folder, _, name = plain(member.name).rpartition("/")
        if folder not in found or not name.endswith(".sql"):
            continue
        content = tar.extractfile(member) if member.isreg() else None
        # A link is read on the host, and so is more than hosts send.
        if content is None or member.size > left:
            return None
        left -= member.size
        found[folder][name] = base64.b64encode(content.read()).decode()
    return found
