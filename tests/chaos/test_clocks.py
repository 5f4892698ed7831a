"""Clocks an hour apart: nothing may be taken for younger, older or newer than it is.

What can be had on one machine: containers share the kernel's clock, so a host's is moved where Slipway's steps read it,
the program date; file times and restic's own clock stay. The second controller's is moved in its own process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from tests.chaos.faults import PAIR, a_file, assert_whole, said
from tests.hosts.conftest import PROJECT, App, Ran, invoke
from tests.hosts.test_deploy import answer

pytestmark = pytest.mark.load_sensitive("guards' clocks run")

On = Callable[[str], Host]
# It comes before the system's own.
CLOCK = "/usr/sbin/date"
DATE = "#!/bin/sh\nexec /usr/bin/date --date='{seconds} seconds' \"$@\"\n"
LATE_LAPTOP = (
    "import sys, datetime, playbooks.core.clock as clock; right = clock.now; "
    "clock.now = lambda: right() - datetime.timedelta(hours=1); "
    "from invoke.main import program; program.run(['invoke', *sys.argv[1:]])"
)


@pytest.fixture
def skewed(on: On) -> Iterator[None]:
    """app1 an hour ahead, app2 an hour behind."""
    with (
        a_file(on("app1"), CLOCK, DATE.format(seconds=3600), "755"),
        a_file(on("app2"), CLOCK, DATE.format(seconds=-3600), "755"),
    ):
        yield


@pytest.mark.usefixtures("skewed")
def test_hosts_an_hour_apart(app: App, on: On) -> None:
    """Health that waits an hour or not at all, a way back that is not found, or a drill of the wrong backup."""
    app.write(hosts=":".join(PAIR), backup={}, health={**app.settings["health"], "stable_for": "300ms"})
    app.build("1.0.0")
    app.build("1.1.0")
    app.build("1.2.0", line="exit 3")
    for words, status in (
        (["deploy", "--version=1.0.0"], 0),
        (["deploy", "--version=1.1.0"], 0),
        (["deploy", "--version=1.2.0", "--batch=1"], 1),
        (["verify-backups"], 0),
        (["rollback"], 0),
    ):
        ran = invoke(*words, app.env)
        assert ran.status == status, (words, said(ran))
    assert_whole(app, on, "1.0.0")


@pytest.mark.usefixtures("skewed")
@pytest.mark.parametrize("minutes", [10, 50])
def test_a_backups_age_is_told_by_the_clock_that_dated_it(app: App, on: On, minutes: int) -> None:
    """By the controller's clock, a fresh one of a host behind is old, and a stale one of a host ahead young."""
    app.write(hosts=":".join(PAIR), backup={"max_age": "30m"})
    app.build("1.0.0")
    app.build("1.1.0")
    assert app.deploy("1.0.0").status == 0
    assert invoke("backup", app.env).status == 0
    for name in PAIR:
        on(name).check_output(
            f"cd {app.state}/backups; at=$(($({CLOCK} +%s) - {60 * minutes})); for record in *.json; do"
            f" jq -c --argjson at $at '.created = ($at | todate)' $record >new && mv new $record; done"
        )
    # The backup of the deploy itself fails, so that it comes to the age of the last one.
    app.write(backup={"max_age": "30m", "sqlite": [f"/srv/{app.name}-gone"]})
    ran = app.deploy("1.1.0")
    assert ran.status == (0 if minutes < 30 else 1), said(ran)
    assert_whole(app, on, "1.1.0" if minutes < 30 else "1.0.0")


def late(app: App, *words: str) -> Ran:
    """A task from a laptop whose clock is an hour behind."""
    python = str(PROJECT / ".venv/bin/python")
    done = subprocess.run(
        [python, "-c", LATE_LAPTOP, *words, app.env],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_controller_an_hour_behind(app: App, on: On) -> None:
    """Its releases sort before those that ran when it deployed: rollback goes by what followed what, not by names."""
    app.write(hosts=":".join(PAIR))
    app.build("1.0.0")
    app.build("1.1.0")
    assert app.deploy("1.0.0").status == 0
    assert app.deploy("1.1.0").status == 0
    app.write(rollout={"on_failure": "halt"})
    app.build("1.2.0", line="exit 3")
    halted = late(app, "deploy", "--version=1.2.0", "--batch=1")
    assert halted.status == 3, said(halted)
    assert [answer(on, app, name) for name in PAIR] == ["", "1.1.0"]
    back = invoke("rollback", app.env)
    assert back.status == 0, said(back)
    assert_whole(app, on, "1.1.0")


def test_a_deploy_from_a_controller_an_hour_behind_can_be_undone(app: App, on: On) -> None:
    """The release before is the one that ran before, though its name says that it came later."""
    app.write(hosts=":".join(PAIR))
    app.build("1.0.0")
    app.build("1.1.0")
    assert app.deploy("1.0.0").status == 0
    assert late(app, "deploy", "--version=1.1.0", "--batch=100%").status == 0
    assert invoke("rollback", app.env).status == 0
    assert_whole(app, on, "1.0.0")
