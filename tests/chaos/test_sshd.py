"""sshd that allows little: few sessions on a connection, few logins at a time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.chaos.faults import BROKEN, PAIR, assert_whole, said, sshd
from tests.hosts.conftest import App, invoke, wait_until

pytestmark = pytest.mark.load_sensitive("logs in while sshd refuses others")

On = Callable[[str], Host]


@pytest.fixture
def running(app: App) -> App:
    app.write(hosts=":".join(PAIR), backup={})
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    app.build("1.1.0")
    return app


def test_three_sessions_are_enough(running: App, on: On) -> None:
    """The lock, a backup and the staging beside it: a task that needs more fails on hosts that are hardened."""
    with sshd(on(BROKEN), "MaxSessions 3\n"):
        for words in (["deploy", "--version=1.1.0"], ["rollback"], ["backup"], ["verify-backups"], ["status"]):
            ran = invoke(*words, running.env)
            assert ran.status == 0, (words, said(ran))
    assert_whole(running, on, "1.0.0")


def test_two_sessions_are_enough_without_backups(running: App, on: On) -> None:
    """The lock, and one step at a time beside it."""
    running.write(backup={"enabled": False})
    with sshd(on(BROKEN), "MaxSessions 2\n"):
        for words in (["deploy", "--version=1.1.0"], ["rollback"], ["status"]):
            ran = invoke(*words, running.env)
            assert ran.status == 0, (words, said(ran))
    assert_whole(running, on, "1.0.0")


def test_too_few_sessions_are_told(running: App, on: On) -> None:
    """'Connect failed' sends people to the firewall; it is MaxSessions in sshd's configuration."""
    with sshd(on(BROKEN), "MaxSessions 1\n"):
        met = running.deploy("1.1.0")
        assert met.status == 1, said(met)
        assert BROKEN in said(met)
        assert "MaxSessions" in said(met)
    assert_whole(running, on, "1.0.0")
    assert running.deploy("1.1.0").status == 0


@contextmanager
def somebody_at_the_door(address: str) -> Iterator[socket.socket]:
    """A connection that does not log in: with MaxStartups 1:100:1 nobody else gets in until it is gone."""
    with socket.create_connection((address, 22), timeout=10) as knocking:
        knocking.recv(64)
        yield knocking


def test_a_login_that_is_refused_for_a_moment_is_tried_again(running: App, on: On, specs: dict[str, HostSpec]) -> None:
    """MaxStartups refuses at random while others log in: a whole fleet's deploy must not end for one closed door."""
    since = on(BROKEN).check_output("date +@%s")
    with sshd(on(BROKEN), "MaxStartups 1:100:1\n"), somebody_at_the_door(specs[BROKEN].address) as knocking:
        deploy = running.start("deploy", "--version=1.1.0", "--batch=100%")
        # This look needs no login: its session is open already.
        refused = f"journalctl -t sshd --since={since} --no-pager | grep -q 'past MaxStartups'"
        wait_until(lambda: on(BROKEN).run(refused).rc == 0)
        knocking.close()
        _, err = deploy.communicate(timeout=60)
        assert deploy.returncode == 0, err
    assert_whole(running, on, "1.1.0")


def test_a_login_that_is_refused_for_good_is_told(running: App, on: On, specs: dict[str, HostSpec]) -> None:
    """Trying again has an end, and a sentence that names the host."""
    with sshd(on(BROKEN), "MaxStartups 1:100:1\n"), somebody_at_the_door(specs[BROKEN].address):
        met = running.deploy("1.1.0")
        assert met.status == 1, said(met)
        assert f"{BROKEN}: cannot connect" in said(met)
        assert "Traceback" not in met.err, "the library's own log is not for a person at night"
    assert_whole(running, on, "1.0.0")
