"""Every task, once while the application's user flips names in all that it can write to, and once in peace.

A task may fail under attack: whoever owns the application's data can always break its own application. What it may not
do, whatever the moment: change anything outside the user's reach that is not the task's own business, give the user
something to read that is root's, put a line of the user's into a release, hang, or leave the host so that the same task
fails when the attack is over.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.attacks.attacker import Report
from tests.attacks.host_manifest import Manifest
from tests.attacks.victim import Victim

ROUNDS = int(os.environ.get("SLIPWAY_ATTACK_ROUNDS", "1"))
SEED = int(os.environ.get("SLIPWAY_ATTACK_SEED", "1"))
# What a backup looks at before it reads anything: its own paths and databases.
SPARED = ("media", "notes.db")
LIMIT = 90
MIN_FLIPS = 100
MAX_TOLD = 25
RELEASING = ("records", "releases", "units", "backups")


def anew(victim: Victim) -> None:
    """Nothing of it is on the host, but its data."""
    victim.remove()


def provisioned(victim: Victim) -> None:
    """Provisioned, and nothing else."""
    victim.remove()
    victim.must("provision")


def running(victim: Victim) -> None:
    """1.0.0 runs."""
    if victim.version() != "1.0.0":
        victim.must("deploy", "--version=1.0.0", "--force")
        victim.reset()


def backed_up(victim: Victim) -> None:
    """1.0.0 runs, and there is a backup of it."""
    running(victim)
    victim.must("backup")


def deployed_twice(victim: Victim) -> None:
    """2.0.0 runs, with 1.0.0 before it and in the backup that a deploy makes."""
    running(victim)
    victim.must("deploy", "--version=2.0.0")


def predecessor_damaged(victim: Victim) -> None:
    """2.0.0 runs; what is left of 1.0.0 is in its backup alone."""
    deployed_twice(victim)
    victim.as_root(f"for old in {victim.home}/releases/*-1.0.0; do echo more >>$old/VERSION; done")


def backups_expire(victim: Victim) -> None:
    """The next backup is the only one that stays."""
    backed_up(victim)
    victim.write(backup={**victim.settings["backup"], "keep": {"within": "0h", "last": 1}})


def restored_before(victim: Victim) -> None:
    """There is a backup, and no folder of an earlier restore."""
    backed_up(victim)
    victim.as_root(f"rm -rf {victim.restored}")


@dataclass(frozen=True)
class Task:
    """A task under attack.

    Args:
        name: for people.
        words: what is typed.
        may: what it may change; see allowed.Places.
        prepare: brings the host to where it has something to do.
        then: what follows while the user's reach is looked at, and need not go well.
        again: brings the host, once the attack is over, to where the task has something to do again, if need be.
    """

    name: str
    words: tuple[str, ...]
    may: tuple[str, ...]
    prepare: Callable[[Victim], None]
    then: tuple[str, ...] = ()
    again: Callable[[Victim], None] | None = None


BACKUP = ("records", "backups")
TASKS = (
    Task("provision", ("provision",), ("records", "folders", "accounts", "sudoers", "backups"), anew),
    Task("first deploy", ("deploy", "--version=1.0.0"), RELEASING, provisioned),
    Task("deploy", ("deploy", "--version=2.0.0"), RELEASING, running),
    Task("backup", ("backup",), BACKUP, running, ("verify-backups",)),
    Task("verify", ("verify-backups",), BACKUP, backed_up),
    Task(
        "restore of files",
        ("restore", "--to-dir=/srv/restored"),
        (*BACKUP, "restores"),
        restored_before,
        again=restored_before,
    ),
    Task("restore of a release", ("rollback", "--to=1.0.0"), RELEASING, predecessor_damaged),
    Task("rollback", ("rollback",), RELEASING, deployed_twice, again=deployed_twice),
    Task("prune", ("deploy", "--version=3.0.0"), RELEASING, deployed_twice),
    Task("retention", ("backup",), BACKUP, backups_expire),
)


@pytest.mark.parametrize("task", TASKS, ids=[task.name.replace(" ", "-") for task in TASKS])
def test_nothing_out_of_the_users_reach_changes(task: Task, victim: Victim) -> None:
    """Root that follows a name which the application's user can change does that user's work, as root."""
    settings = dict(victim.settings)
    for number in range(ROUNDS):
        victim.reset()
        try:
            task.prepare(victim)
            wrong, report = under_attack(task, victim, SEED + number)
            told = f"{task.name}, seed {report.seed}, {report.flips} flips: "
            assert report.flips > MIN_FLIPS, f"{told}no attack worth the name: {report.counts}"
            assert not wrong, told + "\n  ".join(["", *wrong[:MAX_TOLD]])
        finally:
            victim.write(**settings)


def under_attack(task: Task, victim: Victim, seed: int) -> tuple[list[str], Report]:
    """Run a task with the user at work, and again without.

    Returns:
        What went wrong, and what the user did.
    """
    before, began = victim.manifest(), time.time()
    wrong: list[str] = []
    # A task that stops at the first thing that looks wrong shows little of what would come after it.
    for spared in ((), SPARED):
        with victim.attack(seed=seed, spared=spared) as report:
            status, found = ended(victim, *task.words)
        wrong += found + left_at_work(victim) + judge(victim, task, before, began, report)
        if status == 0 or found or report.flips < MIN_FLIPS:
            break
    if task.then:
        wrong += ended(victim, *task.then)[1]
        wrong += judge(victim, task, before, began, report)
    victim.reset()
    if task.again:
        task.again(victim)
    status, said = victim.run(*task.words, limit=LIMIT)
    if status:
        wrong.append(f"the attack is over, and the task still ends with {status}: {said}")
    return list(dict.fromkeys(wrong)), report


def ended(victim: Victim, *words: str) -> tuple[int, list[str]]:
    """Run a task that may fail; returns its exit status, and what is wrong with how it ends."""
    try:
        status, said = victim.run(*words, limit=LIMIT)
    except subprocess.TimeoutExpired:
        return -1, [f"it hangs: {victim.processes()}"]
    print(f"{' '.join(words)} under attack: {status} {said}")
    if status not in (0, 1, 3) or "Traceback" in said:
        return status, [f"it ends with {status}: {said}"]
    if "did not end in time" in said:
        return status, [f"a step hangs: {victim.processes()}"]
    return status, []


def left_at_work(victim: Victim) -> list[str]:
    """A step that goes on for ever, since it waits for a FIFO, holds a lock; a backup after a deploy has its time."""
    deadline = time.monotonic() + 20
    while units := victim.units():
        if time.monotonic() > deadline:
            return [f"still at work: {units}: {victim.processes()}"]
        time.sleep(0.2)
    return []


def judge(victim: Victim, task: Task, before: Manifest, began: float, report: Report) -> list[str]:
    """What the attack has come to."""
    found = victim.wrongs(before, *task.may)
    found += [f"read under attack: {path}" for path in report.stolen]
    found += [f"can be read: {path}" for path in victim.marked()]
    found += [f"a drill could read it: {line}" for line in victim.drills_saw(began)]
    found += [f"written by the user, in a release: {path}" for path in report.owned]
    found += victim.damaged_releases()
    return found
