"""Applications that hang, or that the kernel kills, and steps that a signal ends: seen as failures, taken back (A5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from tests.chaos.faults import BROKEN, PAIR, arm, assert_whole, fault, said
from tests.hosts.conftest import App, wait_until

pytestmark = pytest.mark.load_sensitive("units are killed while a deploy looks at them")

On = Callable[[str], Host]

SERVE = "exec python3 -m http.server {port}"
# Deaf to SIGTERM: it goes on serving until somebody uses force.
DEAF = "trap '' TERM; python3 -m http.server {port} & while :; do wait $! || sleep 1; done"


def start(app: App, line: str, **service: Any) -> None:
    """1.0.0 on two hosts."""
    app.write(hosts=":".join(PAIR), services=[unit(app, **service)])
    app.build("1.0.0", line=line.format(port=app.port))
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err


def unit(app: App, **service: Any) -> dict[str, Any]:
    return {"name": app.name, "unit": {"Service": {"ExecStart": f"{app.home}/current/bin/run", **service}}}


def test_a_unit_that_is_slow_to_stop_is_waited_for(app: App, on: On) -> None:
    """systemd ends it by force after TimeoutStopSec; a deploy that looks sooner would call the new release broken."""
    start(app, DEAF, TimeoutStopSec=2)
    app.build("1.1.0")
    done = app.deploy("1.1.0")
    assert done.status == 0, said(done)
    assert_whole(app, on, "1.1.0")


def test_a_unit_that_will_not_stop(app: App, on: On) -> None:
    """It would stop in ten minutes: the deploy must end in time, with the old version serving, not stuck."""
    start(app, DEAF, TimeoutStopSec=600)
    app.build("1.1.0")
    met = app.deploy("1.1.0")
    assert met.status == 1, said(met)
    assert_whole(app, on, "1.0.0")


@pytest.mark.parametrize("line", ["exec sleep 1000", "trap '' TERM; while :; do sleep 1; done"], ids=["polite", "deaf"])
def test_a_unit_that_never_says_it_is_ready(app: App, on: On, line: str) -> None:
    """Type=notify without a word: `systemctl restart` would wait for ever, and so would the way back."""
    start(app, SERVE)
    app.write(services=[unit(app, Type="notify", TimeoutStartSec="infinity", TimeoutStopSec=600)])
    app.build("1.1.0", line=line)
    met = app.deploy("1.1.0")
    assert met.status == 1, said(met)
    assert "activating" in said(met)
    assert_whole(app, on, "1.0.0")


# A lab on a machine with control groups of version 1 has no MemoryMax: there the kernel's blow is dealt by hand.
EAT = """if grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then exec python3 -c 'x = b"x" * 200_000_000'; fi
kill -KILL $$"""


def test_an_application_killed_for_its_memory(app: App, on: On) -> None:
    """The log of a process that was killed says nothing: without systemd's word nobody looks at MemoryMax."""
    limited = on(BROKEN).run("grep -qsw memory /sys/fs/cgroup/cgroup.controllers").rc == 0
    start(app, SERVE)
    app.write(services=[unit(app, MemoryMax="24M", MemorySwapMax=0)])
    app.build("1.1.0", line=EAT)
    met = app.deploy("1.1.0")
    assert met.status == 1, said(met)
    assert ("oom-kill: it was killed for its memory" if limited else "signal: it was killed by signal 9") in said(met)
    assert_whole(app, on, "1.0.0")


# The unit that the step runs in: a hook's own is bound to it.
UNIT = '"$(systemctl show --value -p BindsTo "$(sed -n \'s|.*/||p\' /proc/self/cgroup | tail -n 1)")"'
KILLS = {
    # All of it, as the kernel does for want of memory; then the step's own shell alone; then only the hook.
    "staging": ("install", f"systemctl kill --signal=KILL {UNIT}; sleep 5", "was killed"),
    "the shell that stages": (
        "install",
        f'kill -KILL "$(systemctl show --value -p MainPID {UNIT})"; sleep 5',
        "was killed",
    ),
    "the switch": ("before_switch", f"systemctl kill --signal=KILL {UNIT}; sleep 5", "was killed"),
    "the switch after the rename": ("after_switch", f"systemctl kill --signal=KILL {UNIT}; sleep 5", "was killed"),
    "a hook after the rename": ("after_switch", "kill -SEGV $$", "was killed by signal 11"),
}


@pytest.mark.parametrize("name", KILLS)
def test_what_a_signal_ended_is_no_success(app: App, on: On, name: str) -> None:
    """A command that was killed has no exit status of its own: taken for 0, half a release would go live."""
    moment, kill, told = KILLS[name]
    start(app, SERVE)
    app.write(hooks={moment: [fault(app, kill)]})
    app.build("1.1.0")
    arm(on, app)
    met = app.deploy("1.1.0")
    assert met.status == 1, said(met)
    assert BROKEN in said(met)
    assert told in said(met)
    # A step that is killed outright cannot tidy up: its private scratch waits for the next one, or the next boot.
    on(BROKEN).run(f"rm -rf /run/slipway/tmp.*; mv {app.home}/.hooks /var/tmp/hooks")
    assert_whole(app, on, "1.0.0")
    on(BROKEN).run(f"mv /var/tmp/hooks {app.home}/.hooks")
    again = app.deploy("1.1.0")
    assert again.status == 0, said(again)
    assert_whole(app, on, "1.1.0")


def test_a_health_step_that_a_signal_ended_is_no_success(app: App, on: On) -> None:
    """The loop that judges health killed on one host: no verdict is not a good one."""
    start(app, SERVE)
    app.build("1.1.0", line=f"[ -e /run/{app.name}-go ] || exec sleep 1000; exec python3 -m http.server {app.port}")
    deploy = app.start("deploy", "--version=1.1.0", "--batch=100%")
    on("app1").run(f"touch /run/{app.name}-go")
    judging = f"readlink {app.home}/current | grep -q 1.1.0 && systemctl is-active {app.name}"
    wait_until(lambda: on(BROKEN).run(judging).rc == 0)
    on(BROKEN).check_output(f"systemctl kill --signal=KILL 'slipway-{app.name}-deploy-*'")
    _, err = deploy.communicate(timeout=60)
    assert deploy.returncode == 1, err
    assert_whole(app, on, "1.0.0")
