"""What a balancer's numbers are taken for, and what its settings may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from playbooks.errors import BadAnswer
from playbooks.fleet.script import Answer, parse
from playbooks.judgement.counts import Counts
from playbooks.settings.traffic import Balancer
from playbooks.steps.traffic import Server, read_traffic
from playbooks.steps.traffic_counts import Meter
from playbooks.steps.traffic_state import read_state
from playbooks.traffic.known import lacking, left_behind


def answer(*lines: str) -> Answer:
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
    moved = read_traffic(answer("cut app1 3", "slow app2", "moved yes"))
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
