"""Look for names that are never set, or set for nobody, in the steps' scripts as hosts get them: put together.

A fragment alone says neither: what it needs, the script that includes it sets; what it sets, another fragment needs.
A value that a script declares (``# needs:``) and does not read is a fault of that script, whoever else reads the name.

Usage: python -m tests.composed_scripts
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from playbooks.fleet import script

STEPS = Path(__file__).resolve().parent.parent / "playbooks" / "steps"
UNSET, UNUSED = 2154, 2034  # shellcheck's numbers


def compose(folder: Path) -> None:
    """Write each step's script into a folder."""
    for step in sorted(STEPS.glob("*.sh")):
        made = script.load(step.stem)
        made = made.given(dict.fromkeys(made.needs, ""))
        (folder / step.name).write_text(f"#!/bin/sh\n{made.prelude}\n{made.body}\n")


def faults(folder: Path) -> list[str]:
    """Return a sentence for each name that some script never sets, or that no script uses."""
    scripts = sorted(folder.glob("*.sh"))
    command = ["shellcheck", "--shell=sh", "--format=json", f"--include=SC{UNSET},SC{UNUSED}", *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    found: list[str] = []
    unused: defaultdict[str, set[str]] = defaultdict(set)
    for fault in json.loads(done.stdout):
        step, name = Path(fault["file"]).name, fault["message"].split()[0]
        if fault["code"] == UNSET:
            found.append(f"{step}: ${name} is never set")
        elif name in script.load(Path(step).stem).needs:
            found.append(f"{step}: it needs no {name}, nothing reads it")
        else:
            unused[name].add(step)
    texts = {one.name: one.read_text() for one in scripts}
    for name, steps in unused.items():
        sets = {step for step, text in texts.items() if re.search(rf"\b{name}\b", text)}
        if sets <= steps:
            found.append(f"{', '.join(sorted(steps))}: {name} is set, and nothing uses it")
    return sorted(found)


def main() -> None:
    """Print the faults, and end with 1 if there are any."""
    with TemporaryDirectory() as scratch:
        compose(Path(scratch))
        found = faults(Path(scratch))
    sys.exit("\n".join(found) or None)


if __name__ == "__main__":
    main()
