"""HAProxy under a steady load: what is off can be killed, what is set stays set, what is counted is what was seen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from playbooks.core.errors import StepFailed
from playbooks.steps.traffic_counts import Meter
from tests.hosts import traffic
from tests.hosts.conftest import APPS, App, invoke, wait_until
from tests.hosts.traffic import AS_TESTER, EDGE, Load, doomed, fetch, hand, reload_fails

pytestmark = pytest.mark.load_sensitive("HAProxy checks servers by the clock")

On = Callable[[str], Host]
TIMEOUT = "timeout server 2s"
ANSWERS = "echo 'show info' | socat -t 10 - UNIX-CONNECT:/run/haproxy/admin.sock | sed -n 's/^Pid: //p'"


@pytest.fixture(scope="module")
def edge(lab: Lab, on: On, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """HAProxy in front of three servers, as provision makes it."""
    extra = {"backend": [TIMEOUT]}
    yield traffic.make_edge(lab, tmp_path_factory.mktemp("haproxy"), on, "haproxy", extra=extra)
    for name in APPS:
        on(name).run(f"systemctl stop {traffic.UNIT}")


@pytest.fixture
def address(specs: dict[str, HostSpec]) -> str:
    return specs[EDGE].address


@pytest.fixture
def inventory(edge: App) -> Iterator[str]:
    """All servers are on before each test, and nobody's guard is there."""
    place = f"{edge.folder}/inventory"
    yield place
    with hand(place, undo=True) as it:
        it.move(it.shares())
        it.confirm()


def test_servers_that_are_off_can_be_killed_and_no_request_fails(inventory: str, address: str, on: On) -> None:
    """B4: the whole of zero downtime stands on this."""
    load = Load(address)
    with load.running(), hand(inventory) as it:
        for name in APPS:
            moved = it.move(it.shares(**{name: None}))
            assert (moved.changed, moved.cut) == (True, {})
            assert not it.move(it.shares(**{name: None})).changed, "the same twice changes nothing"
            traffic.stop_server(on(name))
            on(EDGE).check_output("systemctl reload haproxy")
            assert load.since(1)[name] == 0, "a reload must not bring back what is off"
            traffic.start_server(on(name))
            assert it.move(it.shares()).slow == ()
            assert load.since(0.5)[name] > 0
        it.confirm()
    assert load.failed == []
    assert load.served.total() > 1000


def test_shares_and_testers_are_as_set_and_outlive_a_reload_and_a_restart(inventory: str, address: str, on: On) -> None:
    """A share of 1 % that a reload makes 33 % is an incident; so is a tester who sees the old release."""
    load = Load(address)
    with load.running(), hand(inventory) as it:
        it.move(it.shares(app1=5))
        on(EDGE).check_output("systemctl reload haproxy")
        served = load.since(4)
        assert 0 < served["app1"] < 0.03 * served.total()
        it.move(it.shares(app1=256, app2=0, app3=0))
        time.sleep(1)  # what was in flight
        assert set(load.since(1)) == {"app1"}, "100 %"
        # The new release is on app1, for testers alone.
        old = [replace(share, tester=False) for share in it.shares(app1=0)[1:]]
        it.move([replace(it.normal["app1"], weight=0), *old])
        time.sleep(1)
        assert set(load.since(1)) == {"app2", "app3"}
        it.confirm()
    on(EDGE).check_output("systemctl restart haproxy")
    wait_until(lambda: fetch(address).status == 200)
    with hand(inventory) as it:
        assert it.state().drift == []
        assert {fetch(address, headers=headers).text for headers in AS_TESTER for _ in range(5)} == {"app1"}
        assert "app1" not in {fetch(address).text for _ in range(10)}
        socat = "socat - UNIX-CONNECT:/run/haproxy/admin.sock"
        on(EDGE).check_output(f"sh -c 'echo set server edge-haproxy/app2 weight 7 | {socat}'")
        assert it.state().drift == ["app2: set to weight 256, has 7"], "a change by hand is told"
    assert load.failed == []


def test_counts_are_what_clients_saw(inventory: str, address: str, on: On) -> None:
    """A balancer's own 502 and 504 are in no server's count of 5xx; a judgement without them is blind."""
    meter = Meter()
    with hand(inventory) as it:
        assert it.count(meter) == {}, "the first time sets the start"
        it.move(it.shares(app2=None, app3=None))
        paths = ["/"] * 20 + ["/status/404"] * 3 + ["/status/500"] * 2 + ["/drop"] * 2 + ["/slow/4", "/slow/0.3"]
        statuses = [fetch(address, path).status for path in paths]
        assert {502, 504, 500, 404, 200} == set(statuses)
        seen = it.count(meter)["app1"]
        assert (seen.requests, seen.errors) == (len(paths), sum(status >= 500 for status in statuses))
        assert 0.9 * len(paths) <= sum(seen.latencies.values()) <= len(paths)
        assert seen.quantile(1.0) is not None
        assert max(seen.latencies) > 1900, "what timed out was slow"
        assert 290 <= (seen.quantile(0.96) or 0) <= 360
        old = on(EDGE).check_output(ANSWERS)
        on(EDGE).check_output("systemctl reload haproxy")
        # It comes back at once; the old process serves until the new one is there.
        wait_until(lambda: on(EDGE).run(f"ss -Hltnp | grep -q 'pid={old},'").rc == 1)
        for path in ["/"] * 5 + ["/status/503"]:
            fetch(address, path)
        after = it.count(meter)["app1"]
        assert (after.requests, after.errors, sum(after.latencies.values())) == (6, 1, 6), "counters begin anew"
        assert it.count(meter)["app1"].requests == 0
        traffic.what_clients_met(it, meter, address, "app1", on)
        it.confirm()


def test_what_is_in_flight_is_waited_for_and_told_when_it_is_not(inventory: str, address: str, on: On) -> None:
    """A4/B1: a drain that lies costs somebody's order."""
    found: list[int] = []
    release, hold = f"touch {traffic.RELEASED}", f"rm -f {traffic.RELEASED}"
    with hand(inventory) as it:
        it.move(it.shares(app2=None, app3=None))
        for drain, cut in ((0.0, {"app1": 1}), (10.0, {})):
            it.move(it.shares(app2=None, app3=None))
            on("app1").check_output(hold)
            client = threading.Thread(target=lambda: found.append(fetch(address, "/held").status))
            client.start()
            wait_until(lambda: it.state().servers["app1"].current == 1)
            if drain:
                on("app1").check_output(
                    f"systemd-run --quiet --collect --on-active=2s --timer-property=AccuracySec=100ms sh -c '{release}'"
                )
            assert it.move(it.shares(app1=None), drain=drain).cut == cut
            on("app1").check_output(release)
            client.join()
        it.confirm()
    assert found == [200, 200], "and it goes on, as long as its server does"


def test_a_dead_controllers_traffic_goes_back_by_itself(inventory: str, edge: App, address: str, on: On) -> None:
    """Issue 5, item 8; nobody else has it: at once where the old release is, in the end to where it was."""
    load = Load(address)
    with load.running():
        with doomed(edge.folder / "inventory") as controller:
            assert on(EDGE).file(f"{edge.state}/guard/armed").exists
            traffic.stop_server(on("app1"))
            controller.kill()
            wait_until(lambda: set(load.since(0.3)) == {"app2"})
        # app1 is still off, so nobody meets that it is dead.
        wait_until(lambda: not on(EDGE).file(f"{edge.state}/guard").exists, seconds=60)
        traffic.start_server(on("app1"))
        wait_until(lambda: set(load.since(1)) == set(APPS))
    assert load.failed == []
    last = json.loads(on(EDGE).check_output(f"tail -n 1 {edge.state}/ledger"))
    assert (last["task"], last["status"]) in {("guard", "done"), ("deploy", "interrupted")}
    with hand(inventory) as it:
        assert it.state().drift == []


def test_the_last_server_that_is_up_is_not_taken_off(inventory: str, address: str, on: On) -> None:
    """Better an old release than none."""
    traffic.stop_server(on("app1"))
    try:
        with hand(inventory) as it:
            it.move(it.shares(app1=None))
            with pytest.raises(StepFailed, match="so the others were not disabled") as caught:
                it.move(it.shares(app2=None, app3=None), up=1)
            assert caught.value.code == "step.no-server"
            assert {fetch(address).text for _ in range(10)} == {"app2", "app3"}
            assert it.move(it.shares(app3=None), up=1).slow == ("app1",)
    finally:
        traffic.start_server(on("app1"))


def test_maintenance_shows_the_page_and_outlives_a_restart(inventory: str, address: str, on: On) -> None:
    """G2."""
    with hand(inventory) as it:
        assert it.maintenance(on=True) == ("on", "yes")
        assert it.maintenance(on=True) == ("on", "no")
        on(EDGE).check_output("systemctl restart haproxy")
        wait_until(lambda: fetch(address).status == 503)
        shown = fetch(address, "/some/page")
        assert (shown.status, shown.headers["retry-after"]) == (503, "120")
        assert "We are back soon" in shown.text
        assert fetch(address, headers=AS_TESTER[0]).status == 200, "testers see whether it works again"
        assert it.state().maintenance
        assert it.maintenance(on=False) == ("off", "yes")
        assert fetch(address).status == 200
        on(EDGE).check_output("systemctl stop haproxy")
        with pytest.raises(StepFailed, match=r"Connection refused; see why, on that host: systemctl status haproxy$"):
            it.maintenance(on=True)
        on(EDGE).check_output("systemctl start haproxy")
        wait_until(lambda: fetch(address).status == 200)
        assert not it.state().maintenance, "it was told that this had failed"


def test_provision_takes_no_bad_configuration_and_keeps_what_is_set(
    inventory: str, edge: App, address: str, on: On
) -> None:
    """E4, D1."""
    config = on(EDGE).file("/etc/haproxy/haproxy.cfg").content_string
    given = edge.settings["balancer"]
    openssl = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=shop -days {} -keyout {}.key -out {} 2>/dev/null"
    for days in (10, 60):
        on(EDGE).check_output(openssl.format(days, f"/etc/ssl/{days}.pem", f"/etc/ssl/{days}.pem"))
    tls = {"certificate": "/etc/ssl/10.pem", "ports": [8443]}
    bad: list[tuple[dict[str, object], str]] = [
        ({"extra": {"frontend": ["no such word"]}}, "HAProxy does not accept"),
        ({"tls": tls}, "less than 30 days"),
        ({"tls": {"certificate": "/etc/ssl/none.pem"}}, "there is no certificate"),
    ]
    try:
        with hand(inventory) as it:
            it.move(it.shares(app1=None, app2=9))
            it.confirm()
        for change, said in bad:
            edge.write(balancer={**given, **change})
            ran = invoke("provision", edge.env)
            assert ran.status == 1 and said in ran.err, ran.err
            assert on(EDGE).file("/etc/haproxy/haproxy.cfg").content_string == config
        load = Load(address)
        with load.running():
            good = {"certificate": "/etc/ssl/60.pem", "key": "/etc/ssl/60.pem.key", "ports": [8443]}
            edge.write(balancer={**given, "tls": good})
            ran = invoke("provision", edge.env)
            assert ran.status == 0, ran.err
            time.sleep(1)
        assert load.failed == []
        assert on(EDGE).run("curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:8443/").stdout == "200"
        with hand(inventory) as it:
            assert it.state().drift == []
            assert (it.state().servers["app1"].admin, it.state().servers["app2"].weight) == ("off", 9)
    finally:
        edge.write(balancer=given)
        assert invoke("provision", edge.env).status == 0


def test_what_could_not_be_reloaded_is_provisioned_the_next_time(
    inventory: str, edge: App, address: str, on: On
) -> None:
    """The files say what is to run, and HAProxy has never read them: the next provision would find nothing to do."""
    given = edge.settings["balancer"]
    page = Path(inventory) / "templates/balancer/maintenance.html.j2"
    page.parent.mkdir(parents=True)
    page.write_text("<p>Another page</p>\n")
    try:
        for balancer in (given, {**given, "listen": [*given["listen"], 8089]}):
            edge.write(balancer=balancer)
            with reload_fails(on(EDGE), "haproxy"):
                failed = invoke("provision", edge.env)
                assert failed.status == 1 and "HAProxy does not reload" in failed.err, failed.err
            assert invoke("provision", edge.env).status == 0
            if balancer is given:
                with hand(inventory) as it:
                    it.maintenance(on=True)
                    assert "Another page" in fetch(address).text
                    it.maintenance(on=False)
        assert on(EDGE).run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8089/").stdout == "200"
    finally:
        page.unlink()
        edge.write(balancer=given)
        assert invoke("provision", edge.env).status == 0


def test_a_guard_comes_and_goes_while_systemd_reloads(inventory: str, on: On) -> None:
    """Its units were gone while its timer was still up: that failed, stayed failed, and the next one did not start."""
    reloads = "i=0; while [ $i -lt 60 ]; do i=$((i + 1)); systemctl daemon-reload; sleep 0.05; done"
    on(EDGE).check_output("systemd-run --quiet --collect --unit=reloads sh -c %s", reloads)
    with hand(inventory) as it:
        for weight in range(1, 21):
            it.move(it.shares(app1=weight))
            it.confirm()
    on(EDGE).run("systemctl stop reloads")
    assert on(EDGE).check_output("systemctl list-units --failed --plain --no-legend 'slipway-*'") == ""


def test_nobody_waits_for_a_server_that_nothing_runs_on(inventory: str, on: On) -> None:
    """A first deploy that fails took two minutes to say so, waiting for servers that it had just stopped."""
    traffic.nobody_waits_for_what_is_idle(inventory, on("app1"))


def test_a_fleet_that_drowns_has_no_headroom(inventory: str, address: str) -> None:
    """A deploy went on, batch after batch, while most requests waited for seconds, and was interrupted."""
    traffic.a_fleet_that_drowns(inventory, address)


def test_what_the_check_of_the_balancer_gets_is_told(inventory: str) -> None:
    """Nobody was served, and what its check got was for the user to find out."""
    with hand(inventory) as it:
        traffic.what_the_check_gets(it)
        it.confirm()
