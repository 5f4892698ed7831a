"""Run the lab's own ACME certificate authority, Let's Encrypt's Pebble, on the database host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from testinfra.host import Host

from tests.hosts.conftest import wait_until

PORT, ROOTS = 14000, 15000
UNIT = "lab-acme"
FOLDER = "/run/lab-acme"
CONFIG = {
    "pebble": {
        "listenAddress": f"0.0.0.0:{PORT}",
        "managementListenAddress": f"0.0.0.0:{ROOTS}",
        "certificate": f"{FOLDER}/certificate",
        "privateKey": f"{FOLDER}/key",
        # The ports to which it connects to validate names.
        "httpPort": 80,
        "tlsPort": 443,
    }
}


@dataclass(frozen=True)
class Authority:
    """A running authority.

    Args:
        host: the host on which it runs.
        server: the URL of its directory.
        root: the certificate that clients must trust, in PEM format.
    """

    host: Host
    server: str
    root: str


@contextmanager
def authority(host: Host, address: str, edge: Host, edge_address: str, names: Sequence[str]) -> Iterator[Authority]:
    """Run an authority that resolves these names to the balancer, and that the balancer trusts.

    Args:
        host, address: the host on which it runs.
        edge, edge_address: the balancer.
        names: host names, which have no DNS entry here.
    """
    make = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=lab -addext subjectAltName=IP:{address}"
        f" -keyout {FOLDER}/key -out {FOLDER}/certificate"
    )
    trust = "/usr/local/share/ca-certificates/lab-acme.crt"
    host.check_output(f"sh -c 'mkdir -p {FOLDER}; {make} 2>&1'")
    host.check_output('sh -c \'printf %%s "$1" >"$2"\' sh %s %s', json.dumps(CONFIG), f"{FOLDER}/config.json")
    host.check_output(f"sh -c 'cp /etc/hosts {FOLDER}/hosts; echo {edge_address} {' '.join(names)} >>/etc/hosts'")
    certificate = host.check_output(f"cat {FOLDER}/certificate")
    edge.check_output('sh -c \'printf "%%s\\n" "$1" >"$2"; update-ca-certificates 2>&1\' sh %s %s', certificate, trust)
    try:
        # Without these Pebble delays and refuses some requests, to test clients.
        host.check_output(
            f"systemd-run --quiet --unit={UNIT} --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0"
            f" pebble -config {FOLDER}/config.json"
        )

        def ask(path: str) -> str:
            curl = f"curl --silent --fail --cacert {FOLDER}/certificate https://{address}:{path}"
            return str(host.run(curl).stdout)

        wait_until(lambda: "newOrder" in ask(f"{PORT}/dir"))
        yield Authority(host, f"https://{address}:{PORT}/dir", ask(f"{ROOTS}/roots/0"))
    finally:
        host.run(
            f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}; cat {FOLDER}/hosts >/etc/hosts; rm -rf {FOLDER}"
        )
        edge.run(f"rm -f {trust}; update-ca-certificates --fresh")
        edge.run("systemctl disable --now certbot.timer; rm -rf /etc/letsencrypt /var/lib/letsencrypt /etc/ssl/slipway")
