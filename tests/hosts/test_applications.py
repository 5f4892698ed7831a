"""Several applications in one inventory, on the same hosts, behind one port of one balancer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.acme import Authority, authority
from tests.hosts.conftest import APPS, App, Ran, clear_edge, invoke, wait_until
from tests.hosts.named_connection import NamedConnection
from tests.hosts.test_tls import make_certificate
from tests.hosts.traffic import EDGE, Load, fetch

pytestmark = pytest.mark.load_sensitive("requests run while releases change")

On = Callable[[str], Host]
PORTS = {"pair-shop": 9701, "pair-blog": 9702}
SHOP, BLOG = PORTS
NAMES = {name: f"{name}.example" for name in PORTS}


@dataclass(frozen=True)
class Two:
    """Both of them.

    Args:
        kind: of the balancer.
        folder: inventory and artifacts.
        edge: the balancer's host.
        address: its address.
        acme: who gives certificates.
    """

    kind: str
    folder: Path
    edge: Host
    address: str
    acme: Authority

    def invoke(self, task: str, *flags: str) -> Ran:
        return invoke(task, f"--env={self.folder}/inventory", *flags)

    def done(self, task: str, *flags: str) -> Ran:
        ran = self.invoke(task, *flags)
        assert ran.status == 0, ran.err
        return ran

    def ask(self, name: str, app: str | None = None) -> str:
        """What clients of this name get by TLS."""
        connection = NamedConnection(self.address, 443, (self.acme.root, name))
        connection.request("GET", "/VERSION", headers={"Host": NAMES[app] if app else name})
        answer = connection.getresponse()
        text = f"{answer.status} {answer.read().decode().strip()}"
        connection.close()
        return text

    def served(self, name: str) -> bool:
        """Whether clients that trust this authority are served by now."""
        try:
            return self.ask(name).startswith("200 ")
        except ssl.SSLError:
            return False

    def serial(self, name: str) -> str:
        """The number of the certificate that clients of this name get."""
        context = ssl.create_default_context(cadata=self.acme.root)
        with (
            socket.create_connection((self.address, 443), timeout=20) as sock,
            context.wrap_socket(sock, server_hostname=name) as wrapped,
        ):
            return str((wrapped.getpeercert() or {})["serialNumber"])


def write(folder: Path, lab: Lab, kind: str, acme: Authority) -> None:
    """One inventory for both: what differs is in two lines each."""
    unit = {"name": "{{ slipway_app }}", "unit": {"Service": {"ExecStart": "/opt/{{ slipway_app }}/current/bin/run"}}}
    check = {"type": "http", "name": "up", "url": "http://127.0.0.1:{{ slipway_balancer.port }}/VERSION"}
    settings: dict[str, Any] = {
        "hosts": "app1:app2",
        "user": None,
        "artifact": f"{folder}/{{{{ slipway_app }}}}-{{version}}.tar.gz",
        "services": [unit],
        "health": {"attempts": 16, "interval": "250ms", "checks": [check]},
        "backup": {"enabled": False},
        "guard": {"timeout": "20s", "settle": "2s"},
        "balancer": {
            "hosts": "edge",
            "kind": kind,
            "health_path": "/VERSION",
            "tls": {"acme": {"server": acme.server}},
        },
        "applications": {
            SHOP: {"balancer": {"port": PORTS[SHOP], "names": [NAMES[SHOP]]}},
            BLOG: {"hosts": "app2", "balancer": {"port": PORTS[BLOG], "names": [NAMES[BLOG], "www.blog.example"]}},
        },
    }
    place = folder / "inventory"
    (place / "group_vars").mkdir(parents=True)
    (place / "hosts.yml").write_text((lab.folder / "inventory/hosts.yml").read_text())
    text = yaml.safe_dump({f"slipway_{key}": value for key, value in settings.items()}, sort_keys=False)
    (place / "group_vars" / "all.yml").write_text(text)
    for name, port in PORTS.items():
        made = App(name, port, folder, lab)
        for version in ("1.0.0", "1.1.0"):
            made.build(version)
        made.build("6.6.6", line="exit 1")


@pytest.fixture(params=["haproxy", "nginx"], scope="module")
def two(
    request: pytest.FixtureRequest,
    lab: Lab,
    on: On,
    specs: dict[str, HostSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Two]:
    kind, folder, edge = request.param, tmp_path_factory.mktemp("pair"), on(EDGE)
    clear_edge(edge)
    names = [*NAMES.values(), "www.blog.example"]
    with authority(on("db1"), specs["db1"].address, edge, specs[EDGE].address, names) as acme:
        write(folder, lab, kind, acme)
        yield Two(kind, folder, edge, specs[EDGE].address, acme)
    for name in APPS:
        on(name).run(f"systemctl disable --now {SHOP} {BLOG}")
        on(name).run(f"rm -rf /opt/{SHOP} /opt/{BLOG} /var/lib/slipway/{SHOP} /var/lib/slipway/{BLOG}")
        on(name).run(f"rm -f /etc/systemd/system/{SHOP}.service /etc/systemd/system/{BLOG}.service")
        on(name).run(f"systemctl daemon-reload; systemctl reset-failed {SHOP} {BLOG}")
    clear_edge(edge)
    edge.run("systemctl start haproxy")


def test_applications_share_hosts_and_a_port_and_each_is_deployed_by_itself(two: Two) -> None:
    """Whoever has several applications has one address for them; a fault in one is none of the other's."""
    for name in PORTS:
        two.done("provision", f"--app={name}")
        two.done("deploy", f"--app={name}", "--version=1.0.0")
    assert [two.ask(NAMES[name]) for name in PORTS] == ["200 1.0.0", "200 1.0.0"]
    assert two.ask("www.blog.example") == "200 1.0.0"
    again = two.done("provision", f"--app={SHOP}", "--json")
    assert again.json["changed"] is False
    asked = two.invoke("deploy", "--version=1.1.0")
    assert asked.status == 2 and f"{SHOP}, {BLOG}" in asked.err

    load = Load(two.address, 443, headers={"Host": NAMES[SHOP]}, trusted=(two.acme.root, NAMES[SHOP]))
    with load.running(("GET", "fresh GET")):
        two.done("deploy", f"--app={BLOG}", "--version=1.1.0")
        assert two.ask(NAMES[BLOG]) == "200 1.1.0"
        bad = two.invoke("deploy", f"--app={BLOG}", "--version=6.6.6")
        assert bad.status == 1, bad.err
        two.done("rollback", f"--app={BLOG}")
        assert two.invoke("maintenance", f"--app={BLOG}", "--on").status == 0
        assert two.ask(NAMES[BLOG]).startswith("503 ")
        two.done("maintenance", f"--app={BLOG}", "--off")
    assert load.failed == []
    seen = two.done("status", "--json").json["applications"]
    assert {name: one["versions"] for name, one in seen.items()} == {SHOP: ["1.0.0"], BLOG: ["1.0.0"]}
    assert [len(one["hosts"]) for one in seen.values()] == [2, 1]
    told = two.done("history", "--json").json["applications"]
    assert [len(one["records"]) for one in told.values()] == [1, 4]


def test_clients_are_sent_to_tls_and_nobody_answers_for_strangers(two: Two) -> None:
    """A request for a name that is nobody's must not be shown whichever application comes first."""
    sent = fetch(two.address, "/a?b=c", {"Host": NAMES[BLOG]}, port=80)
    assert (sent.status, sent.headers["location" if "location" in sent.headers else "Location"]) == (
        308,
        f"https://{NAMES[BLOG]}/a?b=c",
    )
    assert fetch(two.address, headers={"Host": "stranger.example"}, port=80).status == 421
    # Who comes with one application's name and asks for the other is answered as that one (HTTP/1.1 has one name).
    assert two.ask(NAMES[SHOP], app=BLOG) in ("200 1.0.0", "421 no application has this host name here")
    with pytest.raises((ssl.SSLError, OSError)):
        two.serial("stranger.example")


def test_certificates_are_renewed_by_the_packages_timer_without_a_lost_request(two: Two) -> None:
    """One that is renewed and never taken up ends on a day when nobody looks."""
    assert two.edge.service("certbot.timer").is_running and two.edge.service("certbot.timer").is_enabled
    before = {name: two.serial(name) for name in NAMES.values()}
    load = Load(two.address, 443, headers={"Host": NAMES[SHOP]}, trusted=(two.acme.root, NAMES[SHOP]))
    with load.running(("GET", "GET", "fresh GET", "fresh GET")):
        # What the timer's unit runs, but that it would wait for the day.
        two.edge.check_output("certbot renew --quiet --force-renewal --no-random-sleep-on-renew")
        served = load.since(3)
    assert load.failed == []
    assert served.total() > 0
    after = {name: two.serial(name) for name in NAMES.values()}
    assert all(after[name] != before[name] for name in before)
    for name in PORTS:
        place = two.edge.file(f"/etc/ssl/slipway/{name}.pem")
        assert (place.user, place.mode) == ("root", 0o600)
    assert two.edge.file("/etc/ssl/slipway").mode == 0o700
    assert two.done("status", "--json").json["applications"][SHOP]["balancers"][0]["certificate"] == ""


def test_an_authority_that_refuses_leaves_the_balancer_as_it_serves(two: Two) -> None:
    """A name that does not lead here is a mistake of every first day; what is served goes on."""
    before = two.serial(NAMES[SHOP])
    path = two.folder / "inventory" / "group_vars" / "all.yml"
    text = path.read_text()
    settings = yaml.safe_load(text)
    settings["slipway_applications"][SHOP]["balancer"]["names"].append("nowhere.example")
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    ran = two.invoke("provision", f"--app={SHOP}")
    path.write_text(text)
    assert ran.status == 1
    assert f"no certificate from {two.acme.server}" in ran.err and "nowhere.example" in ran.err
    assert two.serial(NAMES[SHOP]) == before
    assert two.ask(NAMES[SHOP]) == "200 1.0.0"
    two.done("provision", f"--app={SHOP}")


def test_a_certificate_may_be_a_secret(two: Two, tmp_path: Path) -> None:
    """Whoever has one from elsewhere need not bring it to the hosts by hand, and no authority's takes its place."""
    certificate, key = make_certificate(tmp_path / "own", days=90, name=NAMES[BLOG])
    pem = tmp_path / "pem"
    pem.touch(mode=0o600)
    old, of_old = make_certificate(tmp_path / "old", days=-1, name=NAMES[BLOG])
    pem.write_bytes(old + of_old)
    path = two.folder / "inventory" / "group_vars" / "all.yml"
    settings = yaml.safe_load(path.read_text())
    own = settings["slipway_applications"][BLOG]
    own["secrets"] = {"pem": {"file": str(pem)}}
    own["balancer"] |= {"names": [NAMES[BLOG]], "tls": {"acme": None, "secret": "pem"}}
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    served = {name: two.serial(name) for name in (NAMES[SHOP], NAMES[BLOG])}
    ran = two.invoke("provision", f"--app={BLOG}")
    assert ran.status == 1 and "of slipway_balancer.tls.secret has expired" in ran.err
    two.edge.check_output(f"systemctl reload {two.kind}")
    assert two.serial(NAMES[BLOG]) == served[NAMES[BLOG]]
    pem.write_bytes(certificate + key)
    two.done("provision", f"--app={BLOG}")
    mine = replace(two, acme=replace(two.acme, root=certificate.decode()))
    wait_until(lambda: mine.served(NAMES[BLOG]))
    two.edge.check_output("certbot renew --quiet --force-renewal --no-random-sleep-on-renew")
    wait_until(lambda: two.serial(NAMES[SHOP]) != served[NAMES[SHOP]])
    assert mine.ask(NAMES[BLOG]) == "200 1.0.0"
    place = two.edge.file(f"/etc/ssl/slipway/{BLOG}.pem")
    assert (place.user, place.mode, place.content) == ("root", 0o600, certificate + key)
    assert two.done("provision", f"--app={BLOG}", "--json").json["changed"] is False
