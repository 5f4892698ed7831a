"""What an artifact has beyond a release that the hosts already hold, so that no more than that is sent.

zstd makes it once for the fleet (``--patch-from``, zstd(1)). What it is made against are the old artifact's files, one
after another: the hosts have them in the release, so nothing is kept there for this alone. Should a host's release not
be what it was, the checksum of the whole tells, and that host is sent all of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from playbooks.artifact import FORMATS, Artifact, local_artifacts
from playbooks.environment import Environment
from playbooks.settings import Settings
from playbooks.steps.facts import Facts
from playbooks.steps.stage import Delta

# Below, the round trips cost more than the bytes.
SMALLEST = 4 * 1024 * 1024
LARGEST = 1024 * 1024 * 1024  # zstd wants about three times as much memory as the archive has
PROGRAMS = {"zstd": ["zstd", "-dcq"], "gzip": ["gzip", "-dc"], "xz": ["xz", "-dc"], "none": ["cat"]}
CHUNK = 1024 * 1024


@contextlib.contextmanager
def make_delta(env: Environment, artifact: Artifact, facts: Mapping[str, Facts]) -> Iterator[Delta | None]:
    """Make what is to be sent to hosts that hold another release; its file is gone at the end.

    Args:
        env: says where artifacts are.
        artifact: the new one.
        facts: of the hosts.

    Yields:
        None where the old artifact is not here any more, or where sending all of the new one is as good.
    """
    if artifact.path is None or not env.settings.deltas or not SMALLEST <= artifact.size <= LARGEST:
        yield None
        return
    old = _old_artifact(env, artifact, facts)
    if old is None or not all(shutil.which(PROGRAMS[one.compression][0]) for one in (old, artifact)):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="slipway-delta-") as folder:
        made = None
        # No room here, or an archive that Python cannot read: all of it goes out, as ever.
        with contextlib.suppress(OSError, tarfile.TarError, subprocess.SubprocessError):
            made = _make(Path(folder), env, old, artifact)
        yield made


def release_to_add_to(delta: Delta, facts: Facts, settings: Settings) -> str | None:
    """The release on a host that a delta can be added to; None if it has none, or too little memory or disk for it."""
    if facts.memory_free * 1024 < 2 * (delta.base_bytes + delta.archive_bytes):
        return None
    free = min((disk.free for disk in facts.disks if disk.path == settings.home), default=0)
    if free * 1024 < 2 * (delta.base_bytes + 2 * delta.archive_bytes):
        return None
    whole = [release for release in facts.releases.values() if release.stand != "partial"]
    return next((release.id for release in whole if release.about.get("sha256") == delta.base), None)


def _make(folder: Path, env: Environment, old: Artifact, new: Artifact) -> Delta | None:
    base, archive, path = folder / "base", folder / "archive", folder / "delta"
    names = _put_together(old, base, _changed_on_hosts(env))
    sha256 = _decompress(new, archive)
    largest = max(base.stat().st_size, archive.stat().st_size)
    if not names or largest > LARGEST:
        return None
    window = max(27, largest.bit_length())
    words = ["zstd", "-1", "-q", "-T0", f"--long={window}", f"--patch-from={base}", str(archive), "-o", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    if path.stat().st_size > new.size // 2:
        return None
    listed = "".join(f"{name}\n" for name in names).encode()
    return Delta(old.sha256, old.version, listed, path, sha256, base.stat().st_size, archive.stat().st_size)


def _put_together(old: Artifact, base: Path, left_out: frozenset[str]) -> list[str]:
    """Write an artifact's files one after another; returns their names."""
    names: dict[str, None] = {}
    with _opened(old) as stream, tarfile.open(fileobj=stream, mode="r|") as tar, base.open("wb") as out:
        for member in tar:
            name = str(PurePosixPath(member.name))
            content = tar.extractfile(member) if member.isreg() else None
            parts = [name, *map(str, PurePosixPath(name).parents)]
            if content is None or "\n" in name or name.startswith(("/", "..")) or left_out.intersection(parts):
                continue
            if name in names:
                raise tarfile.TarError(f"{name} is there twice")
            names[name] = None
            shutil.copyfileobj(content, out, CHUNK)
    return list(names)


def _changed_on_hosts(env: Environment) -> frozenset[str]:
    """What lies over the artifact's own files in a release."""
    return frozenset(
        name
        for target in env.targets
        for name in (
            *(config.dest for config in target.settings.config),
            *target.settings.shared,
            *target.settings.writable,
        )
    )


def _decompress(artifact: Artifact, to: Path) -> str:
    digest = hashlib.sha256()
    with _opened(artifact) as stream, to.open("wb") as out:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(artifact: Artifact) -> Iterator[IO[bytes]]:
    words = [*PROGRAMS[artifact.compression]]
    with (
        Path(artifact.path or "").open("rb") as file,
        subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield process.stdout
        # What follows an archive's end is of no use, and its writer must not wait for a reader.
        while process.stdout.read(CHUNK):
            pass
        if process.wait() != 0:
            raise OSError(f"{words[0]} cannot read {artifact.path}")


def _old_artifact(env: Environment, new: Artifact, facts: Mapping[str, Facts]) -> Artifact | None:
    """The artifact that most hosts run, if it is here."""
    running = Counter(
        (str(fact.running.about.get("sha256")), fact.running.version, str(fact.running.about.get("artifact")))
        for fact in facts.values()
        if fact.running
    )
    for (sha256, version, source), _ in running.most_common(2):
        if sha256 == new.sha256:
            continue
        for path in local_artifacts(env, version, source):
            found = _artifact(path, version, sha256)
            if found is not None:
                return found
    return None


def _artifact(path: Path, version: str, sha256: str) -> Artifact | None:
    compression = next((kind for ending, kind in FORMATS.items() if path.name.endswith(ending)), None)
    if compression is None or not path.is_file():
        return None
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return None
    return Artifact(version, str(path), path, compression, sha256, path.stat().st_size)
