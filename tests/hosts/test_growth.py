"""A fleet that grows: who is new keeps nobody from deploying or from going back, and meets no user too early."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.load_report import OK
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import invoke
from tests.hosts.site import IN_PLACE, Site, users

On = Callable[[str], Host]


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
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
    with users(site) as load:
        grown = site.deploy("1.1.0")
        assert grown.status == 0, grown.err
        assert set(site.traffic()) == {"app1", "app2"}
        back = invoke("rollback", site.env, "--reason=test", "--json")
        assert back.status == 0, back.err
    assert [sample for sample in load.report().samples if sample.outcome != OK] == []
    ends = {host["host"]: host["after"] for host in back.json["hosts"]}
    assert ends == {"app1": "1.0.0", "app2": None}, "what was its first deploy is undone as a failed one is"
    assert not on("app2").service("shop-web").is_running
    assert set(site.traffic()) == {"app1"}
    again = site.deploy("1.1.0")
    assert again.status == 0, again.err
    assert set(site.traffic()) == {"app1", "app2"}
