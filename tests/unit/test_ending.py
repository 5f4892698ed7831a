"""A task that is ended from elsewhere: to it, that is a Ctrl-C with a name."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from playbooks.core.errors import Interrupted
from playbooks.fleet.ending import SIGNAL, can_be_ended
from playbooks.fleet.fanout import Job, run_jobs
from playbooks.fleet.progress import Silent


def test_a_task_ends_in_the_name_of_whoever_asked_for_it() -> None:
    """The main thread waits for its hosts: what does not wake it there is heard when all is over."""
    before = signal.getsignal(SIGNAL)
    let_go = threading.Event()
    with can_be_ended() as end, pytest.raises(Interrupted) as ended:
        threading.Timer(0.2, end, ["ann@laptop"]).start()
        run_jobs([Job("h1", "", lambda: let_go.wait(30))], forks=1, progress=Silent(), stop=let_go.set)
    assert ended.value.message == "stopped by ann@laptop (invoke abort)"
    assert signal.getsignal(SIGNAL) == before


def test_in_another_thread_nothing_is_ended() -> None:
    """Signals are the main thread's: who asks there must not end somebody else's work."""

    def elsewhere() -> None:
        with can_be_ended() as end:
            end("eve@laptop")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    time.sleep(0.05)
