"""The fault matrix: a task is broken after each of its remote operations in turn, in every way, and then mended.

`script/chaos` runs it. After each fault, within the guard's time-out: every host answers with a whole old or a whole
new version; status says what is so; one command brings the fleet to where it should be; nothing is left behind. Points
are recorded from a run of the task itself, so that none is picked by hand and none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any

from tests.chaos.front import Front, users
from tests.chaos.subject import VERSIONS, Point, Subject, Violated, until

# From here on the balancer's guard knows where a rollback goes; before, a dead one leaves the traffic where it is.
AFTER_ARMING = ("traffic/answered", "confirm", "finish")
TASKS = ("deploy", "rollback", "backup", "verify-backups")
DATABASE_TASKS = ("deploy", "migrate", "rehearse")
# Tasks that change no release: whatever became of them, the same again ends them.
REPEATED = ("backup", "verify-backups", "migrate", "rehearse")


def points_of(subject: Subject, task: str, faults: Sequence[str]) -> list[Point]:
    """Every point of a task, from a run of it.

    A killed controller dies at each of them; a host that is cut off or loses its power does so at the points of its own
    operations that come after it was connected to: before, it is merely a host that cannot be reached.

    Raises:
        Violated: the task fails by itself.
    """
    process = subject.start("record", *prepare(subject, task))
    _, told = process.communicate()
    if process.returncode != 0:
        raise Violated(f"{task} does not even work when nothing is broken: {told}")
    found = [line.removeprefix("POINT ").split("/", 1) for line in told.splitlines() if line.startswith("POINT ")]
    names = [host.name for host in subject.everywhere]
    return [
        Point(task, fault, names.index(host), at)
        for fault in faults
        for host, at in sorted(found)
        if fault == "kill" or not at.startswith("connect/")
    ]


def prepare(subject: Subject, task: str) -> list[str]:
    """Bring the fleet to where the task has something to do; returns the task's words."""
    runs = {seen.version for seen in subject.see().values()}
    now = runs.pop() if len(runs) == 1 else None
    other = VERSIONS[1] if now == VERSIONS[0] else VERSIONS[0]
    if now is None and (task == "deploy" or subject.database):
        must(subject, "deploy", f"--version={other}", "--batch=100%", "--wait=60s")
        return prepare(subject, task)
    if subject.database:
        must(subject, "migrate", "--to=none", "--wait=60s")
    if task == "deploy":
        return ["deploy", f"--version={other}", "--batch=1"]
    if task == "rollback":
        if now is None:
            must(subject, "deploy", f"--version={VERSIONS[1]}", "--batch=100%", "--wait=60s")
        must(subject, "deploy", f"--version={other}", "--batch=100%", "--wait=60s")
        return ["rollback", "--reason=matrix"]
    if task == "rehearse":
        must(subject, "backup")
        return ["rehearse", f"--version={other}"]
    return [task]


def must(subject: Subject, *words: str) -> dict[str, Any]:
    """Run a task that has to go well; returns its answer.

    Raises:
        Violated: it does not.
    """
    status, answer, told = subject.run(*words)
    if status != 0:
        raise Violated(f"invoke {' '.join(words)} ended with {status}: {told}")
    return answer


def attempt(subject: Subject, point: Point, number: int) -> str:
    """Break a task at a point, look, mend it, and look again.

    Returns:
        What users met meanwhile, if a balancer stands in front.

    Raises:
        Violated: something is as it must never be.
    """
    words = prepare(subject, point.task)
    before = {host: seen.version for host, seen in subject.see().items()}
    with users(subject.front) as those, _attack(subject, point, number):
        ended = subject.break_it(point, words, surely=subject.hostile is None)
        subject.wait_until_whole(subject.limit)
    status, answer, _ = subject.run("status")
    _judge_status(subject, answer, status)
    if subject.front and point.task == "deploy" and ended != 0:
        _judge_way_back(subject, point, before)
    elif subject.front and point.task == "rollback" and point.at.startswith(AFTER_ARMING):
        _judge_answers(subject, subject.front)
    with users(subject.front) as others:
        if answer["interrupted"] or ended not in (0, 1) or point.task in REPEATED:
            _mend(subject, point, answer, before, number)
        _must_be_clean(subject, point)
    if failed := others.failed(VERSIONS):
        raise Violated(f"while it was mended users met {failed}")
    return f"users: {those.failed(VERSIONS)}" if subject.front else ""


@contextmanager
def _attack(subject: Subject, point: Point, number: int) -> Iterator[None]:
    """Let the application's user attack meanwhile, if it is a hostile one."""
    if subject.hostile is None:
        yield
        return
    wrongs: list[str] = []
    with subject.hostile.attacking(number, wrongs, loses=point.fault == "off"):
        yield
    if wrongs:
        raise Violated("; ".join(wrongs))


def _judge_way_back(subject: Subject, point: Point, before: dict[str, str | None]) -> None:
    """A deploy that was not confirmed leaves the whole fleet, and all of the traffic, on the old release."""
    # The word goes out to one host after the other, within a millisecond; who dies in it leaves each on its own.
    if point.at.split("/", 1)[0] in ("confirm", "finish"):
        return
    seen = subject.see()
    runs = {host: sight.version for host, sight in seen.items()}
    if runs != before:
        raise Violated(f"{before} became {runs}, and the deploy was not confirmed")
    if subject.front:
        _judge_answers(subject, subject.front)


def _judge_answers(subject: Subject, front: Front) -> None:
    """Users are answered by what is current on a host, and not by what it leaves or was to have."""
    if wrong := front.astray(subject.see()):
        raise Violated("; ".join(wrong))


def _judge_status(subject: Subject, answer: dict[str, Any], status: int) -> None:
    seen = subject.see()
    told = {host["host"]: host for host in answer["hosts"]}
    for host, sight in seen.items():
        if told[host]["version"] != sight.version:
            raise Violated(f"status says {host} runs {told[host]['version']}, it runs {sight.version}")
        if bool(told[host]["interrupted"]) != sight.interrupted:
            raise Violated(f"status says {told[host]['interrupted']} of {host}, its lock's file says otherwise")
    if (status == 3) != any(sight.interrupted for sight in seen.values()):
        raise Violated(f"status ended with {status}: {answer}")


def _mend(subject: Subject, point: Point, answer: dict[str, Any], before: dict[str, str | None], number: int) -> None:
    """One command: finish it or undo it, in turn."""
    # Whoever has users changes no two hosts at once.
    batch = "--batch=1" if subject.front else "--batch=100%"
    if point.task in REPEATED:
        must(subject, point.task)
        _expect(subject, set(before.values()))
    elif point.task == "rollback":
        # Its guards may have ended it; one more would go back one release more.
        if answer["interrupted"] or set(answer["versions"]) & set(before.values()):
            must(subject, "rollback")
        _expect(subject, set(VERSIONS) - set(before.values()))
    elif answer["interrupted"] and number % 2:
        must(subject, "deploy", "--resume", batch)
        _expect(subject, set(VERSIONS) - set(before.values()))
    elif answer["interrupted"]:
        must(subject, "rollback")
        _expect(subject, set(before.values()))
    else:
        wanted = next(iter(set(VERSIONS) - set(before.values())))
        must(subject, "deploy", f"--version={wanted}", batch)
        _expect(subject, {wanted})


def _expect(subject: Subject, versions: Set[str | None]) -> None:
    runs = {host: seen.version for host, seen in subject.see().items()}
    if set(runs.values()) != versions:
        raise Violated(f"after mending the fleet runs {runs}, not {versions}")


def _must_be_clean(subject: Subject, point: Point) -> None:
    status, answer, _ = subject.run("status")
    if status != 0 or answer["mixed"]:
        raise Violated(f"status ends with {status} after mending: {answer}")

    def left() -> list[str]:
        found = [f"{host}: {left}" for host, seen in subject.see().items() for left in seen.leftovers]
        return found + (subject.database.leftovers(subject.lab, subject.name) if subject.database else [])

    try:
        until(left, 5)
    except Violated:
        # A host that is lost takes along the backup that goes on there after a deploy. The next one clears up after it.
        if point.fault != "off" or not all(one.endswith("/backup.d") for one in left()):
            raise
        must(subject, "backup")
        until(left, 5)
    if subject.front:
        until(subject.wrongs, 5)
        _judge_answers(subject, subject.front)
