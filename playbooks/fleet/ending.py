"""Ending a task from elsewhere: the main thread gets a Ctrl-C that says who sent it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

# Not SIGINT: whoever runs us in the background may have that ignored.
SIGNAL = signal.SIGUSR1


@contextlib.contextmanager
def can_be_ended() -> Iterator[Callable[[str], None]]:
    """For as long as this lasts, calling what it gives raises KeyboardInterrupt in the main thread, with its argument.

    In another thread than the main one nothing can be ended, and nothing happens.
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
