"""TLS at the balancers: a certificate that is not fit is refused before anything is written, and told when in use."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.conftest import invoke, wait_until
from tests.hosts.site import IN_PLACE, Site
from tests.hosts.traffic import EDGE, Load

pytestmark = pytest.mark.load_sensitive("requests run while releases change")

On = Callable[[str], Host]
NAME = "shop.example"
PLACE = "/etc/ssl/shop.pem"
# openssl's own authority is the one command that makes certificates of the past.
AUTHORITY = """
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
default_md = sha256
rand_serial = yes
policy = any
[any]
commonName = supplied
"""


def make_certificate(folder: Path, *, days: int, name: str = NAME) -> tuple[bytes, bytes]:
    """A certificate that ends in so many days, and its key, in PEM form."""
    folder.mkdir()
    (folder / "config").write_text(AUTHORITY)
    (folder / "names").write_text(f"subjectAltName=DNS:{name}")
    (folder / "index").touch()
    now = datetime.now(UTC)
    begin, end = (f"{now + timedelta(days=day):%Y%m%d%H%M%SZ}" for day in (-40, days))
    new = f"openssl req -new -newkey rsa:2048 -nodes -subj /CN={name} -keyout key -out request"
    sign = (
        "openssl ca -selfsign -batch -notext -config config -extfile names"
        f" -in request -keyfile key -out certificate -startdate {begin} -enddate {end}"
    )
    for command in (new, sign):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return (folder / "certificate").read_bytes(), (folder / "key").read_bytes()


@dataclass(frozen=True)
class Shop:
    """A shop behind a balancer with TLS."""

    kind: str
    site: Site
    edge: Host

    def put(self, certificate: bytes, key: bytes) -> None:
        """Lay a certificate down where the balancer looks for it."""
        for content, path in ((certificate, PLACE), (key, f"{PLACE}.key")):
            text = base64.b64encode(content).decode()
            self.edge.check_output(f"sh -c 'umask 077; echo {text} | base64 -d >{path}'")

    def reload(self) -> None:
        self.edge.check_output(f"systemctl reload {self.kind}")

    def configuration(self) -> str:
        return str(self.edge.check_output(f"sh -c 'cat /etc/{self.kind}/*.c* /etc/{self.kind}/slipway/*'"))

    def write(self, **tls: object) -> None:
        given = {"certificate": PLACE, "key": f"{PLACE}.key", "ports": [443], "names": [NAME], **tls}
        self.site.write(**IN_PLACE, balancer={"hosts": "edge", "kind": self.kind, "port": 8000, "tls": given})


@pytest.fixture(params=["haproxy", "nginx"], scope="module")
def shop(
    request: pytest.FixtureRequest,
    lab: Lab,
    on: On,
    specs: dict[str, HostSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    site = Site(lab, tmp_path_factory.mktemp("tls"), specs[EDGE].address)
    site.clear(on)
    site.build()
    yield Shop(request.param, site, on(EDGE))
    site.clear(on)
    on(EDGE).run("systemctl start haproxy")


def test_deploys_through_tls_lose_no_request(shop: Shop, tmp_path: Path) -> None:
    """B4, with a connection and a handshake for each request, too."""
    certificate, key = make_certificate(tmp_path / "good", days=90)
    shop.put(certificate, key)
    shop.write()
    shop.site.provision()
    first = shop.site.deploy("1.0.0")
    assert first.status == 0, first.err
    load = Load(shop.site.edge, 443, headers={"Host": NAME}, trusted=(certificate.decode(), NAME))
    with load.running(("GET", "GET", "fresh GET", "fresh GET")):
        for version in ("1.1.0", "1.0.0"):
            done = shop.site.deploy(version)
            assert done.status == 0, done.err
    assert load.failed == []
    assert load.served.total() > 300
    seen = invoke("status", shop.site.env, "--json")
    assert (seen.status, seen.json["balancers"][0]["certificate"]) == (0, "")


def test_a_certificate_that_is_not_fit_is_refused(shop: Shop, tmp_path: Path) -> None:
    """D1: a balancer that restarts with it turns every client away; what is there stays and serves."""
    good = make_certificate(tmp_path / "good", days=90)
    other = make_certificate(tmp_path / "other", days=90, name="elsewhere.example")
    shop.put(*good)
    shop.write()
    shop.site.provision()
    before = shop.configuration()
    shop.write(ports=[443, 8443])
    for given, said in (
        (make_certificate(tmp_path / "past", days=-10), "has expired"),
        (make_certificate(tmp_path / "soon", days=5), "less than 30 days"),
        (other, f"is not for {NAME}"),
        ((good[0], other[1]), "does not have the private key"),
        ((b"nonsense\n", good[1]), "is no certificate"),
    ):
        shop.put(*given)
        ran = invoke("provision", shop.site.env)
        assert ran.status == 1 and said in ran.err, ran.err
        assert shop.configuration() == before


def test_status_tells_of_the_certificate_that_clients_get(shop: Shop, tmp_path: Path) -> None:
    """One that was renewed and never taken up is found on the day it ends, by clients, unless somebody looks."""

    def told() -> tuple[int, str]:
        seen = invoke("status", shop.site.env, "--json")
        return seen.status, seen.json["balancers"][0]["certificate"]

    shop.put(*make_certificate(tmp_path / "good", days=90))
    shop.write()
    shop.site.provision()
    shop.reload()
    wait_until(lambda: told() == (0, ""))
    shop.put(*make_certificate(tmp_path / "soon", days=5))
    status, sentence = told()
    assert status == 3 and f"systemctl reload {shop.kind}" in sentence
    shop.reload()
    wait_until(lambda: told()[0] == 0)
    assert "less than 30 days" in told()[1]
    shop.put(*make_certificate(tmp_path / "past", days=-1))
    shop.reload()
    status, sentence = told()
    assert status == 3 and "has expired" in sentence
