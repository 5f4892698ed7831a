"""Runs a target: inputs made from a seed, in processes of their own, so that a crash or a hang is a finding too."""

from __future__ import annotations

import json
import random
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import processor
from tests.fuzz.target import Found, Target, Verdict
from tests.fuzz.targets import open_target

PROJECT = Path(__file__).resolve().parent.parent.parent
MEMORY = 2 * 1024**3  # bytes of address space; an input that needs more ends in a MemoryError, which is a finding
PATIENCE = 60.0  # seconds of processor time after which a silent process counts as hung; beyond the targets' own limits
MAX_FOUND = 50  # a campaign that has found as many has shown its point


@dataclass
class Tally:
    """What a campaign came to.

    Args:
        found: one sentence for each violation, with the file that replays it.
        seconds: how long it took.
    """

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    found: list[str] = field(default_factory=list)
    seconds: float = 0.0


Watch = Callable[[Tally], None]


def input_at(target: Target, name: str, seed: int, index: int) -> bytes:
    """The input of a place in the sequence, whatever came before."""
    return target.make(random.Random(f"{name} {seed} {index}"))  # noqa: S311


def campaign(name: str, *, inputs: int, seed: int, saved: Path, workers: int, watch: Watch) -> Tally:
    """Run a target.

    Args:
        name: the target.
        inputs: how many.
        seed: the same inputs for the same seed.
        saved: folder for inputs that show a violation.
        workers: processes side by side.
        watch: called now and then.
    """
    started = time.monotonic()
    tally = Tally(name)
    with TemporaryDirectory(prefix="slipway-fuzz-") as scratch:
        crew = [_Worker(name, seed, at, inputs, workers, Path(scratch), saved) for at in range(workers)]
        try:
            while any(not worker.done for worker in crew) and len(tally.found) < MAX_FOUND:
                for worker in crew:
                    worker.advance(tally)
                tally.seconds = time.monotonic() - started
                watch(tally)
        finally:
            for worker in crew:
                worker.end()
    tally.seconds = time.monotonic() - started
    return tally


class _Worker:
    """A process that judges every n-th batch; started anew behind the input that ended it."""

    def __init__(self, name: str, seed: int, at: int, inputs: int, workers: int, scratch: Path, saved: Path) -> None:
        self._name, self._seed, self._inputs, self._workers, self._saved = name, seed, inputs, workers, saved
        self._folder = scratch / str(at)
        self._folder.mkdir()
        self.done = False
        self._start(at)

    def _start(self, batch: int) -> None:
        words = [self._name, self._seed, batch, self._workers, self._inputs, self._folder]
        self._heard = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.engine", *map(str, words)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._heard_text = b""
        self._at_work = 0.0

    def advance(self, tally: Tally) -> None:
        """Take what the process says, for a moment."""
        if self.done:
            return
        assert self._process.stdout is not None  # for the type checker
        if not select.select([self._process.stdout], [], [], 0.2)[0]:
            silent = time.monotonic() - self._heard
            if silent > PATIENCE and self._is_hung(silent):
                self._process.kill()
                self._lost(tally, f"hung: silent for {silent:.0f} s")
            return
        chunk = self._process.stdout.read(65536)
        self._heard, self._at_work = time.monotonic(), processor.of_process(self._process.pid)
        *lines, self._heard_text = (self._heard_text + chunk).split(b"\n")
        for line in lines:
            self._take(json.loads(line), tally)
        if chunk:
            return
        if self._process.wait() == 0:
            self.done = True
        else:
            self._lost(tally, f"the process ended with status {self._process.returncode}")

    def _is_hung(self, silent: float) -> bool:
        return silent > PATIENCE * processor.WAITS or (
            processor.of_process(self._process.pid) - self._at_work > PATIENCE
        )

    def _take(self, said: dict[str, int | str], tally: Tally) -> None:
        tally.inputs += int(said["inputs"])
        tally.accepted += int(said["accepted"])
        tally.refused += int(said["refused"])
        if "found" in said:
            self._save(bytes.fromhex(str(said["data"])), str(said["found"]), tally)

    def _lost(self, tally: Tally, what: str) -> None:
        self.end()
        batch, _, data = (self._folder / "current").read_bytes().partition(b" ")
        self._save(data, what, tally)
        self._start(int(batch) + self._workers)

    def _save(self, data: bytes, what: str, tally: Tally) -> None:
        self._saved.mkdir(parents=True, exist_ok=True)
        file = self._saved / f"{self._name}-{sha256(data).hexdigest()[:12]}"
        file.write_bytes(data)
        tally.found.append(f"{what.rstrip()}\n  replay: script/fuzz {self._name} --replay={file}")

    def end(self) -> None:
        """End the process."""
        assert self._process.stdout is not None  # for the type checker
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def limit_memory() -> None:
    """Make this process's memory end at MEMORY."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def work(name: str, seed: int, batch: int, step: int, inputs: int, folder: Path) -> None:
    """Judge batches and say so, a line each second or for each violation. Runs in a process of its own."""
    limit_memory()
    with open_target(name, folder) as target:
        counts = {"inputs": 0, "accepted": 0, "refused": 0}

        def tell(**more: int | str) -> None:
            sys.stdout.write(json.dumps({**counts, **more}) + "\n")
            sys.stdout.flush()
            counts.update(dict.fromkeys(counts, 0))

        told = time.monotonic()
        while batch * target.batch < inputs:
            indices = range(batch * target.batch, min((batch + 1) * target.batch, inputs))
            made = [input_at(target, name, seed, index) for index in indices]
            (folder / "current").write_bytes(b"%d " % batch + made[0])
            for result in target.judge(made):
                counts["inputs"] += 1
                if isinstance(result, Found):
                    tell(found=result.what, data=result.data.hex())
                else:
                    counts["accepted" if result is Verdict.ACCEPTED else "refused"] += 1
            if time.monotonic() - told > 1:
                told = time.monotonic()
                tell()
            batch += step
        tell()


if __name__ == "__main__":
    _, name, *numbers, folder = sys.argv
    seed, batch, step, inputs = map(int, numbers)
    work(name, seed, batch, step, inputs, Path(folder))
