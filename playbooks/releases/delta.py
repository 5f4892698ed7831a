"""Make the delta between an artifact and a release that hosts already have, and send only that.

The host reuses unchanged files. For the others zstd makes a patch against the old contents
(``--patch-from``, zstd(1)), once for the fleet. Hosts store nothing extra for this. If a host's release is not
what it was, its checksums differ, and that host gets the whole artifact.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from playbooks.core.artifact import Artifact
from playbooks.environments.environment import Environment
from playbooks.releases.find_artifact import compression_of, file_sha256, local_artifacts
from playbooks.releases.members import PROGRAMS
from playbooks.releases.pace import Pace, Stopwatch, making, pays
from playbooks.releases.tar_reading import PlainMember, members, plain
from playbooks.settings import Settings
from playbooks.steps.facts import Facts
from playbooks.steps.stage import Delta

# For smaller artifacts the round trips cost more than the bytes.
SMALLEST = 4 * 1024 * 1024
LARGEST = 1024 * 1024 * 1024  # zstd needs about three times the archive's size in memory
# Of an archive that is larger hosts get all of it. Some kilobytes can unpack to any size.
MAX_UNPACKED = 4 * LARGEST
MAX_MEMBERS = 1_000_000
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class _File:
    sha256: str
    mode: int
    size: int
    # The archive's attributes besides the mode.
    more: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Told:
    """Progress and timing while deltas are made.

    Args:
        pace: this machine's pace.
        watch: the stopwatch.
        say: shows a person a sentence.
    """

    pace: Pace
    watch: Stopwatch
    say: Callable[[str], None]


@contextlib.contextmanager
def make_deltas(
    env: Environment, artifact: Artifact, facts: Mapping[str, Facts], told: Told
) -> Iterator[tuple[Delta, ...]]:
    """Make deltas for hosts that have this artifact or another one already, and remove them at the end.

    Args:
        env: the environment, which says where artifacts are.
        artifact: the new artifact.
        facts: the facts of the hosts that will get it.
        told: the progress and timing.

    Yields:
        The deltas, the smallest first; none if sending the whole artifact is as fast.
    """
    with contextlib.ExitStack() as until_sent:
        made: list[Delta] = []
        for old in _bases(env, artifact, facts, told):
            equal = old.sha256 == artifact.sha256
            told.say(
                f"{artifact.version} is there already: only what is rendered for it is sent"
                if equal
                else f"comparing {artifact.version} with {old.version}, so that only the difference is sent"
            )
            began = time.monotonic()
            # Without disk space, or with an archive that Python cannot read, hosts get the whole artifact.
            unreadable = (OSError, tarfile.TarError, subprocess.SubprocessError, ValueError, RecursionError)
            with contextlib.suppress(*unreadable):
                folder = tempfile.TemporaryDirectory(prefix="slipway-delta-", ignore_cleanup_errors=True)
                with told.watch.making(artifact.size) if not equal else contextlib.nullcontext():
                    delta = _make(Path(until_sent.enter_context(folder)), env, old, artifact)
                if delta is not None:
                    made.append(delta)
            if not equal:
                told.say(_what_came(artifact, made, time.monotonic() - began))
        yield tuple(made)


def _what_came(artifact: Artifact, made: Sequence[Delta], seconds: float) -> str:
    to_send = f"{made[-1].size / 1e6:.1f} of {artifact.size / 1e6:.1f} MB are sent" if made else "all of it is sent"
    return f"compared in {seconds:.1f} s: {to_send}"


def _bases(env: Environment, artifact: Artifact, facts: Mapping[str, Facts], told: Told) -> Iterator[Artifact]:
    """Find base artifacts: the same one, if a host has it, and the one that most others run, if a delta saves time."""
    size = artifact.size
    if artifact.path is None or not env.settings.deltas or size < SMALLEST:
        return
    if not shutil.which("zstd") or not shutil.which(PROGRAMS[artifact.compression][0]):
        return
    others = {host: fact for host, fact in facts.items() if _with(fact, artifact.sha256) is None}
    if len(others) < len(facts):
        yield artifact
    if size > LARGEST:
        return
    old = _old_artifact(env, artifact, others)
    if old is None or not shutil.which(PROGRAMS[old.compression][0]):
        return
    if env.settings.deltas != "always" and not pays(told.pace, size, len(others)):
        told.say(
            f"sending all of {artifact.version}: {(told.pace.sent or 0) / 1e6:.0f} MB a second went out last time, "
            f"and comparing it with {old.version} would take {making(told.pace, size):.0f} s"
        )
        return
    yield old


def _with(facts: Facts, sha256: str) -> str | None:
    """Return a host's complete release of this artifact."""
    whole = [release for release in facts.releases.values() if release.state != "partial"]
    return next((release.id for release in whole if release.about.get("sha256") == sha256), None)


def release_to_add_to(delta: Delta, facts: Facts, settings: Settings) -> str | None:
    """Return the host's release for a delta to build on; None if it has none, or too little memory or disk space."""
    if facts.memory_free * 1024 < 2 * (delta.base_bytes + delta.archive_bytes):
        return None
    copied = delta.all_bytes if settings.hooks.install else 0
    free = min((disk.free for disk in facts.disks if disk.path == settings.home), default=0)
    if free * 1024 < 2 * (delta.base_bytes + 2 * delta.archive_bytes + copied):
        return None
    return _with(facts, delta.base)


def _make(folder: Path, env: Environment, old: Artifact, new: Artifact) -> Delta | None:
    equal = old.sha256 == new.sha256
    with ThreadPoolExecutor(max_workers=2) as both:
        reading = both.submit(_read, new, folder / "new")
        before = reading.result() if equal else _read(old, folder / "old")
        after = reading.result()
    theirs = _changed_on_hosts(env)
    # Rendered files that replaced the artifact's files differ from the artifact.
    ours = {name: file for name, file in after.items() if theirs.isdisjoint(_way_to(name))}
    # Hosts hard-link unchanged files, and all names of a file share its attributes.
    same = {name for name, file in ours.items() if before.get(name) == file and not file.more}
    changed = [name for name in ours if name in before and name not in same]
    if same and len(same) == len(after):
        # The host refuses an archive without files.
        same.discard(min(same, key=lambda name: (after[name].size, name)))
        changed = []
    base, archive, path = folder / "base", folder / "archive", folder / "delta"
    _write_base(folder / ("new" if equal else "old"), changed, base)
    sha256 = _write_archive(folder / "new", same, archive)
    largest = max(base.stat().st_size, archive.stat().st_size)
    # Large files need a long window, and each host needs memory for the whole window.
    window = max(20, min(31, largest.bit_length()))
    words = ["zstd", "-1", "-q", f"--long={window}", str(archive), "-o", str(path)]
    subprocess.run(
        [*words, *([f"--patch-from={base}"] if base.stat().st_size else [])], check=True, capture_output=True
    )
    if path.stat().st_size > new.size // 2:
        return None
    sums = "".join(f"{file.sha256}  ./{name}\n" for name, file in ours.items())
    lists = _lists(same=_ended(sorted(same)), changed=_ended(changed), sums=sums.encode(errors="surrogateescape"))
    total = sum(file.size for file in after.values())
    sizes = base.stat().st_size, archive.stat().st_size
    return Delta(old.sha256, old.version, lists, path, sha256, *sizes, all_bytes=total)


def _read(artifact: Artifact, to: Path) -> dict[str, _File]:
    """Decompress an artifact, and return its plain files.

    Raises:
        OSError: the artifact cannot be read, or this machine lacks disk space.
        tarfile.TarError: the archive cannot be read, or only the host can read it.
    """
    assert artifact.path is not None  # noqa: S101 - only local ones come here
    most = min(MAX_UNPACKED, shutil.disk_usage(to.parent).free // 4)
    # The shell counts in blocks of 512 bytes.
    limited = ["sh", "-c", 'ulimit -f "$0" && exec "$@"', str(most // 512), *PROGRAMS[artifact.compression]]
    with artifact.path.open("rb") as source, to.open("wb") as out:
        subprocess.run(limited, stdin=source, stdout=out, stderr=subprocess.DEVNULL, check=True)
    files: dict[str, _File] = {}
    with tarfile.open(to, "r:", tarinfo=PlainMember) as tar:
        for count, member in enumerate(members(tar)):
            if count == MAX_MEMBERS:
                raise tarfile.TarError("too many files")
            name = plain(member.name)
            # sha256sum escapes such names, and a hard link would need its target.
            if member.islnk() or name in files or any(character in name for character in "\n\r\\"):
                raise tarfile.TarError(f"{name} is left to the host")
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                files[name] = _File(
                    hashlib.file_digest(cast(io.BufferedReader, content), "sha256").hexdigest(),
                    member.mode,
                    member.size,
                    _more(member),
                )
    return files


def _more(member: tarfile.TarInfo) -> frozenset[tuple[str, str]]:
    kinds = ("SCHILY.xattr.", "SCHILY.acl.")
    return frozenset(item for item in member.pax_headers.items() if item[0].startswith(kinds))


def _write_base(old: Path, names: list[str], base: Path) -> None:
    """Write the old contents of files, one after another."""
    wanted = set(names)
    with tarfile.open(old, "r:", tarinfo=PlainMember) as tar, base.open("wb") as out:
        found = {name: member for member in members(tar) if (name := plain(member.name)) in wanted}
        for name in names:
            content = tar.extractfile(found[name])
            if content is not None:
                shutil.copyfileobj(content, out, CHUNK)


def _write_archive(new: Path, same: set[str], archive: Path) -> str:
    """Write an archive of the files that differ, and return its SHA-256."""
    with tarfile.open(new, "r:", tarinfo=PlainMember) as tar, tarfile.open(archive, "w") as out:
        for member in members(tar):
            if not member.isreg():
                out.addfile(member)
            elif plain(member.name) not in same:
                out.addfile(member, tar.extractfile(member))
            out.members = []  # type: ignore[attr-defined]
    return file_sha256(archive)


def _lists(**lists: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in lists.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return subprocess.run(["zstd", "-qc"], input=buffer.getvalue(), capture_output=True, check=True).stdout


def _ended(names: list[str]) -> bytes:
    return b"".join(name.encode(errors="surrogateescape") + b"\0" for name in names)


def _way_to(name: str) -> Iterator[str]:
    """Return a path and all its parent folders."""
    path = PurePosixPath(name)
    return map(str, (path, *path.parents))


def _changed_on_hosts(env: Environment) -> frozenset[str]:
    """Return the files that replaced the artifact's files in a release."""
    return frozenset(
        name
        for target in env.targets
        for name in (
            *(config.dest for config in target.settings.config),
            *target.settings.shared,
            *target.settings.writable,
        )
    )


def _old_artifact(env: Environment, new: Artifact, facts: Mapping[str, Facts]) -> Artifact | None:
    """Return the artifact that most hosts run, if this machine has it."""
    running = Counter(
        (
            str(fact.current_release.about.get("sha256")),
            fact.current_release.version,
            str(fact.current_release.about.get("artifact")),
        )
        for fact in facts.values()
        if fact.current_release
    )
    folder = str(Path(new.source).parent)
    for (sha256, version, source), _ in running.most_common(2):
        if sha256 == new.sha256:
            continue
        # The path is a host's report, so look only where versions are and beside the new artifact.
        source = source if str(Path(source).parent) == folder else ""
        for path in local_artifacts(env, version, source):
            found = _artifact(path, version, sha256)
            if found is not None:
                return found
    return None


def _artifact(path: Path, version: str, sha256: str) -> Artifact | None:
    compression = compression_of(path.name)
    if compression is None or not path.is_file() or file_sha256(path) != sha256:
        return None
    return Artifact(version, str(path), path, compression, sha256, path.stat().st_size)
