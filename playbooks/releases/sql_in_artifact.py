"""Read SQL files out of a local artifact, so that a mistake in them is known before any host is reached."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Sequence
from typing import IO, cast

from playbooks.core.artifact import Artifact
from playbooks.core.confined import ask
from playbooks.releases import tar_reading
from playbooks.releases.members import PROGRAMS


def sql_in_artifact(artifact: Artifact, folders: Sequence[str]) -> dict[str, dict[str, bytes]] | None:
    """Return the content of the SQL files directly in each folder, by folder and name.

    Args:
        artifact: the artifact.
        folders: paths in the release.

    Returns:
        None if only a host can read it: it is fetched by hosts, or the program that decompresses it is missing, or it
        is damaged, which staging reports.
    """
    if not folders:
        return {}
    program = PROGRAMS[artifact.compression]
    if artifact.path is None or not shutil.which(program[0]):
        return None
    with (
        artifact.path.open("rb") as source,
        subprocess.Popen(program, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running,
    ):
        answered = ask(tar_reading.__name__, tar_reading.LIMITS, cast(IO[bytes], running.stdout), folders)
    if not answered.whole or answered.lines[0] is None:
        return None
    return {
        folder: {name: base64.b64decode(content) for name, content in files.items()}
        for folder, files in answered.lines[0].items()
    }
