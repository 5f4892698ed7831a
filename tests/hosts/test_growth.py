"""A fleet that grows: who is new keeps nobody from deploying, or from going back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.conftest import Ran, invoke, wait_until
from tests.hosts.site import IN_PLACE, Site

pytestmark = pytest.mark.load_sensitive("a leak is judged by the clock")

On = Callable[[str], Host]


def switched(ran: Ran) -> list[str]:
    """The hosts, in the order in which they changed."""
    return re.findall(r"^(\w+) +switch ", ran.err, flags=re.MULTILINE)


@pytest.fixture
def kind(request: pytest.FixtureRequest, on: On) -> Iterator[str]:
    """What balances; afterwards HAProxy is the one that runs again, as tests of other files have it."""
    yield str(request.param)
    on("edge1").run("systemctl disable --now nginx")


@pytest.mark.parametrize("kind", ["nginx", "haproxy"], indirect=True)
def test_a_fleet_grows_from_one_host_to_two_and_back(
    kind: str, lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """B1: the deploy took the only host that served out, and then refused, or sent users to where nothing ran."""
    site = Site(lab, tmp_path_factory.mktemp("grown"), specs["edge1"].address)
    balancer = {"hosts": "edge", "kind": kind, "port": 8000}
    site.clear(on)
    site.build()
    site.write(**IN_PLACE, hosts="app1", balancer=balancer)
    site.provision()
    first = site.deploy("1.0.0")
    assert first.status == 0, first.err
    site.write(**IN_PLACE, hosts="app1:app2", balancer=balancer)
    site.provision()
    grown = site.deploy("1.1.0")
    assert grown.status == 0, grown.err
    assert switched(grown) == ["app2", "app1"], "who is new has to carry the traffic while the other one changes"
    wait_until(lambda: set(site.traffic()) == {"app1", "app2"})
    back = invoke("rollback", site.env, "--reason=test", "--json")
    assert back.status == 0, back.err
    assert switched(back) == ["app1", "app2"], "who is to run nothing carries it until the other one is back"
    ends = {host["host"]: host["after"] for host in back.json["hosts"]}
    assert ends == {"app1": "1.0.0", "app2": None}, "what was its first deploy is undone as a failed one is"
    assert not on("app2").service("shop-web").is_running
    wait_until(lambda: set(site.traffic()) == {"app1"})
    again = site.deploy("1.1.0")
    assert again.status == 0, again.err
    wait_until(lambda: set(site.traffic()) == {"app1", "app2"})
