"""nginx under a steady load: the same promises as HAProxy's, kept by a file and graceful reloads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from playbooks.core.errors import StepFailed
from playbooks.steps.traffic_counts import Meter
from tests.hosts import traffic
from tests.hosts.conftest import APPS, App, invoke, wait_until
from tests.hosts.traffic import AS_TESTER, EDGE, Load, doomed, fetch, hand, reload_fails

pytestmark = pytest.mark.load_sensitive("requests run while traffic moves")

On = Callable[[str], Host]


@pytest.fixture(scope="module")
def edge(lab: Lab, on: On, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """nginx in front of three servers, as provision makes it."""
    extra = {"backend": ["proxy_read_timeout 2s;"]}
    yield traffic.make_edge(lab, tmp_path_factory.mktemp("nginx"), on, "nginx", extra=extra)
    for name in APPS:
        on(name).run(f"systemctl stop {traffic.UNIT}")
    on(EDGE).run("sh -c 'systemctl disable --now nginx; systemctl enable --now haproxy'")


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
    """B4. Clients keep connections for as long as the balancer lets them, as browsers do."""
    load = Load(address)
    with load.running(), hand(inventory) as it:
        for name in APPS:
            moved = it.move(it.shares(**{name: None}))
            assert (moved.changed, moved.cut) == (True, {})
            assert not it.move(it.shares(**{name: None})).changed, "the same twice changes nothing"
            traffic.stop_server(on(name))
            on(EDGE).check_output("systemctl reload nginx")
            assert load.since(1)[name] == 0
            assert it.move(it.shares(), up=1).slow == (name,), "a dead server is not tried out on users"
            assert load.since(0.5)[name] == 0
            state = it.state()
            assert (state.servers[name].out, state.drift) == (True, []), "no person has put it out"
            traffic.start_server(on(name))
            assert it.move(it.shares()).slow == ()
            assert load.since(0.5)[name] > 0
        it.confirm()
    assert load.failed == []
    assert load.served.total() > 1000


def test_shares_and_testers_are_as_set_and_outlive_a_restart(inventory: str, address: str, on: On) -> None:
    """B3: a share of 1 %, and testers who see the new release and nothing else."""
    load = Load(address)
    with load.running(), hand(inventory) as it:
        it.move(it.shares(app1=5))
        served = load.since(5)
        assert 0 < served["app1"] < 0.03 * served.total()
        it.move(it.shares(app1=256, app2=0, app3=0))
        time.sleep(1)  # what the processes before still had in flight
        assert set(load.since(1)) == {"app1"}, "100 %"
        old = [replace(share, tester=False) for share in it.shares(app1=0)[1:]]
        it.move([replace(it.normal["app1"], weight=0), *old])
        time.sleep(1)
        assert set(load.since(1)) == {"app2", "app3"}
        it.confirm()
    assert load.failed == []
    on(EDGE).check_output("systemctl restart nginx")
    with hand(inventory) as it:
        assert it.state().drift == []
        assert {fetch(address, headers=headers).text for headers in AS_TESTER for _ in range(5)} == {"app1"}
        assert "app1" not in {fetch(address).text for _ in range(10)}
        on(EDGE).check_output("sed -i 's/weight=256/weight=7/' /etc/nginx/slipway/edge-nginx.conf")
        assert it.state().drift == ["/etc/nginx/slipway/edge-nginx.conf was changed by hand"]


def test_a_reload_that_failed_is_not_taken_for_done(inventory: str, address: str, on: On) -> None:
    """The file says who gets what, and nginx has never read it: asked for the same again, that was called done."""
    with hand(inventory) as it:
        with reload_fails(on(EDGE), "nginx"), pytest.raises(StepFailed, match="nginx does not reload"):
            it.move(it.shares(app1=None))
        assert "app1" in {fetch(address).text for _ in range(10)}
        it.move(it.shares(app1=None))
        assert "app1" not in {fetch(address).text for _ in range(10)}


def test_counts_are_what_clients_saw(inventory: str, address: str, on: On) -> None:
    """No statistics come with nginx's open edition: its log has them, and may be put aside at any time."""
    meter = Meter()
    with hand(inventory) as it:
        assert it.count(meter) == {}, "the first time sets the start"
        it.move(it.shares(app2=None, app3=None))
        paths = ["/"] * 20 + ["/status/404"] * 3 + ["/status/500"] * 2 + ["/drop"] * 2 + ["/slow/4", "/slow/0.3"]
        statuses = [fetch(address, path).status for path in paths[:10]]
        log = "/var/log/nginx/slipway-edge-nginx.log"
        on(EDGE).check_output(f"sh -c 'mv {log} {log}.1; nginx -s reopen'")
        wait_until(lambda: on(EDGE).file(log).exists)
        statuses += [fetch(address, path).status for path in paths[10:]]
        assert {502, 504, 500, 404, 200} == set(statuses)
        seen = it.count(meter)["app1"]
        assert (seen.requests, seen.errors) == (len(paths), sum(status >= 500 for status in statuses))
        assert sum(seen.latencies.values()) == len(paths)
        assert max(seen.latencies) > 1900, "what timed out was slow"
        assert it.count(meter) == {}
        traffic.what_clients_met(it, meter, address, "app1", on)
        it.confirm()


def test_what_is_in_flight_is_waited_for_and_told_when_it_is_not(
    inventory: str, address: str, on: On, specs: dict[str, HostSpec]
) -> None:
    """A4/B1: a drain that lies costs somebody's order; one that counts what only calls itself nginx never ends."""
    found: list[int] = []
    called = f"exec 3<>/dev/tcp/{specs['app1'].address}/{traffic.PORT} && read -t 60 -u 3"
    on(EDGE).check_output("cp /bin/bash /srv/nginx")
    on(EDGE).check_output("runuser -u nobody -- setsid /srv/nginx -c %s >/dev/null 2>&1 &", called)
    wait_until(lambda: on(EDGE).run(f"ss -Htnp state established dport = :{traffic.PORT} | grep nginx").rc == 0)

    def ask() -> None:
        found.append(fetch(address, "/slow/1.8").status)

    with hand(inventory) as it:
        for drain, cut in ((0.0, {"app1": 1}), (10.0, {})):
            it.move(it.shares(app2=0, app3=0))
            client = threading.Thread(target=ask)
            client.start()
            time.sleep(0.5)
            assert it.move(it.shares(app1=None), drain=drain).cut == cut
            client.join()
        it.confirm()
    on(EDGE).check_output("pkill -u nobody -x nginx; rm /srv/nginx")
    assert found == [200, 200]


def test_a_dead_controllers_traffic_goes_back_by_itself(inventory: str, edge: App, address: str, on: On) -> None:
    """Issue 5, item 8."""
    load = Load(address)
    with load.running():
        with doomed(edge.folder / "inventory") as controller:
            traffic.stop_server(on("app1"))
            controller.kill()
            wait_until(lambda: set(load.since(0.3)) == {"app2"})
            traffic.start_server(on("app1"))
        wait_until(lambda: not on(EDGE).file(f"{edge.state}/guard").exists, seconds=60)
        wait_until(lambda: set(load.since(1)) == set(APPS))
    assert load.failed == []
    with hand(inventory) as it:
        assert it.state().drift == []


def test_the_last_server_that_is_up_is_not_taken_off(inventory: str, address: str, on: On) -> None:
    """Better an old release than none."""
    with hand(inventory) as it:
        it.move(it.shares(app1=None))
        traffic.stop_server(on("app1"))
        try:
            with pytest.raises(StepFailed, match="so the others were not disabled"):
                it.move(it.shares(app2=None, app3=None), up=1)
        finally:
            traffic.start_server(on("app1"))
        assert {fetch(address).text for _ in range(10)} == {"app2", "app3"}


def test_maintenance_shows_the_page_and_outlives_a_restart(inventory: str, address: str, on: On) -> None:
    """G2."""
    with hand(inventory) as it:
        assert it.maintenance(on=True) == ("on", "yes")
        assert it.maintenance(on=True) == ("on", "no")
        on(EDGE).check_output("systemctl restart nginx")
        shown = fetch(address, "/some/page")
        assert (shown.status, shown.headers["Retry-After"]) == (503, "120")
        assert "We are back soon" in shown.text
        assert fetch(address, headers=AS_TESTER[0]).status == 200, "testers see whether it works again"
        assert it.state().maintenance
        assert it.maintenance(on=False) == ("off", "yes")
        assert fetch(address).status == 200


def test_provision_takes_no_bad_configuration_and_keeps_what_is_set(
    inventory: str, edge: App, address: str, on: On
) -> None:
    """E4: a mistake in the settings must not wait in a file for the next restart."""
    config = on(EDGE).file("/etc/nginx/nginx.conf").content_string
    given = edge.settings["balancer"]
    try:
        with hand(inventory) as it:
            it.move(it.shares(app1=None, app2=9))
            it.confirm()
        edge.write(balancer={**given, "extra": {"frontend": ["no such word;"]}})
        ran = invoke("provision", edge.env)
        assert ran.status == 1 and "nginx does not accept" in ran.err, ran.err
        assert on(EDGE).file("/etc/nginx/nginx.conf").content_string == config
        load = Load(address)
        with load.running():
            edge.write(balancer={**given, "retry_after": 60})
            assert invoke("provision", edge.env).status == 0
        assert load.failed == []
        with hand(inventory) as it:
            assert it.state().drift == []
            assert (it.state().servers["app1"].admin, it.state().servers["app2"].weight) == ("off", 9)
    finally:
        edge.write(balancer=given)
        assert invoke("provision", edge.env).status == 0


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
