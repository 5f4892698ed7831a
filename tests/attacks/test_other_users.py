"""Users of a host who have nothing to do with an application do not hold up its tasks, or answer for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testinfra.host import Host

from tests.hosts.backups import secret
from tests.hosts.conftest import App, invoke, wait_until

On = Callable[[str], Host]

# Takes a port as soon as it is free and answers what a new release would.
TAKES = """
import socket, sys
while True:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        server.close()
server.listen(50)
while True:
    taken, _ = server.accept()
    with taken:
        print(taken.recv(4096), flush=True)
        taken.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\n1.1.0\\n")
"""
# Takes the port of a drilled release that does not listen itself, and says it in its command line.
TAKES_DRILLS = (
    """
import glob, re, sys
found = None
while not found:
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            found = found or re.search(rb"sleep\\0003600[.]([0-9]+)", open(name, "rb").read())
        except OSError:
            pass
sys.argv[1:] = [found[1].decode()]
"""
    + TAKES
)
# Makes files in a folder of an old release as fast as they are removed.
FILLS = """
import os, sys
inside, number = os.open(sys.argv[1], os.O_RDONLY), 0
while True:
    number += 1
    os.close(os.open(f"f{number % 5000}", os.O_CREAT, dir_fd=inside))
"""
# Sends a signal to whatever a task runs as this user, as soon as it is there.
SIGNALS = """
import os, sys
number, own, application = int(sys.argv[1]), (os.getpid(), os.getppid()), sys.argv[2]
while True:
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if pid not in own and os.stat(f"/proc/{pid}").st_uid == os.getuid():
                if application not in open(f"/proc/{pid}/cgroup").read():
                    os.kill(pid, number)
        except OSError:
            pass
"""

# Makes what would be Slipway's in another tool's release come and go.
FLIPS = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename("hidden", ".slipway")
    os.rename(".slipway", "hidden")
"""


@contextmanager
def at_work(host: Host, user: str, program: str, *words: str) -> Iterator[None]:
    """A program of a user's runs meanwhile."""
    start = "runuser -u %s -- setsid python3 -c %s " + " ".join(["%s"] * len(words)) + " >/run/at-work 2>&1 & echo $!"
    process = host.check_output(start, user, program, *words)
    try:
        yield
    finally:
        # runuser passes it on.
        host.run("kill %s", process)


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


def test_nobody_answers_in_the_applications_place(app: App, on: On) -> None:
    """A port is whose program binds it first. Who took it in the moment of a restart was healthy, and got the token."""
    check = {**app.settings["health"]["checks"][0], "headers": {"Authorization": "Bearer of-the-application"}}
    app.write(
        hosts="app1",
        writable=["cache"],
        keep_releases=2,
        health={"attempts": 4, "interval": "250ms", "checks": [check]},
    )
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        app.build(version)
    assert app.deploy("1.0.0").status == 0
    with at_work(on("app1"), "nobody", TAKES, str(app.port)):
        taken = app.deploy("1.1.0")
        assert taken.status != 0, taken.err
        assert f"at port {app.port} listens a program of nobody" in taken.out
        assert "listens a program of nobody" in invoke("health", app.env).out
    assert "Bearer" not in on("app1").check_output("cat /run/at-work")

    # Nor by another way to name the host.
    own = on("app1").check_output("hostname -I").split()[0]
    on("app1").check_output(f"systemctl reset-failed {app.name}; systemctl restart {app.name}")
    for named in (own, "app1", "127.1", "0", "[::ffff:127.0.0.1]"):
        app.write(health={"attempts": 1, "checks": [{**check, "url": f"http://{named}:7999/VERSION"}]})
        with at_work(on("app1"), "nobody", TAKES, "7999", "0.0.0.0"):
            wait_until(lambda: on("app1").run("ss -Hltn | grep -q :7999").rc == 0)
            assert "listens a program of nobody" in invoke("health", app.env).out, named
        assert "Bearer" not in on("app1").check_output("cat /run/at-work"), named
    # Nor a password, or what a URL holds.
    asked = {"port": 7999, "password": "token"}
    url = f"http://127.0.0.1:7999/VERSION?key={secret(app, 'token').read_text().strip()}"
    checks = [{"type": "redis", **asked}, {"type": "postgresql", **asked}, {**check, "headers": {}, "url": url}]
    app.write(health={"attempts": 1, "checks": checks})
    with at_work(on("app1"), "nobody", TAKES, "7999"):
        wait_until(lambda: on("app1").run("ss -Hltn | grep -q :7999").rc == 0)
        assert invoke("health", app.env).out.count("listens a program of nobody") == 3
    assert "b'" not in on("app1").check_output("cat /run/at-work")
    assert "nobody listens there" in invoke("health", app.env).out
    app.write(health={"attempts": 1, "checks": [{**one, "served_by": "nobody"} for one in checks]})
    with at_work(on("app1"), "nobody", TAKES, "7999"):
        wait_until(lambda: on("app1").run("ss -Hltn | grep -q :7999").rc == 0)
        assert "listens a program of" not in invoke("health", app.env).out
    assert "AUTH" in on("app1").check_output("cat /run/at-work")
    app.write(health={"attempts": 4, "interval": "250ms", "checks": [check]})

    # The running application's user goes on writing into a release that is to go.
    assert app.deploy("1.1.0").status == 0
    first = on("app1").check_output("ls %s", f"{app.home}/releases").split()[0]
    with at_work(on("app1"), "www-data", FILLS, f"{app.home}/releases/{first}/cache"):
        done = app.deploy("1.2.0")
        assert (done.status, "warning" in done.err) == (0, False), done.err
    assert first not in on("app1").check_output("ls %s", f"{app.home}/releases").split()
    assert app.deploy("1.3.0").status == 0
    assert "gone" not in on("app1").check_output("ls -A %s", f"{app.home}/releases")

    # A drilled release never listens; somebody does, at the port that it has.
    drill = {"command": "exec sleep 3600.$PORT", "url": "http://127.0.0.1:{port}/", "timeout": "5s"}
    app.write(backup={"drill": drill})
    assert invoke("backup", app.env).status == 0
    with at_work(on("app1"), "nobody", TAKES_DRILLS):
        drilled = invoke("verify-backups", app.env)
    assert drilled.status == 1, drilled.out
    assert "a program of nobody does" in drilled.out


def test_a_host_on_which_the_applications_user_can_put_roots_programs_is_refused(app: App, on: On) -> None:
    """What lay in /usr/local/bin, where the application's user could write, root ran in every step."""
    app.write(hosts="app1")
    app.build("1.0.0")
    host, own = on("app1"), f"/{app.name}.service"
    assert invoke("provision", app.env).status == 0
    try:
        host.check_output("sh -c 'chgrp www-data /usr/local/bin && chmod g+w /usr/local/bin'")
        for words in (["provision"], ["deploy", "--version=1.0.0"]):
            refused = invoke(*words, app.env)
            assert (refused.status, "can write to /usr/local/bin" in refused.err) == (1, True), refused.err
        # Nor does the user keep us from seeing it.
        with at_work(host, "www-data", SIGNALS, str(int(signal.SIGKILL)), own):
            refused = invoke("provision", app.env)
            assert "can write to /usr/local/bin" in refused.err, refused.err
    finally:
        host.check_output("sh -c 'chmod g-w /usr/local/bin && chgrp root /usr/local/bin'")
    began = time.monotonic()
    with at_work(host, "www-data", SIGNALS, str(int(signal.SIGSTOP)), own):
        deployed = app.deploy("1.0.0")
    assert (deployed.status, time.monotonic() - began < 30) == (0, True), deployed.err


def test_another_tools_release_leads_root_to_no_file_of_the_hosts(app: App, on: On) -> None:
    """Its user made a list of units there, a link to /etc/shadow: invoke logs --unit=x told all of it. So might a
    check of a deploy, which shows how files differ."""
    host, theirs = on("app1"), f"{app.home}/releases/20240201120000"
    host.check_output(f"mkdir -p {theirs} {app.home}/shared && ln -s releases/20240201120000 {app.home}/current")
    host.check_output("install -m 0600 /dev/null /root/marked && echo of-roots >/root/marked")
    host.check_output(f"chown www-data {theirs}")
    made = (
        "mkdir -p hidden/unit-files; ln -s /root/marked env; echo env >hidden/config; ln -s /root/marked hidden/units"
    )
    host.check_output(f"runuser -u www-data -- sh -euc 'cd {theirs}; {made}; : >hidden/manifest'")
    (app.folder / "inventory/templates").mkdir(parents=True)
    (app.folder / "inventory/templates/env.j2").write_text("A=1\n")
    app.write(hosts="app1", config=[{"template": "env.j2", "dest": "env"}])
    app.build("1.0.0")
    with at_work(host, "www-data", FLIPS, theirs):
        for _ in range(10):
            for words in (["logs", "--unit=x"], ["deploy", "--version=1.0.0", "--check"]):
                done = invoke(*words, app.env)
                assert "of-roots" not in done.out + done.err, f"{words}: {done.out + done.err}"
