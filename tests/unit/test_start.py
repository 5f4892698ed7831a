"""What a task costs before a person hears from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("fabric", "paramiko", "rich", "requests", "playbooks.deploy")

PROBE = """
import json, sys
import tasks
from playbooks.cli import runner

class Stream:
    encoding = "utf-8"
    def write(self, text):
        if "== " in text:
            print(json.dumps([text, [name for name in sys.argv[1:] if name in sys.modules]]))
            sys.stdout.flush()
    def flush(self): ...
    def isatty(self): return False

sys.stderr = Stream()
tasks.deploy.body(None, env="lab", version="0.0.0-none")
"""


def test_the_first_line_comes_before_what_is_slow_to_import() -> None:
    """SSH alone costs more than reading the inventory; a wrong environment should be seen before it, not after."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *HEAVY], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    line, imported = json.loads(done.stdout.splitlines()[0])
    assert line == "== shop on lab: 3 hosts\n"
    assert imported == []
