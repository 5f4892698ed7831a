"""Start Slipway's command line without the half second that Python takes to import it.

A server has everything imported and forks for each command. So each command is a process of its own still, with its own
working folder, environment, streams and exit status; only its imports are done.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Python reads these before any of our code runs.
READ_AT_START = ("LANG", "LC_", "PYTHON", "MALLOC", "LD_")


def can_run(environment: Mapping[str, str]) -> bool:
    """Whether a command with these variables behaves as one that a shell starts."""
    return not any(name.startswith(READ_AT_START) for name in environment)


def run(
    words: Sequence[str], *, stdin: str | None, environment: Mapping[str, str], timeout: float
) -> tuple[int, str, str]:
    """Run ``invoke WORDS`` in the project's folder.

    Returns:
        Its exit status (a signal's number is negative), standard output and standard error.

    Raises:
        subprocess.TimeoutExpired: it has not ended after ``timeout`` seconds; it is killed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        if stdin is not None:
            given.write(stdin.encode())
            given.seek(0)
        with Path(os.devnull).open("rb") as nothing:
            tells, told = os.pipe()
            try:
                streams = [(given if stdin is not None else nothing).fileno(), out.fileno(), err.fileno(), told]
                request = json.dumps({"words": list(words), "environment": dict(environment)}).encode()
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
                _server().sendmsg([request], rights)
            finally:
                os.close(told)
        with os.fdopen(tells, "rb", buffering=0) as answers:
            pid = int(_line(answers.fileno(), 30))
            try:
                status = int(_line(answers.fileno(), timeout))
            except TimeoutError as late:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["invoke", *words], timeout) from late
        for stream in (out, err):
            stream.seek(0)
        return os.waitstatus_to_exitcode(status), _text(out.read()), _text(err.read())


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def _line(descriptor: int, seconds: float) -> str:
    """What is told up to the end of a line; TimeoutError when that takes longer."""
    end, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError
        data = os.read(descriptor, 1)
        if not data:
            raise RuntimeError("the command's process ended before it was waited for")
        line += data
    return line.decode().strip()


@functools.cache
def _server() -> socket.socket:
    """This process's own server; it ends with the process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.warm_start", str(theirs.fileno())]
        server = subprocess.Popen(command, cwd=PROJECT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    atexit.register(_end, ours, server)
    return ours


def _end(ours: socket.socket, server: subprocess.Popen[bytes]) -> None:
    ours.close()
    server.wait(10)


def _import_all() -> None:
    import playbooks

    for module in pkgutil.walk_packages(playbooks.__path__, "playbooks."):
        importlib.import_module(module.name)
    for name in ("invoke.main", "lab.tasks", "fabric", "rich.live", "rich.table", "rich.progress"):
        importlib.import_module(name)
    # Pydantic builds what checks the settings at their first use: a third of what a short task computes.
    from playbooks.settings.model import Settings

    Settings.model_rebuild(force=True)
    # A collection touches every object, and with it each page that a command shares with the server.
    gc.collect()
    gc.freeze()


def _serve(descriptor: int) -> int:
    """Fork for each request until the other side is closed; in the child, run the command."""
    _import_all()
    # Nobody waits for those who wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as requests:
        while True:
            data, rights, _, _ = requests.recvmsg(1 << 20, socket.CMSG_SPACE(4 * 4))
            if not data:
                return 0
            streams = array.array("i")
            for _, _, given in rights:
                streams.frombytes(given)
            if os.fork() == 0:
                break
            for stream in streams:
                os.close(stream)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told = streams.pop()
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        os.write(told, f"{pid}\n".encode())
        os.write(told, f"{os.waitpid(pid, 0)[1]}\n".encode())
        os._exit(0)
    os.close(told)
    return _run(json.loads(data), streams)


def _run(request: dict[str, object], streams: Sequence[int]) -> int:
    """As ``.venv/bin/invoke`` does, with the request's words, environment and streams."""
    from invoke.main import program

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = io.FileIO(number, "r" if name == "stdin" else "w", closefd=False)
        buffer = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
        errors = "backslashreplace" if name == "stderr" else "strict"
        text = io.TextIOWrapper(buffer, errors=errors, line_buffering=name == "stderr")
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    environment = request["environment"]
    words = request["words"]
    assert isinstance(environment, dict) and isinstance(words, list)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [str(PROJECT / ".venv" / "bin" / "invoke"), *words]
    program.run()
    return 0


if __name__ == "__main__":
    sys.exit(_serve(int(sys.argv[1])))
