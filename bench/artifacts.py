"""Artifacts of incompressible files and a web service that answers its version; and the same with 1 % of it changed."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Content:
    """What is in an artifact.

    Args:
        version: what the service answers.
        files: the bytes of each.
    """

    version: str
    files: tuple[bytes, ...]


def fresh(version: str, *, megabytes: float, files: int) -> Content:
    """An artifact that has nothing in common with any other."""
    noise = random.Random(version)  # noqa: S311 - the same bytes each time are wanted
    return Content(version, tuple(noise.randbytes(int(megabytes * MEGABYTE) // files) for _ in range(files)))


def rewrite_files(content: Content, version: str, *, share: float) -> Content:
    """The next version, with a share of its files new."""
    noise = random.Random(version)  # noqa: S311
    files = list(content.files)
    for index in noise.sample(range(len(files)), max(1, round(share * len(files)))):
        files[index] = noise.randbytes(len(files[index]))
    return Content(version, tuple(files))


def rewrite_ranges(content: Content, version: str, *, share: float) -> Content:
    """The next version, with a range in every file new: databases, jars and binaries change like that."""
    noise = random.Random(version)  # noqa: S311
    files = []
    for data in content.files:
        size = max(1, round(share * len(data)))
        at = noise.randrange(len(data) - size + 1)
        files.append(data[:at] + noise.randbytes(size) + data[at + size :])
    return replace(content, version=version, files=tuple(files))


def write(content: Content, path: Path) -> None:
    """As a tar.zst; times are all the same, so that what did not change is the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, data: bytes, mode: int = 0o644) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))

        add("VERSION", f"{content.version}\n".encode())
        add("bin/run", b'#!/bin/sh\nexec python3 -m http.server "$1"\n', 0o755)
        for index, data in enumerate(content.files):
            add(f"data/{index:04}", data)
    subprocess.run(["zstd", "-q", "-f", "-o", path], input=buffer.getvalue(), check=True)
