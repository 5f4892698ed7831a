"""Health on real hosts (A4, A5): each kind of check, good and bad, judged where the application runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

from lab.spec import HostSpec
from tests.hosts.conftest import App, invoke, wait_until
from tests.hosts.test_deploy import answer

pytestmark = pytest.mark.load_sensitive("health has a time limit, and a release dies after a while")

On = Callable[[str], Host]

SERVER = """exec python3 - <<'PY'
import http.server, json, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/slow': time.sleep(1)
        body = json.dumps({'status': 'ok', 'n': 2, 'version': open('VERSION').read().strip()}).encode()
        if self.path == '/VERSION': body = open('VERSION', 'rb').read()
        token = self.headers.get('X-Token', '')
        self.send_response(500 if self.path == '/broken' else 403 if token == 'wrong' else 200)
        self.send_header('X-Kind', 'test'); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', %d), Answer).serve_forever()
PY"""


@pytest.fixture
def answering(app: App) -> App:
    app.build("1.0.0", line=SERVER % app.port)
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    return app


def test_every_kind_of_check_tells_good_from_bad(answering: App, specs: dict[str, HostSpec]) -> None:
    """A check that passes what is broken is worse than none; one that fails what works stops every deploy."""
    base, db = f"http://127.0.0.1:{answering.port}", specs["db1"].address
    http = {"type": "http"}
    good: list[dict[str, Any]] = [
        {**http, "url": f"{base}/", "body": '"status": *"ok"', "json_path": ".n", "json_value": "2"},
        {**http, "url": f"{base}/", "expect_headers": {"x-kind": "^te"}, "headers": {"X-Token": 'a"b\\c'}},
        {**http, "url": f"{base}/broken", "status": 500},
        {**http, "url": f"{base}/?{{version}}", "json_path": ".version", "json_value": "{version}"},
        {"type": "tcp", "port": answering.port},
        {"type": "unit", "unit": "ssh.service"},
        {"type": "command", "run": "test -f VERSION && [ $(id -un) = www-data ]"},
        {"type": "postgresql", "host": db},
        {"type": "redis", "host": db},
    ]
    bad: list[tuple[dict[str, Any], str]] = [
        ({**http, "url": f"{base}/broken"}, "HTTP 500, expected 200"),
        ({**http, "url": f"{base}/", "body": "nothing like it"}, "does not match"),
        ({**http, "url": f"{base}/", "json_path": ".status", "json_value": "down"}, "'ok', expected 'down'"),
        ({**http, "url": f"{base}/", "json_path": ".version", "json_value": "{version}.1"}, "expected '1.0.0.1'"),
        ({**http, "url": f"{base}/", "expect_headers": {"Strict-Transport-Security": "."}}, "expected '.'"),
        ({**http, "url": f"{base}/", "headers": {"X-Token": "wrong"}}, "HTTP 403"),
        ({**http, "url": f"{base}/slow", "timeout": "300ms"}, "timed out"),
        ({**http, "url": f"{base}/slow", "max_time": "500ms"}, "limit 500 ms"),
        ({**http, "url": "http://127.0.0.1:1/$(touch${IFS}/tmp/slipway-evil)"}, "connect"),
        ({"type": "tcp", "port": 1}, "refused"),
        ({"type": "unit", "unit": "no-such.service"}, "inactive"),
        ({"type": "command", "run": "echo out of paper; exit 4"}, "out of paper"),
        ({"type": "postgresql", "host": db, "port": 1}, "no response"),
        ({"type": "redis", "port": 1}, "refused"),
    ]
    checks = [{**check, "name": f"good{n}"} for n, check in enumerate(good)]
    checks += [{**check, "name": f"bad{n}", "critical": n != 0} for n, (check, _) in enumerate(bad)]
    answering.write(health={**answering.settings["health"], "checks": checks})
    asked = invoke("health", answering.env, "--limit=app1", "--json")
    assert asked.status == 1
    results = {check["name"]: check for check in asked.json["hosts"]["app1"]["checks"]}
    assert [name for name, check in results.items() if name.startswith("good") and not check["ok"]] == []
    for number, (_, expected) in enumerate(bad):
        found = results[f"bad{number}"]
        assert not found["ok"], f"{found} passed"
        assert expected.lower() in found["detail"].lower(), found
    answering.write(health={**answering.settings["health"], "checks": checks[: len(good)]})
    assert invoke("health", answering.env, "--limit=app1").status == 0


def test_stays_healthy_or_goes_back(answering: App, on: On) -> None:
    """A version that is up for two seconds and then dies must not be called healthy."""
    dies = "timeout 2 " + (SERVER % answering.port).removeprefix("exec ") + "\nexit 1"
    answering.build("2.0.0", line=dies)
    # What no check asks is not taken for well because something else is; nor is all of it where there are no checks.
    worker = {
        "name": f"{answering.name}-work",
        "unit": {"Service": {"ExecStart": f"{answering.home}/current/bin/work"}},
    }
    one = {"name": f"{answering.name}-one", "unit": {"Service": {"ExecStart": "true", "Type": "oneshot"}}}
    good = SERVER % answering.port
    answering.build("2.1.0", {"bin/work": b"#!/bin/sh\nsleep 1; exit 1\n"}, line=good)
    answering.build("2.2.0", {"bin/work": b"#!/bin/sh\nexec sleep 1d\n"}, line=good)
    services, health = answering.settings["services"], answering.settings["health"]
    for version, changes, said in (
        ("2.0.0", {"health": {**health, "stable_for": "4s"}}, f"{answering.name}.service: it did not stay up"),
        ("2.0.0", {"health": {**health, "checks": []}}, f"{answering.name}.service: it did not stay up"),
        ("2.1.0", {"services": [*services, worker], "health": health}, "work.service: it did not stay up"),
    ):
        answering.write(**changes)
        failed = answering.deploy(version)
        assert failed.status == 1, failed.out
        assert said in failed.out
        assert ("no check of slipway_health asks" in failed.out + failed.err) == (changes["health"].get("checks") == [])
        assert answer(on, answering, "app1") == "1.0.0"
    answering.write(services=[*services, worker, one])
    done = answering.deploy("2.2.0", "--json")
    assert done.status == 0, done.err
    assert not [one for one in done.json["warnings"] if "stay up" in one or "no check" in one], done.json["warnings"]
    # A unit that keeps dying later is told by whoever looks.
    on("app2").check_output(f"systemctl kill --signal=KILL {worker['name']}")
    wait_until(lambda: on("app2").service(worker["name"]).is_running)
    looked = invoke("health", answering.env, "--json")
    assert (looked.status, looked.json["hosts"]["app2"]["restarts"][f"{worker['name']}.service"]) == (1, 1)
    told = invoke("status", answering.env)
    assert f"{worker['name']}.service was restarted once by systemd" in told.out
    wait_until(lambda: invoke("health", answering.env).status == 0, seconds=20)


def test_a_unit_that_systemd_gave_up_is_not_waited_for(answering: App, on: On) -> None:
    """Waiting out five minutes for a unit that is dead keeps the fleet on a bad version for five minutes."""
    answering.write(health={**answering.settings["health"], "attempts": 120, "interval": "1s"})
    answering.build("2.0.0", line="echo no licence >&2; exit 3")
    started = time.monotonic()
    failed = answering.deploy("2.0.0")
    assert failed.status == 1
    assert "no licence" in failed.out
    assert time.monotonic() - started < 100, "it waited as long as for a slow start"
    assert answer(on, answering, "app2") == "1.0.0"


def test_warnings_do_not_stop_a_deploy(answering: App) -> None:
    """A check that is not critical must be told, and no more."""
    checks = [*answering.settings["health"]["checks"], {"type": "tcp", "port": 1, "name": "extra", "critical": False}]
    answering.write(health={**answering.settings["health"], "checks": checks})
    done = answering.deploy("1.0.0", "--force")
    assert done.status == 0
    assert "extra: Connection refused" in done.err


def test_what_a_host_brings_into_sessions_changes_no_answer(answering: App, on: On) -> None:
    """A proxy in /etc/environment, kept by sudo, was asked for the application: health failed, on a good release."""
    host = on("app1")
    brought = "http_proxy=http://127.0.0.1:1 TMPDIR=/nowhere LC_ALL=xx POSIXLY_CORRECT=1"
    host.check_output(f"cp /etc/environment /root/environment; printf '%s\\n' {brought} >>/etc/environment")
    host.check_output("echo 'Defaults env_keep += \"http_proxy TMPDIR LC_ALL POSIXLY_CORRECT\"' >/etc/sudoers.d/keep")
    host.check_output(
        "mkdir -p /etc/systemd/system.conf.d && printf '[Manager]\\nDefaultEnvironment=" + brought + "\\n' "
        ">/etc/systemd/system.conf.d/env.conf && systemctl daemon-reexec"
    )
    host.check_output("echo 'proxy = http://127.0.0.1:1' >/root/.curlrc")
    try:
        health = invoke("health", answering.env)
        assert health.status == 0, health.out
        answering.build("1.1.0", line=SERVER % answering.port)
        deployed = answering.deploy("1.1.0")
        assert deployed.status == 0, deployed.err
        assert invoke("status", answering.env).status == 0
    finally:
        host.run(
            "mv /root/environment /etc/environment; rm -f /root/.curlrc /etc/sudoers.d/keep "
            "/etc/systemd/system.conf.d/env.conf; systemctl daemon-reexec"
        )
