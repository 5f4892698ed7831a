"""Hostile archives, checked and unpacked by the real script with the real tar: nothing may come out of the folder."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz import processor
from tests.fuzz.target import Found, Verdict, Violation
from tests.fuzz.tars import FORMATS, OUTSIDE, archive

STEPS = Path(__file__).resolve().parent.parent.parent / "playbooks" / "steps" / "lib"
FREE = 1024 * 1024  # kilobytes that the script is told there are
CODES = ("hostile-archive", "undeclared-acl", "undeclared-capabilities", "damaged-archive", "no-space", "unpack")
OURS = "ours\n"
_LEFT = {
    "archive",
    "tar.links",
    "tar",
    "tar.unpacked",
    "format",
    "list",
    "list.err",
    "list.marked",
    "err",
    "answer",
    "said",
    "status",
    "tree",
}


class Archives:
    """An input is an archive behind a line that names its format. Many are unpacked by one shell.

    Args:
        folder: an empty folder, in which everything happens.
    """

    batch = 40
    limit = 10.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "batch"
        self.last_answer = ""
        self._canary = folder / "canary"
        text = b"\n".join((STEPS / name).read_bytes() for name in ("prelude.sh", "output.sh", "archive.sh"))
        self._script = text + b"\n" + (Path(__file__).parent / "archives.sh").read_bytes()

    def make(self, rng: random.Random) -> bytes:
        """An archive."""
        name, data = archive(rng)
        return name.encode() + b"\n" + data

    def judge(self, inputs: Sequence[bytes]) -> list[Verdict | Found]:
        """Unpack them side by side; when something got out, each by itself again, to know which it was."""
        try:
            results = self._unpack(inputs)
            if len(inputs) > 1 and any(isinstance(result, Found) for result in results):
                results = [self._unpack([data])[0] for data in inputs]
        finally:
            _remove(self._folder)
        return results

    def _unpack(self, inputs: Sequence[bytes]) -> list[Verdict | Found]:
        self._prepare(inputs)
        try:
            self._run_script(self.limit + len(inputs))
            self._nothing_outside(len(inputs))
        except subprocess.TimeoutExpired:
            return [Found(data, f"no answer within {self.limit:g} s of processor time") for data in inputs]
        except Violation as error:
            return [Found(data, str(error)) for data in inputs]
        return [self._judged(data, self._folder / str(number)) for number, data in enumerate(inputs)]

    def _run_script(self, seconds: float) -> None:
        command = ["/bin/sh", "-s", str(self._folder), str(FREE)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        ) as shell:
            began = time.monotonic()
            while True:
                try:
                    _, errors = shell.communicate(self._script, timeout=seconds)
                    break
                except subprocess.TimeoutExpired:  # by the clock on the wall: has it been at work, too?
                    waited = time.monotonic() - began
                    if waited > seconds * processor.WAITS or processor.of_session(shell.pid) > seconds:
                        os.killpg(shell.pid, signal.SIGKILL)
                        raise
        if shell.returncode:
            raise Violation(f"the shell ended with {shell.returncode}: {errors!r}")

    def _prepare(self, inputs: Sequence[bytes]) -> None:
        _remove(self._folder)
        self._folder.mkdir()
        for canary in (self._canary, self._folder / "canary"):
            canary.write_text(OURS)
            canary.chmod(0o640)
        for number, data in enumerate(inputs):
            place = self._folder / str(number)
            (place / "tree/.slipway").mkdir(parents=True)
            (place / "tree/.slipway/hooks").write_text(OURS)
            name, _, content = data.partition(b"\n")
            (place / "format").write_bytes((name if name.decode("latin-1") in FORMATS else b"none") + b"\n")
            (place / "archive").write_bytes(content)
            (place / "canary").write_text(OURS)
            (place / "canary").chmod(0o640)

    def _nothing_outside(self, count: int) -> None:
        """Look at everything around the trees.

        Raises:
            Violation: something is there that was not, or is not as it was.
        """
        if Path(OUTSIDE).exists():
            _remove(Path(OUTSIDE))
            raise Violation(f"{OUTSIDE} came to be")
        _same(self._folder.parent, {"batch", "canary"})
        _same(self._folder, {"canary", *map(str, range(count))})
        for number in range(count):
            _same(self._folder / str(number), {"canary", *_LEFT})

    def _judged(self, data: bytes, place: Path) -> Verdict | Found:
        try:
            self.last_answer = (place / "answer").read_text(errors="replace")
            accepted = _accepted(place)
            if accepted:
                _harmless(place / "tree")
        except Violation as error:
            return Found(data, str(error))
        return Verdict.ACCEPTED if accepted else Verdict.REFUSED


def _accepted(place: Path) -> bool:
    """Whether the script accepted it.

    Raises:
        Violation: it ended without saying what it came to.
    """
    answer, status = (place / "answer").read_bytes(), int((place / "status").read_text())
    if (answer, status) == (b"accepted\n", 0):
        return True
    # Before it, what a program wrote, a line each.
    fields = answer.decode("utf-8", "replace").removesuffix("\n").rpartition("\n")[2].split("\t")
    if status == 1 and len(fields) == 3 and fields[0] == "error" and fields[1] in CODES and "\n" not in fields[2]:
        return False
    raise Violation(f"it ended with {status}, saying {answer!r} and {(place / 'said').read_bytes()[:300]!r}")


def _same(folder: Path, allowed: set[str]) -> None:
    extra = {entry.name for entry in folder.iterdir()} - allowed
    if extra:
        raise Violation(f"{sorted(extra)} came to be beside the tree")
    canary = folder / "canary"
    state = canary.lstat()
    whole = stat.S_ISREG(state.st_mode) and stat.S_IMODE(state.st_mode) == 0o640 and state.st_nlink == 1
    if not whole or canary.read_text() != OURS:
        raise Violation(f"{canary.name} beside the tree was changed or linked")


def _harmless(tree: Path) -> None:
    """Look at everything in a tree that was accepted.

    Raises:
        Violation: there is what must not be.
    """
    root = tree.resolve()
    for path, state in _entries(tree):
        name = path.relative_to(tree)
        kind = stat.S_IFMT(state.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise Violation(f"{name} is a special file")
        if state.st_uid != os.geteuid():
            raise Violation(f"{name} belongs to {state.st_uid}")
        if state.st_mode & stat.S_ISUID or (kind == stat.S_IFREG and state.st_mode & stat.S_ISGID):
            raise Violation(f"{name} is setuid or setgid")
        if kind == stat.S_IFLNK:
            end = Path(os.path.realpath(path))
            if not end.is_relative_to(root) or end.is_relative_to(root / ".slipway"):
                raise Violation(f"{name} leads to {end}")
        elif os.listxattr(path, follow_symlinks=False):
            raise Violation(f"{name} has extended attributes")
    ours = tree / ".slipway" / "hooks"
    if [*os.listdir(ours.parent)] != ["hooks"] or ours.lstat().st_nlink != 1 or ours.read_text() != OURS:  # noqa: PTH208
        raise Violation("what is in .slipway was changed or linked")


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    waiting = [str(folder)]  # trees can be deeper than Python's stack
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield Path(entry.path), entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def _remove(folder: Path) -> None:
    """Remove a folder, whatever the modes in it, and deeper than Python's own rmtree goes."""
    if folder.exists() and subprocess.run(["rm", "-rf", "--", folder], capture_output=True, check=False).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", folder], check=True)
        subprocess.run(["rm", "-rf", "--", folder], check=True)
