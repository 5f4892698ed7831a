"""Deploys, rollbacks, kills, reboots and partitions in any order, on real hosts, against a model of what may be.

A bounded number of steps in CI; SLIPWAY_CHAOS_EXAMPLES and SLIPWAY_CHAOS_STEPS ask for more.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lab import machine, network
from lab.spec import HostSpec, Lab
from tests.chaos.matrix import points_of
from tests.chaos.subject import GUARD, MARGIN, VERSIONS, Point, Subject

pytestmark = pytest.mark.load_sensitive("breaks things while guards' clocks run")

EXAMPLES = int(os.environ.get("SLIPWAY_CHAOS_EXAMPLES", "2"))
STEPS = int(os.environ.get("SLIPWAY_CHAOS_STEPS", "6"))
HOSTS = 2


class Model(RuleBasedStateMachine):
    """A fleet, and what it may run.

    Args:
        subject: the application.
        points: where its deploy can be broken.
    """

    def __init__(self, subject: Subject, points: list[Point]) -> None:
        super().__init__()
        self.subject, self.points = subject, points
        status, _, told = subject.run("deploy", f"--version={VERSIONS[0]}", "--wait=60s", "--batch=100%")
        assert status == 0, told
        self.version = VERSIONS[0]
        self.coming = ""  # the version of the deploy that was interrupted
        self.rolled_back = False

    @rule(version=st.sampled_from(VERSIONS))
    def deploy(self, version: str) -> None:
        """A deploy waits for guards, and ends what was interrupted."""
        status, _, told = self.subject.run("deploy", f"--version={version}", "--wait=60s", "--batch=100%")
        assert status == 0, told
        self.version, self.coming, self.rolled_back = version, "", False

    @precondition(lambda self: not self.rolled_back)
    @rule()
    def rollback(self) -> None:
        """A rollback undoes what was interrupted; else the last deploy, if there was one before."""
        status, answer, told = self.subject.run("rollback")
        assert status in (0, 2), told
        if self.coming:
            assert status == 0, told
        elif status == 0:
            self.version = answer["version"]
            self.rolled_back = True
        self.coming = ""

    @rule(version=st.sampled_from(VERSIONS), where=st.floats(0, 1, exclude_max=True))
    def killed(self, version: str, where: float) -> None:
        """The controller dies anywhere in a deploy."""
        point = self.points[int(where * len(self.points))]
        self._broken("kill", point, version)

    @rule(version=st.sampled_from(VERSIONS), where=st.floats(0, 1, exclude_max=True))
    def cut_off(self, version: str, where: float) -> None:
        """A host loses its network anywhere in a deploy, and has it back when that has ended."""
        point = self.points[int(where * len(self.points))]
        self._broken("cut", point, version)

    @rule(number=st.integers(0, HOSTS - 1))
    def reboot(self, number: int) -> None:
        """A host loses its power while nobody works on it."""
        host = self.subject.hosts[number]
        machine.power_off(self.subject.lab, host)
        machine.start(self.subject.lab, host)
        network.wait_for_ssh(host, seconds=30)

    @precondition(lambda self: bool(self.coming))
    @rule()
    def resume(self) -> None:
        """What was interrupted can be finished."""
        status, _, told = self.subject.run("deploy", "--resume", "--batch=100%")
        assert status == 0, told
        self.version, self.coming, self.rolled_back = self.coming, "", False

    @invariant()
    def every_host_is_whole(self) -> None:
        """Each serves what it should, or, where a deploy was interrupted, one of two versions, whole."""
        self.subject.wait_until_whole(GUARD + MARGIN)
        runs = {host: seen.version for host, seen in self.subject.see().items()}
        may = {self.version, self.coming} if self.coming else {self.version}
        assert set(runs.values()) <= may, f"{runs}, allowed: {may}"

    def _broken(self, fault: str, point: Point, version: str) -> None:
        self.subject.wait_until_whole(GUARD + MARGIN)
        words = ["deploy", f"--version={version}", "--batch=1", "--wait=60s"]
        self.subject.break_it(Point("deploy", fault, point.host, point.at), words, surely=False)
        self.subject.wait_until_whole(GUARD + MARGIN)
        _, answer, _ = self.subject.run("status")
        runs = set(answer["versions"])
        if answer["interrupted"]:
            self.coming = version if "deploy" in answer["interrupted"] else self.coming
        else:
            assert len(runs) == 1, answer
            self.version, self.coming = runs.pop(), ""
        self.rolled_back = False


def test_any_order_of_deploys_and_faults(lab: Lab, specs: dict[str, HostSpec], tmp_path: Path) -> None:
    """Faults that are survived one by one may not be in a row."""
    hosts = tuple(specs[name] for name in ("app1", "app2"))
    subject = Subject("stateful", 9981, tmp_path, lab, hosts)
    subject.make()
    points = points_of(subject, "deploy", ["kill"])
    points = [point for point in points if not point.at.startswith("connect/")]
    run_state_machine_as_test(
        lambda: Model(subject, points),  # type: ignore[arg-type]
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # a smaller case would cost as many minutes again
            suppress_health_check=list(HealthCheck),
        ),
    )
