"""Runs the fault matrix: several subjects side by side, each on hosts of its own, since most of the time is waiting.

Usage: python -m tests.chaos.run_matrix [--lab=NAME] [--scenario=hosts|hostile|traffic|databases|rolling]
           [--tasks=deploy,…] [--faults=kill,…] [--operations=traffic,…] [--every=N] [--first=N] [--seed=N]
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import up as lab_up
from lab.spec import Lab
from tests.chaos.backups_view import damage_of_backups
from tests.chaos.database import Database
from tests.chaos.front import Front, Strategy
from tests.chaos.hostile import Hostile
from tests.chaos.matrix import DATABASE_TASKS, TASKS, attempt, must, points_of
from tests.chaos.subject import FAULTS, Point, Subject, Violated

HOSTS_EACH = 2
SUBJECTS = 3


@dataclass
class Score:
    """What came of it.

    Args:
        tried: how many points, by task and fault.
        violations: a sentence each.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        """Points tried, by task and fault, and what was violated."""
        rows = [f"{'':<16}" + "".join(f"{fault:>6}" for fault in FAULTS)]
        for task in dict.fromkeys([*TASKS, *DATABASE_TASKS]):
            rows.append(f"{task:<16}" + "".join(f"{self.tried[(task, fault)]:>6}" for fault in FAULTS))
        rows.append(
            f"{sum(self.tried.values())} points tried in {self.seconds:.0f} s, {len(self.violations)} violations"
        )
        return "\n".join([*rows, *self.violations])


@dataclass(frozen=True)
class Chosen:
    """Which points are tried.

    Args:
        tasks, faults: which.
        operations: only those of these; all, if there are none.
        every, first: of the points in their order, each ``every``-th from ``first`` on.
        seed: of what a hostile user does.
    """

    tasks: Sequence[str]
    faults: Sequence[str]
    operations: Sequence[str] = ()
    every: int = 1
    first: int = 0
    seed: int = 1


@dataclass(frozen=True)
class Scenario:
    """Applications to break.

    Args:
        tasks, faults: all that it has.
        labs: names of its labs are the given one with these behind it.
        hosts: application hosts of each.
        teams: makes the applications; those of a team are alike, and share its points.
    """

    tasks: Sequence[str]
    faults: Sequence[str]
    labs: Sequence[str]
    hosts: int
    teams: Callable[[Sequence[Lab], Path], list[list[Subject]]]


def plain(labs: Sequence[Lab], folder: Path) -> list[list[Subject]]:
    """Nothing in front: three alike on one lab."""
    (lab,) = labs
    hosts = [host for host, _ in lab_up.status(lab.name) if host.role == "app"]
    return [
        [
            Subject(
                f"m{number + 1}",
                9901 + number,
                folder / f"m{number + 1}",
                lab,
                tuple(hosts[number * HOSTS_EACH : (number + 1) * HOSTS_EACH]),
            )
            for number in range(SUBJECTS)
        ]
    ]


def attacked(labs: Sequence[Lab], folder: Path) -> list[list[Subject]]:
    """Nothing in front, and the application's user wrecks what it can write to."""
    (team,) = plain(labs, folder)
    for subject in team:
        subject.hostile = Hostile(subject.lab, subject.hosts, subject.name)
    return [team]


def fronted(labs: Sequence[Lab], folder: Path) -> list[list[Subject]]:
    """Behind HAProxy: a canary in place, and blue-green with slots, each with a balancer of its own."""
    canary, slots = labs
    return [[_behind(canary, folder, "canary")], [_behind(slots, folder, "blue-green")]]


def rolled(labs: Sequence[Lab], folder: Path) -> list[list[Subject]]:
    """Behind HAProxy, host by host: out, changed, and back."""
    (lab,) = labs
    return [[_behind(lab, folder, "rolling")]]


def migrated(labs: Sequence[Lab], folder: Path) -> list[list[Subject]]:
    """Nothing in front, and a database that each deploy migrates."""
    (lab,) = labs
    every = [host for host, _ in lab_up.status(lab.name)]
    (server,) = (host for host in every if host.role == "db")
    hosts = tuple(host for host in every if host.role == "app")
    return [[Subject("migrated", 9901, folder / "migrated", lab, hosts, database=Database(server))]]


def _behind(lab: Lab, folder: Path, strategy: Strategy) -> Subject:
    every = [host for host, _ in lab_up.status(lab.name)]
    (edge,) = (host for host in every if host.role == "edge")
    hosts = tuple(host for host in every if host.role == "app")
    slots = strategy == "blue-green"
    name = "slots" if slots else strategy
    return Subject(name, 9901, folder / name, lab, hosts, Front(edge, strategy, slots))


SCENARIOS = {
    "hosts": Scenario(TASKS, FAULTS[:3], [""], HOSTS_EACH * SUBJECTS, plain),
    "hostile": Scenario(TASKS, FAULTS[:3], [""], HOSTS_EACH * SUBJECTS, attacked),
    "traffic": Scenario(TASKS[:2], FAULTS, ["", "-slots"], HOSTS_EACH, fronted),
    "databases": Scenario(DATABASE_TASKS, FAULTS[:3], [""], HOSTS_EACH, migrated),
    "rolling": Scenario(TASKS[:2], FAULTS, [""], HOSTS_EACH, rolled),
}


def run(name: str, lab: str, folder: Path, chosen: Chosen | None = None) -> Score:
    """Bring up the labs of a scenario, try its points, and take them down.

    Args:
        name: of SCENARIOS.
        lab: with what the labs' names begin.
        folder: a new one, for inventories and artifacts.
        chosen: which points; all, when left out.
    """
    scenario = SCENARIOS[name]
    chosen = chosen or Chosen(scenario.tasks, scenario.faults)
    names = [f"{lab}{suffix}" for suffix in scenario.labs]
    try:
        labs = [lab_up.up(one, hosts=scenario.hosts, durable=False)[0] for one in names]
        return _try_all(scenario.teams(labs, folder), chosen)
    finally:
        for one in names:
            lab_up.down(one)


def _try_all(teams: list[list[Subject]], chosen: Chosen) -> Score:
    began = time.monotonic()
    score = Score()
    leads = [threading.Thread(target=_lead, args=(team, chosen, score)) for team in teams]
    for lead in leads:
        lead.start()
    for lead in leads:
        lead.join()
    score.seconds = time.monotonic() - began
    return score


def _lead(team: list[Subject], chosen: Chosen, score: Score) -> None:
    todo: queue.SimpleQueue[tuple[int, Point]] = queue.SimpleQueue()
    try:
        for subject in team:
            subject.make()
            if subject.hostile:
                subject.hostile.seed = chosen.seed
                subject.hostile.install()
                subject.hostile.fill()
            if subject.front or subject.database:
                must(subject, "provision")
        found = [point for task in chosen.tasks for point in points_of(team[0], task, chosen.faults)]
    except Violated as violated:
        score.violations.append(f"{team[0].name}: {violated}")
        return
    found = [point for point in found if not chosen.operations or point.at.split("/", 1)[0] in chosen.operations]
    for number, point in enumerate(found[chosen.first :: chosen.every]):
        todo.put((number, point))
    print(f"{team[0].name}: {todo.qsize()} of {len(found)} points", file=sys.stderr, flush=True)
    workers = [threading.Thread(target=_work, args=(subject, todo, score)) for subject in team]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _work(subject: Subject, todo: queue.SimpleQueue[tuple[int, Point]], score: Score) -> None:
    while True:
        try:
            number, point = todo.get_nowait()
        except queue.Empty:
            break
        began = time.monotonic()
        score.tried[(point.task, point.fault)] += 1
        wrong, met = "", ""
        try:
            met = attempt(subject, point, number)
        except Violated as violated:
            wrong = str(violated)
        except Exception as error:  # noqa: BLE001 - one point that breaks the harness must not hide the others
            wrong = f"the matrix itself failed: {error!r}"
        if wrong:
            score.violations.append(f"{subject.name}: {point}: {wrong}")
        told = f"{'VIOLATED' if wrong else 'ok':<9} {time.monotonic() - began:5.1f} s  {subject.name}: {point}"
        print(f"{told}  {met}{wrong}", file=sys.stderr, flush=True)
    if subject.front is None:
        score.violations += damage_of_backups(subject.lab, subject.hosts, subject.name)
    score.violations += [f"{subject.name}: {wrong}" for wrong in damage_of_ledgers(subject)]


def damage_of_ledgers(subject: Subject) -> list[str]:
    """What is wrong with the hosts' records. Those that a dead controller did not come to write can be had again."""
    status, verified, told = subject.run("history", "--verify")
    hosts = verified.get("hosts", [])
    wrong = [f"the ledger of {host['host']}: {host}" for host in hosts if host["faults"] or host["differs"]]
    if status and not wrong:
        try:
            must(subject, "history", "--repair")
            must(subject, "history", "--verify")
        except Violated as violated:
            wrong = [f"{violated} {told}"]
    return wrong


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lab", default="matrix")
    parser.add_argument("--scenario", choices=SCENARIOS, default="hosts")
    for name in ("tasks", "faults", "operations"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    scenario = SCENARIOS[wanted.scenario]
    chosen = Chosen(
        wanted.tasks.split(",") if wanted.tasks else scenario.tasks,
        wanted.faults.split(",") if wanted.faults else scenario.faults,
        wanted.operations.split(",") if wanted.operations else (),
        wanted.every,
        wanted.first,
        wanted.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        score = run(wanted.scenario, wanted.lab, Path(folder), chosen)
    print(score.table())
    return 1 if score.violations else 0


if __name__ == "__main__":
    sys.exit(main())
