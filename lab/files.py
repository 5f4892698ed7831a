"""Files and mounts that survive a kill: a file is whole or absent, and nothing is deleted through a mount."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.shell import run, say
from playbooks.core.errors import SlipwayError


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file by rename, if it does not say so already: a reader, or the next run, never finds half of it."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    coming = path.with_name(f".{path.name}.new")
    coming.unlink(missing_ok=True)
    coming.touch(mode=mode)
    coming.write_text(text)
    coming.replace(path)


def make_key(path: Path, comment: str) -> None:
    """Make an SSH key pair; the private half comes last, so that where it is the public one is too."""
    if path.exists():
        return
    coming = path.with_name(f"{path.name}.new")
    for half in (coming, Path(f"{coming}.pub")):
        half.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(coming)])
    Path(f"{coming}.pub").replace(f"{path}.pub")
    coming.replace(path)


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted at a folder or below it, the innermost first."""
    places = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [place for place in reversed(places) if place == folder or folder in place.parents]


def remove_tree(folder: Path) -> None:
    """Unmount all there is below a folder, then delete it.

    Raises:
        SlipwayError: it can't be deleted.
    """
    for place in mounts_below(folder):
        try:
            run(["umount", str(place)])
        except SlipwayError:
            say(f"{place} is in use, by a process that this lab did not start; unmounted all the same")
            run(["umount", "--lazy", str(place)])
    if not os.path.lexists(folder):
        return
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise SlipwayError(f"cannot remove {folder}: {error.strerror} ({error.filename})", hint="do it again") from None
