"""Users of a host who have nothing to do with an application do not hold up its tasks, and nothing outlives a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testinfra.host import Host

from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]


@contextmanager
def tmp_used_up(host: Host) -> Iterator[None]:
    """Another user has the last inode of /tmp, and every name there that a task might want."""
    host.check_output("mount -t tmpfs -o nr_inodes=200,mode=1777 tmpfs /tmp")
    fill = "mkdir /tmp/mine; i=0; while true >/tmp/mine/$i; do i=$((i + 1)); done 2>/dev/null; true"
    try:
        host.check_output("runuser -u nobody -- sh -c %s", fill)
        assert host.run("mktemp -d").rc != 0, "there is room left"
        yield
    finally:
        host.check_output("umount --lazy /tmp")


def test_a_full_tmp_holds_up_no_deploy_and_no_way_back(app: App, on: On) -> None:
    """Anybody on a host can use up /tmp: a rollback failed, since a health check could not make a folder there."""
    app.write(
        hosts="app1",
        backup={"enabled": True},
        hooks={"before_switch": [{"run": 'echo x >"$TMPDIR/x" && echo y >"$HOME/y"'}]},
    )
    for version in ("1.0.0", "1.1.0"):
        app.build(version)
    assert app.deploy("1.0.0").status == 0
    with tmp_used_up(on("app1")):
        for words in (["deploy", "--version=1.1.0"], ["health"], ["backup"], ["rollback", "--yes"]):
            done = invoke(*words, app.env)
            assert done.status == 0, f"{words}: {done.err}"


def test_what_a_health_command_leaves_running_ends_with_it(app: App, on: On) -> None:
    """It lived on beside sshd, in none of the application's limits, and nothing ever ended it."""
    stays = "setsid sh -c 'trap : TERM HUP INT; exec sleep 4711' & setsid sleep 4711 & echo $$ | grep -q '^[0-9]'"
    checks = [*app.settings["health"]["checks"], {"type": "command", "run": stays}]
    app.write(hosts="app1", health={**app.settings["health"], "checks": checks})
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert invoke("health", app.env).status == 0
    assert on("app1").run("pgrep -f '[s]leep 4711'").stdout == ""
