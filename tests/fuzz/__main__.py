"""The command line of script/fuzz: the long form, and the replay of one input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from tests.fuzz.engine import Tally, campaign, limit_memory
from tests.fuzz.target import Found
from tests.fuzz.targets import NAMES, open_target


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="the same inputs for the same seed")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    parser.add_argument("--saved", type=Path, default=Path(gettempdir()) / "slipway-fuzz-found", help="for violations")
    parser.add_argument("--replay", type=Path, help="feed this one input to the target")
    flags = parser.parse_args()
    names = flags.target or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no target {unknown.pop()}")
    if flags.replay:
        return replay(names[0], flags.replay)
    tallies = []
    for name in names:
        tallies.append(
            campaign(
                name, inputs=flags.inputs, seed=flags.seed, saved=flags.saved, workers=flags.workers, watch=_progress
            )
        )
        sys.stderr.write("\n")
    sys.stdout.write(table(tallies))
    for tally in tallies:
        for what in tally.found:
            sys.stdout.write(f"\n{tally.target}: {what}\n")
    return int(any(tally.found or tally.inputs < flags.inputs for tally in tallies))


def replay(name: str, file: Path) -> int:
    """Feed a saved input to a target; returns 1 if it still shows a violation."""
    limit_memory()
    with TemporaryDirectory() as scratch, open_target(name, Path(scratch)) as target:
        (result,) = target.judge([file.read_bytes()])
    sys.stdout.write(f"{result.what if isinstance(result, Found) else result.value}\n")
    return int(isinstance(result, Found))


def table(tallies: list[Tally]) -> str:
    """What the campaigns came to, a line each."""
    rows = [("target", "inputs", "refused", "accepted", "violations", "seconds")]
    rows += [
        (one.target, str(one.inputs), str(one.refused), str(one.accepted), str(len(one.found)), f"{one.seconds:.0f}")
        for one in tallies
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def _progress(tally: Tally) -> None:
    rate = tally.inputs / tally.seconds if tally.seconds else 0
    text = f"\r{tally.target}: {tally.inputs} inputs, {len(tally.found)} violations, {rate:.0f} a second   "
    if sys.stderr.isatty() or int(tally.seconds) % 30 == 0:
        sys.stderr.write(text)
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
