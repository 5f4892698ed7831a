"""Traffic when its balancer, or whoever moves it, fails: it ends on the old release, or a sentence says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.chaos.front import Front, users
from tests.chaos.matrix import must
from tests.chaos.subject import GUARD, VERSIONS, Point, Subject
from tests.hosts.conftest import clear_edge, wait_until

pytestmark = pytest.mark.load_sensitive("guards' clocks run beside requests")

On = Callable[[str], Host]
OLD, NEW = VERSIONS
EDGE = 2  # behind the two hosts


def made(lab: Lab, specs: dict[str, HostSpec], on: On, folder: Path, *, slots: bool, guard: float) -> Subject:
    """The old version runs on two hosts behind the balancer."""
    clear_edge(on("edge1"))
    front = Front(specs["edge1"], "blue-green" if slots else "canary", slots)
    name = "beside" if slots else "inplace"
    subject = Subject(name, 9971 if slots else 9973, folder, lab, (specs["app1"], specs["app2"]), front)
    subject.make(guard=guard)
    must(subject, "provision")
    must(subject, "deploy", f"--version={OLD}", "--batch=100%")
    return subject


def dies(subject: Subject, at: str) -> None:
    """The controller of a deploy of the new version dies there."""
    subject.break_it(Point("deploy", "kill", EDGE, at), ["deploy", f"--version={NEW}", "--batch=100%"])


@contextmanager
def hanging(edge: Host) -> Iterator[None]:
    """HAProxy is there, and answers nobody."""
    edge.check_output("systemctl kill --signal=STOP haproxy")
    try:
        yield
    finally:
        edge.check_output("systemctl kill --signal=CONT haproxy")


@pytest.mark.parametrize("words", [["rollback"], ["deploy", "--resume", "--batch=100%"]], ids=["rollback", "resume"])
def test_what_a_person_takes_back_loses_its_traffic_first(
    words: list[str], lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path: Path
) -> None:
    """All users are on the new release when its controller dies; stopped under them it was a site of 503s."""
    subject = made(lab, specs, on, tmp_path, slots=True, guard=120)
    dies(subject, "traffic/answered/4")
    with users(subject.front) as those:
        wait_until(lambda: those.answers[NEW] > 0)
        must(subject, *words)
    assert those.failed(VERSIONS) == {}
    assert subject.wrongs() == []
    assert {seen.version for seen in subject.see().values()} == {OLD if words == ["rollback"] else NEW}


def test_a_balancer_that_hangs_is_told_and_asked_again(
    on: On, lab: Lab, specs: dict[str, HostSpec], tmp_path: Path
) -> None:
    """A guard that gave up, or said that a server is unknown, would leave the traffic, and a person, on a wrong way."""
    subject = made(lab, specs, on, tmp_path, slots=False, guard=6)
    dies(subject, "traffic/answered/3")
    with hanging(on("edge1")):
        why = on("edge1").file(f"/var/lib/slipway/{subject.name}/guard/why")
        wait_until(lambda: why.exists and "hangs" in why.content_string, seconds=60)
        status, answer, _ = subject.run("status")
        assert status == 3
        assert "systemctl restart haproxy" in answer["balancers"][0]["problem"], answer
    subject.wait_until_whole(60)
    assert {seen.version for seen in subject.see().values()} == {OLD}
    must(subject, "rollback")


BROKEN = {
    # Its hosts' guards would stop the slots before the balancer's has moved the traffic on.
    "slots, and its controller dies": (True, Point("rollback", "kill", EDGE, "traffic/answered/2")),
    # Hosts are armed, and the balancer is not: what they leave has all of the traffic until somebody goes on.
    "slots, and its controller dies too early for the balancer": (
        True,
        Point("rollback", "kill", 1, "switch/answered/1"),
    ),
    "in place, and a host is lost": (False, Point("rollback", "cut", 0, "switch/sent/1")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rollback_leaves_every_host_in_use(
    name: str, lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path: Path
) -> None:
    """A host that it left out stayed out of every deploy after it: half a fleet carried all, and nobody knew."""
    slots, point = BROKEN[name]
    subject = made(lab, specs, on, tmp_path, slots=slots, guard=GUARD)
    must(subject, "deploy", f"--version={NEW}", "--batch=1")
    with users(subject.front) as those:
        subject.break_it(point, ["rollback"])
        subject.wait_until_whole(subject.limit)
    assert point.fault != "kill" or those.failed(VERSIONS) == {}, "no host was broken: nobody should have noticed"
    for words in (["rollback"], ["deploy", f"--version={NEW}", "--batch=1"]):
        with users(subject.front) as others:
            must(subject, *words)
        assert others.failed(VERSIONS) == {}
        assert {seen.version for seen in subject.see().values()} == {OLD if words == ["rollback"] else NEW}
        assert subject.wrongs() == []
