"""Read SQL files out of a local artifact, so that a mistake in them is known before any host is reached."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from typing import IO, cast

from playbooks.core.artifact import Artifact
from playbooks.releases.members import PROGRAMS, PlainMember, plain
from playbooks.steps.migrations import MAX_BYTES


def sql_in_artifact(artifact: Artifact, folders: Sequence[str]) -> dict[str, dict[str, bytes]] | None:
    """Return the content of the SQL files directly in each folder, by folder and name.

    Args:
        artifact: the artifact.
        folders: paths in the release.

    Returns:
        None if only a host can read it: it is fetched by hosts, or the program that decompresses it is missing, or it
        is damaged, which staging reports.
    """
    program = PROGRAMS[artifact.compression]
    if artifact.path is None or not shutil.which(program[0]):
        return None
    found: dict[str, dict[str, bytes]] = {folder: {} for folder in folders}
    left = MAX_BYTES
    with (
        artifact.path.open("rb") as source,
        subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running,
    ):
        out = cast(IO[bytes], running.stdout)
        try:
            with tarfile.open(fileobj=out, mode="r|", tarinfo=PlainMember) as tar:
                for member in tar:
                    folder, _, name = plain(member.name).rpartition("/")
                    if folder not in found or not name.endswith(".sql"):
                        continue
                    content = tar.extractfile(member) if member.isreg() else None
                    # A link is read on the host, and so is more than hosts send.
                    if content is None or member.size > left:
                        return None
                    left -= member.size
                    found[folder][name] = content.read()
        except (tarfile.TarError, OSError, ValueError):
            return None
        finally:
            out.close()
    return found
