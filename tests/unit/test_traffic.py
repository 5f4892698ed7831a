"""What a balancer's numbers are taken for, and what its settings may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from playbooks.core.errors import BadAnswer
from playbooks.fleet.script import StepResult, parse
from playbooks.judgement.counts import Counts
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import Server, host_asked, read_traffic_move
from playbooks.steps.traffic_counts import Meter
from playbooks.steps.traffic_probe import Probe
from playbooks.steps.traffic_state import read_state
from playbooks.traffic.registration import lacking, left_behind
from playbooks.traffic.unserved import explained


def answer(*lines: str) -> StepResult:
    return parse("edge1", "traffic", "".join(f"{line}\n" for line in lines).replace(" ", "\t").encode(), 0.0)


def test_a_meter_gives_what_came_since_and_bears_a_reload() -> None:
    """A counter that begins anew must give neither a negative number nor all of the past once more."""
    meter = Meter()
    assert meter.feed(answer("epoch 7", "counter a 1000 50", "cursor x")) == {}
    assert meter.cursor == "x"
    seen = meter.feed(answer("epoch 7", "counter a 1010 51", "latency a 0 9", "latency a 10 1", "cursor y"))
    assert seen == {"a": Counts(10, 1, {1.0: 9, 2.594: 1})}
    reloaded = meter.feed(answer("epoch 8", "counter a 2000 3", "counter b 4 0", "cursor z"))
    assert reloaded == {"a": Counts(2000, 3), "b": Counts(4, 0)}
    assert meter.feed(answer("epoch 8", "counter a 2000 3", "counter b 1 1", "cursor z"))["b"] == Counts(1, 1)
    assert meter.feed(answer("epoch 8", "counted c 5 2", "cursor z")) == {"c": Counts(5, 2)}


def test_a_meter_tells_what_clients_met_whoever_answered() -> None:
    """A 503 that a balancer makes since nobody is up is in no server's count, and is what clients get."""
    meter, head = Meter(), ("epoch 7", "cursor x", "queue 4")
    first = meter.read(answer(*head, "whole epoch 100 7", "checked a 5 failing", "checked b 0 -"))
    assert (first.whole, first.failed_checks) == (Counts(), {})
    assert (first.queue, first.failing) == (4, frozenset({"a"}))
    lines = ("counter a 3 0", "latency a 0 3", "checked a 7 -", "checked b 0 -")
    now = meter.read(answer(*head, "whole epoch 140 27", *lines))
    assert now.whole == Counts(40, 20, {1.0: 3})
    assert (now.failed_checks, now.failing) == ({"a": 2, "b": 0}, frozenset())
    assert meter.read(answer(*head, "whole cursor 9 1")).whole == Counts(9, 1), "nginx counts since it was read"
    with pytest.raises(BadAnswer):
        meter.read(answer(*head, "whole ever 9 1"))


@pytest.mark.parametrize(
    ("status", "text", "said", "hint"),
    [
        (
            400,
            "<h1>Bad Request (400)</h1>",
            "gets status 400: <h1>Bad Request (400)</h1>",
            "slipway_balancer.health_host",
        ),
        (404, "", "gets status 404", "slipway_balancer.health_path to a page that answers 200"),
        (301, "", "gets status 301", "does not redirect"),
        (401, "", "gets status 401", "needs no login"),
        (503, "warming up", "gets status 503: warming up", "its log on app1"),
        (0, "Connection refused", "gets no answer: Connection refused", "curl -i http://10.0.0.1:8000/ready"),
        (200, "ok", "gets 200 now", "invoke status"),
    ],
)
def test_what_a_balancers_check_gets_says_what_to_do(status: int, text: str, said: str, hint: str) -> None:
    """Nobody is served, and "0 of 3 servers in use" leaves a person where they were."""
    balancer = Balancer.model_validate({"hosts": "edge", "health_path": "/ready", "health_host": "shop.example"})
    server = Server("app1", "10.0.0.1", 8000)
    why = explained(Probe("app1", status, text), balancer, Settings.model_construct(), server)
    assert why.sentence == f"its check of app1, GET /ready with Host: shop.example, {said}"
    assert hint in why.hint
    assert why.lasting == (status in (400, 404, 301, 401)), "what only warms up is waited for"


def test_a_balancer_asks_with_a_name_that_the_application_has() -> None:
    """An application that knows its names refused the check that came with its own: 400, and no server was up."""
    settings = Settings.model_construct(app="shop")
    names = ["www.shop.example", "shop.example"]
    for given, asked in (
        ({}, "shop"),
        ({"names": names}, "www.shop.example"),
        ({"names": names, "health_host": "check.example"}, "check.example"),
    ):
        assert host_asked(Balancer.model_validate({"hosts": "edge", **given}), settings) == asked


@pytest.mark.parametrize(
    "lines",
    [
        ("counter a 1 1", "cursor x"),
        ("epoch 1", "counter a many 1", "cursor x"),
        ("epoch 1", "latency a 100000 1", "cursor x"),
        ("epoch 1", "latency a -1 1", "cursor x"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(lines: tuple[str, ...]) -> None:
    """Nobody is to be judged by them."""
    with pytest.raises(BadAnswer):
        Meter().feed(answer(*lines))


def test_answers_are_read_as_they_are_meant() -> None:
    moved = read_traffic_move(answer("cut app1 3", "slow app2", "moved yes"))
    assert (moved.changed, moved.cut, moved.slow) == (True, {"app1": 3}, ("app2",))
    lines = ("version HAProxy", "maintenance off", "server app1 h1 80 5 drain tester down 2 drift -", "edited /etc/x")
    state = read_state(answer(*lines))
    server = state.servers["app1"]
    assert (server.weight, server.admin, server.up, server.current, server.tester) == (5, "drain", False, 2, True)
    assert state.drift == ["app1: drift", "/etc/x was changed by hand"]
    with pytest.raises(BadAnswer):
        read_state(answer("version HAProxy", "maintenance off", "server app1 h1 80 5 gone tester down 2 - -"))


def test_a_balancer_that_lacks_servers_is_found_before_traffic_is_to_move() -> None:
    """A deploy once staged everything, and then left a guard behind that nobody could satisfy."""
    hosts = {"app1": "10.0.0.1", "app2": "10.0.0.2", "app3": "app3.example"}
    servers = [Server(name, address, 8000) for name, address in hosts.items()]
    nothing = read_state(answer("version HAProxy", "maintenance off"))
    assert lacking(nothing, servers) == ["the balancer has no server app1, app2, app3"]
    known = [f"server {name} 10.0.0.{name[3]} 8000 256 on tester up 0 - -" for name in hosts]
    assert lacking(read_state(answer("version HAProxy", "maintenance off", *known)), servers) == []
    known[1:] = ["server app2 10.0.0.9 8000 256 on tester up 0 - -", "server app3 10.0.0.3 8001 256 on tester up 0 - -"]
    assert lacking(read_state(answer("version HAProxy", "maintenance off", *known)), servers) == [
        "the balancer has app2 at 10.0.0.9:8000, expected 10.0.0.2:8000",
        "the balancer has app3 at 10.0.0.3:8001, expected app3.example:8000",
    ]


def test_a_balancer_that_is_told_of_other_ports_only_leaves_its_clients_behind() -> None:
    """Slots with ports that nothing listens at yet took a site off the air, and provision said nothing."""
    lines = ["server app1 10.0.0.1 8001 256 on tester up 0 - -", "server app2 10.0.0.2 8001 256 on tester down 0 - -"]
    state = read_state(answer("version HAProxy", "maintenance off", *lines))
    slots = [Server("app1-blue", "10.0.0.1", 8003), Server("app1-green", "10.0.0.1", 8004)]
    assert left_behind(state, slots) == ["10.0.0.1:8001"]
    assert left_behind(state, [*slots, Server("app1-red", "10.0.0.1", 8001)]) == []
    assert left_behind(read_state(answer("version HAProxy", "maintenance off")), slots) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"testers": {}}, "a header, a cookie or both"),
        ({"listen": []}, "expected a port, or tls"),
        ({"testers": {"header": {"name": "X", "value": 'a" b'}}}, "should match pattern"),
        ({"health_path": "/ready\nserver evil"}, "should match pattern"),
        ({"tls": {"certificate": "/a.pem", "key": "/b.key"}}, "HAProxy looks for it in /a.pem"),
        ({"kind": "nginx", "slow_start": "5s"}, "nginx's open edition has none"),
        ({"kind": "apache"}, "haproxy"),
    ],
)
def test_settings_that_a_balancer_could_not_have_are_refused(given: dict[str, object], said: str) -> None:
    """What is rendered into a configuration must not be able to say more than it is."""
    with pytest.raises(ValidationError, match=said):
        Balancer.model_validate({"hosts": "edge", **given})


def test_each_balancer_keeps_clients_for_as_long_as_it_can_without_a_loss() -> None:
    kept = [Balancer.model_validate({"hosts": "edge", "kind": kind}).kept_alive for kind in ("haproxy", "nginx")]
    assert kept == [60.0, 0.0]
