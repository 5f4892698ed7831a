"""Write files and remove trees safely: a kill leaves no partial file, and no deletion follows a mount."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.shell import run, say
from playbooks.core.errors import SlipwayError


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file by rename, if its content differs, so that no reader finds a partial file."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    coming = path.with_name(f".{path.name}.new")
    coming.unlink(missing_ok=True)
    coming.touch(mode=mode)
    coming.write_text(text)
    coming.replace(path)


def make_key(path: Path, comment: str) -> None:
    """Make an SSH key pair. The private key is written last, so that its presence means both exist."""
    if path.exists():
        return
    coming = path.with_name(f"{path.name}.new")
    for half in (coming, Path(f"{coming}.pub")):
        half.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(coming)])
    Path(f"{coming}.pub").replace(f"{path}.pub")
    coming.replace(path)


def mounts_below(folder: Path) -> list[Path]:
    """Return the mounts at or below a folder, the innermost first."""
    places = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [place for place in reversed(places) if place == folder or folder in place.parents]


def remove_tree(folder: Path) -> None:
    """Unmount everything below a folder, and then delete the folder.

    Raises:
        SlipwayError: the folder cannot be deleted.
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
