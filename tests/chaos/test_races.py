"""Two people, two laptops, one fleet: one at a time, and never a mix of their versions at the end (A1)."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.chaos.faults import PAIR, assert_whole
from tests.hosts.conftest import PROJECT, App, Ran, wait_until

pytestmark = pytest.mark.load_sensitive("two tasks meet within a few milliseconds")

On = Callable[[str], Host]


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another controller: a checkout of its own, which shares nothing with the first but the hosts."""
    place = tmp_path_factory.mktemp("laptop") / "slipway"
    shutil.copytree(PROJECT, place, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache"))
    (place / ".venv").symlink_to(PROJECT / ".venv")
    return place


def gate(app: App) -> str:
    return f"/run/{app.name}-gate"


@contextmanager
def closed(app: App, on: On) -> Iterator[None]:
    """No deploy gets beyond staging meanwhile, however long it takes somebody to meet it."""
    for name in PAIR:
        on(name).check_output(f"touch {gate(app)}")
    try:
        yield
    finally:
        for name in PAIR:
            on(name).check_output(f"rm {gate(app)}")


@pytest.fixture
def slow(app: App) -> App:
    """An application that runs 1.0.0, whose next releases take two seconds to stage, or until the gate is open."""
    app.write(hosts=":".join(PAIR))
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    app.write(hooks={"install": [{"run": f"sleep 2; while [ -e {gate(app)} ]; do sleep 0.1; done"}]})
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        app.build(version)
    return app


def end(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=120)
    return Ran(process.returncode, out, err)


def until_locked(app: App, on: On) -> None:
    """Until somebody holds the lock on every host."""
    held = f"[ -s {app.state}/lock ] && ! flock -n {app.state}/lock true"
    for name in PAIR:
        wait_until(lambda name=name: on(name).run(held).rc == 0)  # type: ignore[misc]


def test_two_deploys_at_once(slow: App, on: On, laptop: Path) -> None:
    """Both get half of the hosts, or both all of them, one over the other."""
    with closed(slow, on):
        racing = {
            version: slow.start("deploy", f"--version={version}", "--batch=100%", at=at)
            for version, at in (("1.1.0", PROJECT), ("1.2.0", laptop))
        }
        wait_until(lambda: any(process.poll() is not None for process in racing.values()))
    ran = {version: end(process) for version, process in racing.items()}
    won = [version for version, one in ran.items() if one.status == 0]
    lost = [version for version, one in ran.items() if one.status == 4]
    assert (len(won), len(lost)) == (1, 1), ran
    assert f"deploy {won[0]}" in ran[lost[0]].err, "the loser must be told who is at work"
    assert_whole(slow, on, won[0])


def test_deploys_that_wait_run_one_after_the_other(slow: App, on: On, laptop: Path) -> None:
    """Who waited acts on what he saw before: stages against, or goes back to, a release that is not the running one."""
    racing = {
        version: slow.start("deploy", f"--version={version}", "--batch=1", "--wait=60s", at=at)
        for version, at in (("1.1.0", PROJECT), ("1.2.0", laptop), ("1.3.0", laptop))
    }
    ran = [end(process) for process in racing.values()]
    assert [one.status for one in ran] == [0, 0, 0], ran
    last = on("app1").check_output(f"cat {slow.home}/current/VERSION")
    assert_whole(slow, on, last)
    ledgers = [on(name).check_output(f"jq -r .version {slow.state}/ledger").split() for name in PAIR]
    assert ledgers[0] == ledgers[1], "every host went through them in the same order"
    assert (ledgers[0][0], ledgers[0][-1], sorted(ledgers[0])) == ("1.0.0", last, ["1.0.0", *racing])


def test_rollback_during_a_deploy(slow: App, on: On, laptop: Path) -> None:
    """Somebody sees errors and rolls back while a colleague's deploy is half-way."""
    with closed(slow, on):
        deploy = slow.start("deploy", "--version=1.1.0", "--batch=1", at=PROJECT)
        until_locked(slow, on)
        refused = end(slow.start("rollback", at=laptop))
    waits = slow.start("rollback", "--wait=60s", "--reason=errors", at=laptop)
    assert refused.status == 4, refused
    assert "deploy 1.1.0" in refused.err
    deployed, back = end(deploy), end(waits)
    assert (deployed.status, back.status) == (0, 0), (deployed, back)
    assert_whole(slow, on, "1.0.0")


def test_deploy_during_a_deploy_that_is_killed(slow: App, on: On, laptop: Path) -> None:
    """Who waits for somebody whose laptop dies gets the lock, and must find the fleet as the dead one left it."""
    with closed(slow, on):
        dying = slow.start("deploy", "--version=1.1.0", "--batch=1", at=PROJECT)
        until_locked(slow, on)
        waits = slow.start("deploy", "--version=1.2.0", "--batch=1", "--wait=120s", at=laptop)
        dying.send_signal(signal.SIGKILL)
        dying.communicate()
    ran = end(waits)
    assert ran.status == 0, ran
    assert_whole(slow, on, "1.2.0")
