"""Ways to break a lab host, each put right at the end, and what must be true after it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from testinfra.host import Host

from tests.hosts.conftest import App, Ran, invoke
from tests.hosts.test_deploy import answer

On = Callable[[str], Host]
PAIR = ("app1", "app2")
BROKEN = "app2"


@contextmanager
def small_disk(host: Host, path: str, options: str) -> Iterator[None]:
    """A file system of its own at a path, with tmpfs's options (size=…, nr_inodes=…); it goes with what it held."""
    host.check_output(f"mkdir -p {path} && mount -t tmpfs -o {options},mode=755 small {path}")
    try:
        yield
    finally:
        host.run(f"umount -l {path}; rm -rf {path}")


@contextmanager
def a_file(host: Host, path: str, content: str, mode: str = "644") -> Iterator[None]:
    """A file that is there for a while."""
    assert host.run("printf %s >%s && chmod %s %s", content, path, mode, path).rc == 0
    try:
        yield
    finally:
        host.run("rm -f %s", path)


@contextmanager
def sshd(host: Host, settings: str) -> Iterator[None]:
    """sshd with other limits; sessions that are open stay."""
    with a_file(host, "/etc/ssh/sshd_config.d/00-limits.conf", settings):
        # Not reload: that returns before the new sshd listens.
        host.check_output("sshd -t && systemctl restart ssh")
        try:
            yield
        finally:
            host.run("rm /etc/ssh/sshd_config.d/00-limits.conf; systemctl restart ssh")


def fault(app: App, command: str) -> dict[str, object]:
    """A root hook that does harm, once, on the host where the marker is."""
    return {"name": "fault", "user": "root", "run": f"if rm /run/{app.name}-fault 2>/dev/null; then {command}; fi"}


def arm(on: On, app: App, host: str = BROKEN) -> None:
    """Let the fault happen on that host."""
    on(host).check_output(f"touch /run/{app.name}-fault")


def assert_whole(app: App, on: On, version: str, *, hosts: Sequence[str] = PAIR) -> None:
    """One version serves everywhere, status knows it, and nothing of what failed is left on any host."""
    assert {name: answer(on, app, name) for name in hosts} == dict.fromkeys(hosts, version)
    status = invoke("status", app.env, "--json")
    assert (status.json["mixed"], status.json["versions"]) == (False, [version]), status.out
    for name in hosts:
        left = settled(on(name), app)
        assert not left, f"{name} has leftovers: {left}"


def settled(host: Host, app: App) -> list[str]:
    """What is left when nothing moves any more: the backup after a deploy goes on for a while, and then it is gone."""
    for _ in range(60):
        left = leftovers(host, app)
        if not any(f"slipway-{app.name}-deploy-" in line for line in left):
            break
        time.sleep(0.5)
    return left


def leftovers(host: Host, app: App) -> list[str]:
    """Scratch files, half releases, units and locks that a task made and did not remove."""
    scratch = [f"{app.home}/releases/.incoming*", f"{app.home}/.current.new", f"{app.state}/backup.d"]
    scratch += [
        f"{app.state}/*.??????",
        f"{app.state}/*.new",
        f"{app.state}/backups/*.new",
        f"{app.home}/.hooks",
    ]
    half = f'for r in {app.home}/releases/*/; do [ -f "$r/.slipway/complete" ] || echo "half: $r"; done'
    # Units first: what is not there any more has removed its files by then.
    found = host.check_output(
        f"systemctl list-units --all --plain --no-legend 'slipway-{app.name}-*'; "
        f"ls -d {' '.join(scratch)} /run/slipway/balancer.* 2>/dev/null; {half}; "
        f"[ ! -e {app.state}/lock ] || flock -n {app.state}/lock true || echo 'lock held'"
    )
    return [line for line in found.splitlines() if not line.endswith("backup.lock")]


def said(ran: Ran) -> str:
    """All that a person is told."""
    return re.sub(r"\s+", " ", f"{ran.out} {ran.err}")
