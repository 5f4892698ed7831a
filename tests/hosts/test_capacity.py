"""Servers that carry more than others, and servers that are cold: everybody gets what they can bear, counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
import yaml
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts import traffic
from tests.hosts.conftest import APPS, App, clear_edge, invoke
from tests.hosts.site import IN_PLACE, QUICK, Site, ladder, users
from tests.hosts.traffic import EDGE, Load, hand

pytestmark = pytest.mark.load_sensitive("headroom is judged by the processors' load")

On = Callable[[str], Host]


def give_weights(app: App | Site, weights: Mapping[str, int]) -> None:
    """Say in the inventory what hosts can carry."""
    folder = app.folder / "inventory" / "host_vars"
    folder.mkdir(parents=True, exist_ok=True)
    for host in APPS:
        (folder / f"{host}.yml").write_text(yaml.safe_dump({"slipway_weight": weights.get(host, 1)}))


def parts(served: Counter[str]) -> dict[str, float]:
    return {host: served[host] / served.total() for host in APPS}


@pytest.fixture(params=["haproxy", "nginx"])
def edge(request: pytest.FixtureRequest, lab: Lab, on: On, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    kind = request.param
    yield traffic.make_edge(lab, tmp_path_factory.mktemp(kind), on, kind)
    for name in APPS:
        on(name).run(f"systemctl stop {traffic.UNIT}")
    clear_edge(on(EDGE))
    on(EDGE).run("systemctl start haproxy")


def test_a_larger_host_gets_more_and_what_is_set_otherwise_stays(edge: App, specs: dict[str, HostSpec]) -> None:
    """From one provision to the next: whoever had the usual share has the new one, a canary keeps its own."""
    inventory = f"{edge.folder}/inventory"
    with hand(inventory) as it:
        it.move(it.shares(app3=5))
        it.confirm()
    give_weights(edge, {"app1": 2})
    load = Load(specs[EDGE].address)
    with load.running():
        ran = invoke("provision", edge.env)
        assert ran.status == 0, ran.err
        with hand(inventory) as it:
            assert it.state().drift == []
            weights = {name: server.weight for name, server in it.state().servers.items()}
            assert (weights["app1"], weights["app2"]) == (256, 128)
            it.move(it.shares())
            it.confirm()
        seen = parts(load.since(3))
    assert load.failed == []
    assert seen == pytest.approx({"app1": 0.5, "app2": 0.25, "app3": 0.25}, abs=0.05)
    again = invoke("provision", edge.env, "--json")
    assert again.json["changed"] is False


def test_a_canary_gets_its_share_whatever_its_host_carries(
    lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """B3 with a canary of twice the others' size: a fifth of the traffic, not a third; after it all is as it was."""
    site = Site(lab, tmp_path_factory.mktemp("site"), specs[EDGE].address)
    site.clear(on)
    site.write(**IN_PLACE, rollout={"canary": ladder(("20%", "8s"), ("100%", "3s")), "judgement": QUICK})
    give_weights(site, {"app1": 2})
    site.build()
    site.provision()
    first = site.deploy("1.0.0")
    assert first.status == 0, first.err
    usual = {"app1": 0.5, "app2": 0.25, "app3": 0.25}
    assert site.traffic() == usual
    with users(site) as load:
        done = site.deploy("1.1.0", "--strategy=canary")
        assert done.status == 0, done.err
    assert load.report().failed == 0
    errors = next(finding for finding in done.json["verdicts"][0]["findings"] if finding["rule"] == "worse errors")
    new, old = errors["denominator"], errors["baseline_denominator"]
    assert 0.12 < new / (new + old) < 0.28
    assert site.traffic() == usual


def test_a_server_that_comes_back_is_spared_until_it_is_warm(
    lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Slow start: its share grows, and who has the traffic meanwhile keeps it."""
    app = traffic.make_edge(lab, tmp_path_factory.mktemp("slow"), on, "haproxy", slow_start="6s")
    load = Load(specs[EDGE].address)
    with load.running(), hand(f"{app.folder}/inventory") as it:
        it.move(it.shares(app1=None))
        began = time.monotonic()
        assert it.move(it.shares(), slow=6).slow == ()
        # A share that grows evenly up to a third of the traffic is 15 % of what is served in two thirds of that time.
        assert 0.05 < parts(load.after_return("app1", began, 4))["app1"] < 0.22
        assert parts(load.since(2))["app1"] == pytest.approx(1 / 3, abs=0.06)
        it.move(it.shares(app1=None))
        began = time.monotonic()
        it.move(it.shares(app2=None, app3=None), slow=6)
        warming = parts(load.after_return("app1", began, 4))
        assert warming["app1"] < 0.22, "nobody else was there to spare it"
        assert set(load.since(1)) == {"app1"}
        it.confirm()
    assert load.failed == []
    for name in APPS:
        on(name).run(f"systemctl stop {traffic.UNIT}")
