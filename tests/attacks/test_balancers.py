"""What somebody can do who is on the balancer's host, and is not root there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.attacks.test_other_users import at_work
from tests.hosts.acme import authority
from tests.hosts.conftest import App, clear_edge, invoke
from tests.hosts.traffic import EDGE

On = Callable[[str], Host]
NAME = "attacked.example"
SOCKET = "/run/haproxy/admin.sock"
# HAProxy's own user has the folder of its socket: a worker that was taken over answers in its place.
ANSWERS = f"""
import os, socket, sys, threading, time
server = socket.socket(socket.AF_UNIX)
os.rename("{SOCKET}", "{SOCKET}.real")
server.bind("{SOCKET}")
server.listen(50)
def answer(taken):
    try:
        while True:
            taken.sendall(b"x" * 1000000 if sys.argv[1] == "endless" else b"x")
            time.sleep(0 if sys.argv[1] == "endless" else 0.3)
    except OSError:
        taken.close()
while True:
    taken, _ = server.accept()
    threading.Thread(target=answer, args=(taken,), daemon=True).start()
"""
# Keeps the most that was used of /run, which is the host's memory.
MEASURES = """
import os, time
most, start = 0, os.statvfs("/run")
while True:
    now = os.statvfs("/run")
    used = (start.f_bfree - now.f_bfree) * now.f_frsize >> 20
    if used > most:
        most = used
        with open("/tmp/most", "w") as file:
            file.write(f"{most}\\n")
    time.sleep(0.01)
"""


@pytest.fixture
def edge(on: On) -> Iterator[Host]:
    host = on(EDGE)
    clear_edge(host)
    yield host
    host.run(f"rm -f {SOCKET} {SOCKET}.real")
    clear_edge(host)
    host.run("systemctl start haproxy")


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_nobody_but_root_answers_an_authority(
    kind: str, app: App, on: On, edge: Host, specs: dict[str, HostSpec]
) -> None:
    """Any user of the balancer's host could listen where certbot does, and get a certificate for its names."""
    with authority(on("db1"), specs["db1"].address, edge, specs[EDGE].address, [NAME]) as acme:
        tls = {"acme": {"server": acme.server}}
        app.write(balancer={"hosts": "edge", "kind": kind, "port": app.port, "names": [NAME], "tls": tls})
        provisioned = invoke("provision", app.env)
        assert provisioned.status == 0, provisioned.err
        files = "/etc/haproxy/haproxy.cfg /etc/nginx/nginx.conf /etc/nginx/slipway/*.site"
        to_certbot = "grep -E 'server certbot|proxy_pass http://127' | grep -om 1 '127.0.0.1:[0-9]*'"
        passed_on = f"cat {files} 2>/dev/null | {to_certbot}"
        port = edge.check_output(passed_on).rpartition(":")[2]
        ask = (
            "certbot certonly --non-interactive --agree-tos --register-unsafely-without-email --standalone"
            f" --server={acme.server} --http-01-address=127.0.0.1 --http-01-port={port}"
            f" --config-dir=/tmp/mine --work-dir=/tmp/mine --logs-dir=/tmp/mine --domain={NAME}"
        )
        trust = "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"
        try:
            asked = edge.run(f"runuser -u nobody -- env {trust} {ask}")
            assert not edge.run("cat /tmp/mine/live/*/privkey.pem").stdout, "nobody has a certificate and its key"
            assert asked.rc != 0
            # Renewed all the same, by what was written before the port was root's, too.
            edge.check_output("sed -i 's/^http01_port = .*/http01_port = 8402/' /etc/letsencrypt/renewal/*.conf")
            assert invoke("provision", app.env).status == 0
            renewed = edge.run(
                f"env {trust} certbot renew --no-random-sleep-on-renew --force-renewal --cert-name=slipway-{app.name}"
            )
            assert renewed.rc == 0, renewed.stdout + renewed.stderr
        finally:
            edge.run("rm -rf /tmp/mine")


@pytest.mark.parametrize("how", ["endless", "dripping"])
def test_a_socket_that_never_ends_its_answer_takes_neither_memory_nor_time(how: str, app: App, edge: Host) -> None:
    """What answered at HAProxy's socket filled the host's memory; a byte now and then held a task for ten minutes."""
    app.write(balancer={"hosts": "edge", "port": app.port})
    assert invoke("provision", app.env).status == 0
    with at_work(edge, "haproxy", ANSWERS, how), at_work(edge, "root", MEASURES):
        time.sleep(1)
        began = time.monotonic()
        status = invoke("traffic", app.env)
        took = time.monotonic() - began
    assert status.status != 0
    assert "HAProxy" in status.err and SOCKET in status.err, status.err
    assert took < 60, f"it took {took:.0f} s"
    most = int(edge.run("cat /tmp/most; rm -f /tmp/most").stdout or 0)
    assert most < 100, f"{most} MB of the host's memory"


def test_folders_that_others_have_lead_root_nowhere_and_hold_up_nothing(app: App, edge: Host) -> None:
    """Root wrote through a link in the folder of HAProxy's user; anybody could lock what a deploy waited for."""
    app.write(hosts="app1", balancer={"hosts": "edge", "port": app.port, "health_path": "/VERSION", "drain": "1s"})
    for version in ("1.0.0", "1.1.0"):
        app.build(version)
    assert invoke("provision", app.env).status == 0
    assert app.deploy("1.0.0").status == 0
    saved, target = "/var/lib/haproxy/slipway.state", "/etc/cron.d/not-there"
    holds = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX); time.sleep(300)"
    try:
        # As it is on RHEL.
        edge.check_output("chown haproxy:haproxy /var/lib/haproxy")
        for attack in (f"ln -sfn {target} {saved}.new; ln -sfn {target} {saved}", f"rm -f {saved}; mkfifo {saved}"):
            edge.check_output("runuser -u haproxy -- sh -c %s", attack)
            for version in ("1.1.0", "1.0.0"):
                assert app.deploy(version).status == 0
            assert invoke("provision", app.env).status == 0
            assert edge.run(f"test -e {target}").rc != 0
        with (
            at_work(edge, "nobody", holds, "/var/lib/haproxy"),
            at_work(edge, "nobody", holds, "/etc/haproxy/slipway"),
        ):
            began = time.monotonic()
            app.write(balancer={**app.settings["balancer"], "linger": "50s"})
            assert invoke("provision", app.env).status == 0
            deployed = app.deploy("1.1.0")
            assert deployed.status == 0, deployed.err
            assert time.monotonic() - began < 60
    finally:
        edge.run(f"rm -f {target}; chown root:root /var/lib/haproxy")


def test_an_endless_log_takes_no_memory(app: App, edge: Host) -> None:
    """A worker of nginx can make its log 20 GB in one call; all of it was copied into the host's memory."""
    app.write(balancer={"hosts": "edge", "kind": "nginx", "port": app.port})
    assert invoke("provision", app.env).status == 0
    log = f"/var/log/nginx/slipway-{app.name}.log"
    began = app.start("error-rate", "--over=6s")
    assert began.stderr is not None
    try:
        with at_work(edge, "root", MEASURES):
            for line in began.stderr:
                if "counting" in line:  # From here on; it reads again at the end.
                    break
            edge.check_output(f"truncate -s 20G {log}")
            _, err = began.communicate()
        assert "No space left" not in err
        most = int(edge.run("cat /tmp/most; rm -f /tmp/most").stdout or 0)
        assert most < 100, f"{most} MB of the host's memory"
    finally:
        edge.run(f"rm -f {log}")


def test_no_program_of_the_users_speaks_to_the_balancer(app: App, edge: Host) -> None:
    """Where the application's user has an account there, too, root ran what that user could change below /usr/local."""
    socat = "/usr/local/bin/socat"
    app.write(balancer={"hosts": "edge", "port": app.port})
    assert invoke("provision", app.env).status == 0
    edge.check_output("install -d -o www-data /srv/theirs && ln -s $(command -v socat) /srv/theirs/")
    edge.check_output(f"ln -s /srv/theirs/socat {socat}")
    try:
        for words in (["traffic"], ["maintenance", "--on"], ["provision"]):
            ran = invoke(*words, app.env)
            assert ran.status != 0, words
            assert "user www-data can write to /srv/theirs, which is /usr/local/bin/socat" in ran.err, ran.err
    finally:
        edge.check_output(f"rm -r /srv/theirs {socat}")
    assert invoke("traffic", app.env).status == 0
