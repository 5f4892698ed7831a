"""Names that are wrong for the whole of a task: no moment has to be met, so what fails here fails every time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.attacks.test_every_task import BACKUP, RELEASING, Task, backed_up, ended, judge, left_at_work, running
from tests.attacks.victim import Victim


@dataclass(frozen=True)
class Parked:
    """What everything in the user's reach is while a task runs.

    Args:
        kind: of what it is; see on_host/flipper.py.
        target: where links lead.
        task: what runs, and what follows in peace.
    """

    kind: str
    target: str
    task: Task


DEPLOY = Task("deploy", ("deploy", "--version=2.0.0"), RELEASING, running, ("verify-backups",))
BACK_UP = Task("backup", ("backup",), BACKUP, running, ("verify-backups",))
DRILL = Task("verify", ("verify-backups",), BACKUP, backed_up)
PARKED = (
    Parked("link", "/root/canary", BACK_UP),
    Parked("link", "/srv/other", BACK_UP),
    Parked("link", "/etc", DRILL),
    Parked("dangling", "", DRILL),
    Parked("fifo", "", BACK_UP),
    Parked("link", "/etc", DEPLOY),
)


@pytest.mark.parametrize("parked", PARKED, ids=[f"{one.task.name}-{one.kind}{one.target}" for one in PARKED])
def test_what_is_no_longer_what_it_was_leads_nowhere(parked: Parked, victim: Victim) -> None:
    """A task that takes a link for the data, or waits for what never ends, needs no race to do harm."""
    victim.reset()
    parked.task.prepare(victim)
    before, began = victim.manifest(), time.time()
    with victim.attack(kinds=[parked.kind], targets=[parked.target], paces=["still"]) as report:
        _, wrong = ended(victim, *parked.task.words)
    assert report.flips > 0
    wrong += left_at_work(victim)
    victim.reset()
    if parked.task.then:
        wrong += ended(victim, *parked.task.then)[1]
    wrong += judge(victim, parked.task, before, began, report)
    assert not wrong, "\n  ".join([f"{report.counts}", *wrong])
    victim.must(*parked.task.words)
