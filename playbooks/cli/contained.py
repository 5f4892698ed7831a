"""Work on an inventory that is not trusted, in a process with few rights.

The code that reads an inventory asks its fence (inventory/fence.py), and reports what it refuses. This module is the
second protection, for what that code might miss: in the child process Python itself refuses files outside of the fence,
programs, connections and every change of a file, and the kernel limits processor time and memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sys
import sysconfig
import traceback
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from playbooks.core.errors import ExitStatus, UsageError
from playbooks.inventory import FLAG, Fence

# 5,000 hosts with a service each take 2 s and 0.12 GB; where each has settings of its own, 10 s and 0.6 GB.
SECONDS = 60  # of processor time
WAITING = 300  # seconds in all
MEMORY = 2 << 30  # bytes of address space
NO_HOME = "/nonexistent"
# Exit statuses from child to parent, and their messages.
_TIME, _WAITED, _FULL = 100, 101, 102
_SAID = {
    _TIME: f"the inventory took more than {SECONDS} s of processor time; nothing was touched",
    _WAITED: f"the inventory took more than {WAITING} s; nothing was touched",
    _FULL: f"the inventory took more than {MEMORY >> 30} GB of memory; nothing was touched",
}
# Only the output depends on these variables; the child gets no others.
_KEPT = ("TERM", "NO_COLOR", "COLUMNS", "LINES", "LANG", "LC_ALL", "LC_CTYPE", "CI", "SLIPWAY_DEBUG")
# Audit events (docs.python.org/3/library/audit_events.html), by their beginnings.
_ACTS = (
    "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "os.kill", "ctypes.",
    "pickle.",
    "socket.connect", "socket.bind", "socket.send", "socket.getaddrinfo", "socket.gethostby", "socket.getnameinfo",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.removexattr", "resource.", "sqlite3.",
)  # fmt: skip
_READS = ("open", "os.listdir", "os.scandir", "os.walk", "os.chdir", "os.getxattr", "os.listxattr")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODE = ("playbooks", "lab", "supply", "tasks.py")


class _Spent(BaseException):
    """A limit was reached; `args[0]` is the status. Code that handles errors of expressions does not catch it."""


@dataclass(frozen=True)
class Ended:
    """How the child ended.

    Args:
        status: its exit status; None if it was ended from outside.
        why: a sentence for that case.
    """

    status: int | None
    why: str = ""


def contained(run: Callable[[], int]) -> Ended:
    """Run something in a child process with limits of time and memory, and without this one's environment variables.

    Args:
        run: what to run; it calls `close` once it knows the fence. Returns the exit status.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_the_child(run)
    while True:
        try:
            _, status = os.waitpid(child, 0)
        except KeyboardInterrupt:
            continue  # the child got the signal too, and reports it
        break
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        return Ended(None, _SAID[code]) if code in _SAID else Ended(code)
    number = os.WTERMSIG(status)
    if number in (signal.SIGKILL, signal.SIGXCPU):
        return Ended(None, f"{_SAID[_TIME]} (or the machine has no memory left)")
    return Ended(None, f"reading the inventory was ended by {signal.Signals(number).name}; nothing was touched")


def _be_the_child(run: Callable[[], int]) -> NoReturn:
    status = int(ExitStatus.PERSON_NEEDED)  # of a fault in Slipway
    try:
        _limit()
        status = run()
    except _Spent as spent:
        status = spent.args[0]
    except MemoryError:
        status = _FULL
    except BaseException:  # noqa: BLE001 - nobody above us hears of it
        traceback.print_exc()
    finally:
        # The child must end here, whatever happens, and not run its parent's code.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _limit() -> None:
    def spent(number: int, _: object) -> None:
        raise _Spent(_WAITED if number == signal.SIGALRM else _TIME)

    signal.signal(signal.SIGXCPU, spent)
    signal.signal(signal.SIGALRM, spent)
    signal.alarm(WAITING)
    # Code written in C may never run the handler: two seconds later the kernel ends it.
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    # Without HOME, Python would read the machine's list of users.
    os.environ.update({**kept, "HOME": NO_HOME})
    sys.dont_write_bytecode = True


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Report it if the work in here needs more memory than it may have.

    Raises:
        UsageError: it does.
    """
    try:
        yield
    except MemoryError:
        raise UsageError(_SAID[_FULL]) from None


def close(fence: Fence) -> None:
    """From now on this process reads Slipway's own code and what is inside of the fence, and changes nothing.

    It cannot be undone, so it is for a process that ends after its work.
    """
    project = Path(__file__).resolve().parent.parent.parent
    code = [Path(os.path.realpath(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    # A setting may name a time zone, which Python reads there, and only by a name that leads nowhere else.
    zones = (Path(os.path.realpath(path)) for path in zoneinfo.TZPATH)
    inside = (*code, *zones, *(project / name for name in _CODE), *(fence.folders or ()))

    sys.path[:] = [path for path in sys.path if Path(path) == project or any(map(Path(path).is_relative_to, inside))]

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_ACTS):
            raise PermissionError(errno.EACCES, f"{FLAG} refuses {event}")
        if event not in _READS or not arguments or isinstance(arguments[0], int):
            return
        real = Path(os.path.realpath(os.fsdecode(arguments[0] or ".")))
        if real == Path(os.devnull):
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        # Python lists the project's folder, too, to find modules.
        known = real == project or any(real.is_relative_to(place) for place in inside)
        if writes or not known:
            raise PermissionError(errno.EACCES, f"{FLAG} refuses it", str(real))

    sys.addaudithook(refuse)
