"""Several applications behind one edge host: none takes another off the air, and none is taken for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts import traffic
from tests.hosts.conftest import APPS, App, Ran, clear_edge, invoke
from tests.hosts.traffic import EDGE, PORT, PUBLIC, Load, fetch, hand

On = Callable[[str], Host]
ASIDE = PUBLIC + 1
CONFIG = {"haproxy": "/etc/haproxy/haproxy.cfg", "nginx": "/etc/nginx/nginx.conf"}


@dataclass(frozen=True)
class Pair:
    """Two applications on one edge.

    Args:
        first: the one that was there.
        second: balances over app3 alone, at a port beside.
    """

    kind: str
    first: App
    second: App
    edge: Host
    address: str

    def provision(self, **balancer: object) -> Ran:
        """The second, with these settings of its balancer changed."""
        given = {"hosts": "edge", "kind": self.kind, "port": PORT, "listen": [ASIDE], **balancer}
        self.second.write(
            app=self.second.name, hosts="app3", user="www-data", backup={"enabled": False}, balancer=given
        )
        return invoke("provision", self.second.env)

    def configuration(self) -> str:
        """All of it, as it lies on the edge."""
        folder = CONFIG[self.kind].rpartition("/")[0]
        return str(self.edge.check_output(f"sh -c 'cat {CONFIG[self.kind]} {folder}/slipway/*'"))


@pytest.fixture(params=["haproxy", "nginx"], scope="module")
def pair(
    request: pytest.FixtureRequest,
    lab: Lab,
    on: On,
    specs: dict[str, HostSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    kind = request.param
    first = traffic.make_edge(lab, tmp_path_factory.mktemp("first"), on, kind)
    second = App(f"beside-{kind}", PORT, tmp_path_factory.mktemp("second"), lab)
    yield Pair(kind, first, second, on(EDGE), specs[EDGE].address)
    for name in APPS:
        on(name).run(f"systemctl stop {traffic.UNIT}")
    clear_edge(on(EDGE))
    on(EDGE).run("systemctl start haproxy")


def test_two_applications_share_an_edge_and_neither_feels_the_other(pair: Pair) -> None:
    """A second application that silently takes the first one's configuration is an outage."""
    one, two = f"{pair.first.folder}/inventory", f"{pair.second.folder}/inventory"
    with hand(one) as it:
        it.move(it.shares(app1=None, app2=9))
        it.confirm()
    load = Load(pair.address)
    with load.running():
        ran = pair.provision()
        assert ran.status == 0, ran.err
        assert fetch(pair.address, port=ASIDE).text == "app3"
        with hand(two) as it:
            assert set(it.state().servers) == {"app3"}
            assert it.maintenance(on=True) == ("on", "yes")
            assert fetch(pair.address, port=ASIDE).status == 503
            it.move(it.shares(app3=7))
            it.confirm()
        again = invoke("provision", pair.first.env, "--json")
        assert again.json["hosts"][EDGE] == []
    assert load.failed == []
    assert set(load.served) == {"app2", "app3"}
    with hand(one) as it:
        servers = it.state().servers
        assert it.state().drift == []
        assert (servers["app1"].admin, servers["app2"].weight, servers["app3"].weight) == ("off", 9, 256)
        it.move(it.shares())
        it.confirm()
    with hand(two) as it:
        assert it.state().drift == []
        assert it.state().servers["app3"].weight == 7
        assert it.maintenance(on=False) == ("off", "yes")
    assert fetch(pair.address, port=ASIDE).text == "app3"


def test_what_would_take_another_off_the_air_is_refused(pair: Pair) -> None:
    """Nobody can be asked whether they meant it once it has happened; the sentence names who is in the way."""
    assert pair.provision().status == 0
    before = pair.configuration()
    name = pair.first.name
    own = pair.second.folder / "inventory" / "templates" / "own.j2"
    own.parent.mkdir()
    own.write_text("# mine\n")
    for change, said in (
        ({"listen": [PUBLIC]}, f"clients reach {name} at port {PUBLIC}"),
        ({"listen": [22]}, "sshd listens at port 22"),
        ({"backend": name}, f"its backend is called {name}, too"),
        ({"template": "own.j2"}, f"{name} is balanced on this host as well"),
    ):
        ran = pair.provision(**change)
        assert ran.status == 1 and said in ran.err, ran.err
        assert pair.configuration() == before
    assert {fetch(pair.address, port=port).status for port in (PUBLIC, ASIDE)} == {200}


def test_a_configuration_of_somebody_else_is_not_written_over(pair: Pair) -> None:
    """Who has set a balancer up by hand has something that runs there."""
    path = CONFIG[pair.kind]
    kept = pair.edge.file(path).content_string
    for first_line, said in (
        ("# ours since 2019", "written by somebody else"),
        ("# Rendered by Slipway for elsewhere; what is changed", "is that of elsewhere"),
    ):
        pair.edge.check_output(f"sed -i '1s/.*/{first_line}/' {path}")
        ran = pair.provision()
        assert ran.status == 1 and said in ran.err, ran.err
        assert pair.edge.file(path).content_string.startswith(first_line)
    pair.edge.check_output(f"sed -i '1s/.*/{kept.splitlines()[0]}/' {path}")
    assert pair.provision().status == 0
