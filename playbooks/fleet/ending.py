"""End a task from another thread: the main thread gets a KeyboardInterrupt that says who sent it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

# Not SIGINT, because a shell ignores it for background jobs.
SIGNAL = signal.SIGUSR1


@contextlib.contextmanager
def can_be_ended() -> Iterator[Callable[[str], None]]:
    """Yield a function that raises KeyboardInterrupt with its argument in the main thread.

    If this is not entered in the main thread, the function does nothing.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield lambda _: None
        return
    ident, asked = main.ident, [""]

    def raise_it(*_: object) -> None:
        raise KeyboardInterrupt(asked[0])

    def end(who: str) -> None:
        asked[0] = who
        signal.pthread_kill(ident, SIGNAL)

    before = signal.signal(SIGNAL, raise_it)
    try:
        yield end
    finally:
        signal.signal(SIGNAL, before)
