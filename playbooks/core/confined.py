"""Read what a stranger wrote in a process of its own, with limits of time and memory.

Parsers crash, recurse without end, or need gigabytes for some kilobytes; those written in C take this whole process
with them. So a module of ours that reads such input has a function ``answer(arguments, source, out)``, which a new
process calls: it reads ``source`` and writes lines of JSON. Lines that it wrote before it was ended count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

_PROJECT = Path(__file__).resolve().parent.parent.parent
# The limits come before anything else is imported. A crash leaves no dump of the memory.
_CHILD = """
import resource, sys
project, module, seconds, memory = sys.argv[1:5]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
sys.path.insert(0, project)
from importlib import import_module
try:
    import_module(module).answer(sys.argv[5:], sys.stdin.buffer, sys.stdout)
except (MemoryError, RecursionError):
    sys.exit(9)
"""


@dataclass(frozen=True)
class Limits:
    """What a process may take.

    Args:
        seconds: of processor time.
        waiting: seconds in all, which are more, since other programs are at work.
        memory: bytes of address space.
        answer: bytes that it may write.
    """

    seconds: int
    waiting: float
    memory: int
    answer: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answered:
    """The answer of a process.

    Args:
        lines: the documents that it wrote.
        whole: whether it came to its end; else it reached a limit, or crashed.
    """

    lines: tuple[Any, ...]
    whole: bool


def ask(module: str, limits: Limits, source: bytes | IO[bytes], arguments: Sequence[str] = ()) -> Answered:
    """Have a module's ``answer`` read something in a new process.

    Args:
        module: its full name. It should import little, because the process begins with nothing.
        limits: the limits.
        source: what it reads: bytes, or an open file, which is closed here.
        arguments: short words for it.
    """
    words = [sys.executable, "-I", "-c", _CHILD, str(_PROJECT), module, str(limits.seconds), str(limits.memory)]
    with _opened(source) as given:
        child = subprocess.Popen(
            [*words, *arguments], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
        )
    # This process's end of it is closed: whoever writes into it notices when the other one is gone.
    with child:
        clock = threading.Timer(limits.waiting, child.kill)
        clock.start()
        try:
            out = cast(IO[bytes], child.stdout).read(limits.answer + 1)
            if len(out) > limits.answer:
                child.kill()
            child.wait()
        finally:
            clock.cancel()
    if len(out) > limits.answer:
        return Answered((), whole=False)
    # The last line may have been cut.
    lines = tuple(json.loads(line) for line in out.split(b"\n")[:-1])
    return Answered(lines, whole=child.returncode == 0)


def _opened(source: bytes | IO[bytes]) -> IO[bytes]:
    if not isinstance(source, bytes):
        return source
    file = tempfile.TemporaryFile()  # noqa: SIM115 - who asked closes it
    file.write(source)
    file.seek(0)
    return file
