"""Stage a release beside the running one, without changing the running one (A1, A3)."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from playbooks.core import names
from playbooks.core.artifact import Release
from playbooks.core.errors import StepFailed
from playbooks.core.names import cut
from playbooks.core.step_codes import StepCode
from playbooks.fleet.remote import Remote
from playbooks.fleet.remote_shell import Note, Stream
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.steps.fetch import fetch_order

CHUNK = 256 * 1024
Sent = Callable[[int, float, float], None]
# The last member of the archive. If it is missing, the upload was cut; else the archive was damaged before.
WHOLE = b"whole\n"

# Hints for an artifact that is not an archive, or that is too large to unpack.
COMPRESS_AGAIN = "compress it again without --long, or with --long=27 at the most"
BUILD_AGAIN = "the artifact itself is damaged: build it again"

HINTS = {
    StepCode.CHECKSUM: "the artifact changed or was damaged on its way; build or fetch it again and deploy again",
    StepCode.DAMAGED_ARCHIVE: BUILD_AGAIN,
    StepCode.HOSTILE_ARCHIVE: "build the artifact without it",
    StepCode.HOSTILE_LINK: "build the artifact, or have the hook make it, without that link; or name another path "
    "there",
    StepCode.KEPT_ATTRIBUTE: "see slipway_keep and slipway_capabilities, or build the artifact without it",
    StepCode.UNDECLARED_CAPABILITIES: "slipway_keep: [capabilities] keeps the former, [xattrs] those called user.…; or "
    "build the artifact without them, and give the unit its capabilities by AmbientCapabilities=",
    StepCode.UNDECLARED_ACL: "slipway_keep: [acls] keeps it; or build the artifact without it",
    StepCode.LARGE_WINDOW: COMPRESS_AGAIN,
    StepCode.NO_SPACE: "make room on the host (old backups, logs), or lower slipway_keep_releases; then deploy again",
    StepCode.NO_INODES: "remove files on the host (what takes most: du --inodes -x / | sort -n | tail), then deploy "
    "again",
    StepCode.NO_USER: "invoke provision --env=… makes the user",
    StepCode.BAD_UNIT: "correct slipway_services or its template; try it with --check",
    StepCode.UNIT_PATH: "name a place whose folders are root's alone; of a log, the journal, which invoke logs shows",
    StepCode.UNIT_TAKEN: "name the service differently in slipway_services; or, if nobody needs {unit} there, move it "
    "away",
    StepCode.FETCH: "can the host reach it? Try curl there; then deploy again: what has come is not fetched twice",
    StepCode.FETCH_REFUSED: "deploy again, it is signed anew; else see slipway_pull, and the controller's clock",
    StepCode.FETCH_GONE: "is the artifact still where slipway_artifact, or --artifact, says?",
    StepCode.FETCH_TLS: "the host must trust the server's certificate: see its name, its dates and who signed it",
    StepCode.HOOK: "install hooks run as the user that builds releases: the release, $HOME and $TMPDIR can be "
    "written, shared "
    "folders cannot be read, and sudo does not work; for more there are before_switch, or user: root",
}


@dataclass(frozen=True)
class Staged:
    """A complete release on a host.

    Args:
        files: the number of files in the artifact.
        kilobytes: the disk space that the artifact takes.
        warnings: sentences for a person.
    """

    files: int
    kilobytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delta:
    """A delta between two artifacts; see `playbooks.releases.delta`.

    Args:
        base: the old artifact's SHA-256.
        version: the old artifact's version.
        lists: the lists of unchanged files, of changed files, and of every file's checksum (see stage.sh).
        path: the file that zstd made.
        sha256: the SHA-256 of the uncompressed archive of files that are not the same.
        base_bytes, archive_bytes: the size of the changed files' old contents, and of that archive.
        all_bytes: the size of all files in the new artifact.
    """

    base: str
    version: str
    lists: bytes
    path: Path
    sha256: str
    base_bytes: int
    archive_bytes: int
    all_bytes: int

    @property
    def size(self) -> int:
        """Return the number of bytes to send, without the lists."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class Patch:
    """A delta to send instead of the whole artifact.

    Args:
        delta: the delta.
        base: the release on this host that the delta is applied to.
    """

    delta: Delta
    base: str


def stage(
    remote: Remote,
    settings: Settings,
    release: Release,
    plan: bytes,
    *,
    first: bool,
    patch: Patch | None = None,
    note: Note | None = None,
    sent: Sent | None = None,
    into: str | None = None,
) -> Staged:
    """Upload or fetch the artifact, check and unpack it, add configuration and units, run install hooks.

    Args:
        remote: the host.
        settings: its settings.
        release: the release.
        plan: from `playbooks.releases.render.pack`.
        first: whether hooks with `once` run on this host.
        patch: the delta to send. If its base has changed, the step sends the whole artifact.
        note: called with each progress message.
        sent: called with the number of bytes sent, and the start and end by the monotonic clock.
        into: a drill's root directory, in which the release is to be tried; nothing of it stays in the application's
            folder.

    Raises:
        StepFailed: staging failed; no part of the release is left on the host.
    """
    artifact = release.artifact
    head, body, size, sha256 = plan, artifact.path, artifact.size, artifact.sha256
    if patch is not None:
        delta = patch.delta
        head, body, size, sha256 = plan + delta.lists, delta.path, delta.size, delta.sha256
        if note:
            beyond = "" if delta.base == artifact.sha256 else f" beyond {delta.version}"
            note(f"sending what it has not{beyond}: {size / 1e6:.1f} of {artifact.size / 1e6:.1f} MB")
    elif artifact.store is not None:
        head = plan + fetch_order(artifact.store.request(), settings.pull)
    values = {
        "app": settings.app,
        "home": settings.home,
        "id": release.id,
        "user": settings.run_user,
        "build_user": settings.build_user,
        "plan_bytes": str(len(plan)),
        "format": artifact.compression,
        "sha256": sha256,
        "artifact_bytes": str(size),
        "url": artifact.url or "",
        "first": "first" if first else "-",
        "base": patch.base if patch else "-",
        "lists_bytes": str(len(patch.delta.lists)) if patch else "0",
        "root": into or "-",
    }
    hooks = sum(hook.timeout for hook in settings.hooks.install)
    fetching = settings.pull.timeout if artifact.url else 0
    try:
        answer = remote.run(
            "stage",
            values=values,
            payload=Stream(len(head) + (size + len(WHOLE) if body else 0), partial(_payload, head, body, sent)),
            acts=True,
            timeout=settings.timeouts.command + hooks + fetching,
            note=note,
        )
    except StepFailed as error:
        if patch is not None and error.code == StepCode.NO_BASE:
            if note:
                note(f"{error.message}; sending all of the artifact")
            return stage(remote, settings, release, plan, first=first, note=note, sent=sent, into=into)
        error.hint = error.hint or _hint(error)
        raise
    files, kilobytes = answer.one("staged", 2)
    return Staged(answer.number(files), answer.number(kilobytes), tuple(_warnings(answer, settings.run_user)))


def _warnings(answer: StepResult, user: str) -> Iterator[str]:
    for link, place in answer.all("shared_gone", 2):
        yield f"{cut(link)} leads to {cut(place)}, which is not there; is it mounted?"
    for link, place in answer.all("shared_closed", 2):
        yield (
            f"{user} cannot write to {cut(place)}, which {cut(link)} leads to; "
            f"if it has to, run there: chown {user}: {shlex.quote(cut(place))}"
        )


def _hint(error: StepFailed) -> str | None:
    unit = names.UNIT.search(error.message)
    told = HINTS.get(error.code)
    return told.replace("{unit}", unit[0] if unit else "NAME") if told else None


def _payload(head: bytes, artifact: Path | None, sent: Sent | None) -> Iterator[bytes]:
    yield head
    if artifact is None:
        return
    began, size = time.monotonic(), 0
    with artifact.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            size += len(chunk)
    if sent is not None:
        sent(size, began, time.monotonic())
    yield WHOLE
