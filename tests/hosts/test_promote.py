"""A stage that is held for want of requests: a person lets it go on from another terminal, or takes it back."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from playbooks.core.surroundings import who
from tests.hosts.conftest import App, invoke, wait_until

pytestmark = pytest.mark.load_sensitive("a held rollout is judged by requests")

UNJUDGED = {"worse_errors": None, "worse_latency": None}


@pytest.fixture
def held(app: App, on: Callable[[str], Host], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A canary that nobody asks anything: its first stage is held. It writes its story."""
    steps = [{"share": "50%", "for": "3s"}, {"share": "100%", "for": "1s", "criteria": UNJUDGED}]
    app.write(
        balancer={"hosts": "edge", "port": app.port, "listen": [app.port + 900], "health_path": "/VERSION"},
        rollout={"strategy": "canary", "canary": steps, "judgement": {"interval": "1s"}},
    )
    assert invoke("provision", app.env).status == 0
    for version in ("1", "2"):
        app.build(version)
    first = app.deploy("1")
    assert first.status == 0, first.err
    none = invoke("promote", app.env)
    assert none.status == 1
    assert "no deploy is running" in none.err
    with app.start("deploy", "--version=2", "--batch=100%", f"--report={tmp_path}/page.html") as deploy:
        try:
            run = f"/run/slipway/{app.name}"
            wait_until(lambda: deploy.poll() is not None or on("app1").file(f"{run}/held").exists, seconds=60)
            assert deploy.poll() is None, deploy.communicate()
            yield deploy
        finally:
            deploy.kill()


def test_a_held_stage_goes_on_when_somebody_says_so(
    app: App, on: Callable[[str], Host], held: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Who said so is in the ledger of every host, and in the story."""
    said = invoke("promote", app.env, "--json")
    assert said.status == 0, said.err
    assert said.json["stage"] == "50 % of the traffic"
    assert len(said.json["hosts"]) == 3
    _, err = held.communicate(timeout=60)
    assert held.returncode == 0, err
    last = invoke("history", app.env, "--json").json["records"][0]
    verdicts = {one["stage"]: one for one in last["verdicts"]}
    by = verdicts["50 % of the traffic"]["promoted_by"]
    assert by == who()
    assert verdicts["50 % of the traffic"]["outcome"] == "inconclusive"
    assert "promoted_by" not in verdicts["100 % of the traffic"]
    assert f"promoted by {by}" in (tmp_path / "page.html").read_text()
    for name in ("app1", "app2", "app3"):
        assert on(name).file(f"{app.home}/current/VERSION").content_string == "2\n"
        assert not on(name).file(f"/run/slipway/{app.name}/promoted").exists
        assert not on(name).file(f"/run/slipway/{app.name}/held").exists


def test_a_held_stage_is_taken_back_by_ctrl_c(
    app: App, on: Callable[[str], Host], held: subprocess.Popen[str], tmp_path: Path
) -> None:
    """The other thing that a person can say; after it there is nothing to promote."""
    os.kill(held.pid, signal.SIGINT)
    _, err = held.communicate(timeout=60)
    assert held.returncode == 1, err
    assert "Ctrl-C" in (tmp_path / "page.html").read_text()
    for name in ("app1", "app2", "app3"):
        assert on(name).file(f"{app.home}/current/VERSION").content_string == "1\n"
        assert not on(name).file(f"/run/slipway/{app.name}/held").exists


def test_a_deploy_is_taken_back_from_another_terminal(
    app: App, on: Callable[[str], Host], held: subprocess.Popen[str]
) -> None:
    """At 3 a.m. whoever is called has no hand on the keyboard of the machine that deploys."""
    locked = invoke("rollback", app.env)
    assert locked.status == 4
    assert "invoke abort" in locked.err
    asked = invoke("abort", app.env, "--json")
    assert asked.status == 0, asked.err
    assert (asked.json["what"], len(asked.json["hosts"])) == ("deploy 2", 3)
    told, err = held.communicate(timeout=90)
    assert held.returncode == 1, err
    assert f"was stopped by {who()} (invoke abort). The fleet was taken back" in told
    for name in ("app1", "app2", "app3"):
        assert on(name).file(f"{app.home}/current/VERSION").content_string == "1\n"
    nobody = invoke("abort", app.env)
    assert nobody.status == 1
    assert "no task is at work" in nobody.err


def test_only_the_deploy_that_holds_a_stage_can_be_promoted(
    app: App, on: Callable[[str], Host], held: subprocess.Popen[str]
) -> None:
    """What a dead deploy left behind must not let another one's stage go on, nor be told as done."""
    run = f"/run/slipway/{app.name}"
    for name in ("app1", "app2", "app3"):
        on(name).check_output(f"sh -c 'printf \"another\\t50 %% of the traffic\\n\" >{run}/held'")
        on(name).check_output(f"sh -c 'printf \"another\\teve@x\\t50 %% of the traffic\\n\" >{run}/promoted'")
    refused = invoke("promote", app.env)
    assert refused.status == 1
    assert "holds no stage" in refused.err
    with pytest.raises(subprocess.TimeoutExpired):
        held.wait(timeout=5)
