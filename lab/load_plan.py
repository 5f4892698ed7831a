"""Define a load: its requests, their rate, and the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playbooks.core.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """One kind of request in a mix.

    Args:
        name: its name in reports.
        share: its part of the mix, relative to the other kinds'.
        method, path, body: the request.
        headers: the headers besides Host, Content-Length and Connection, for example a cookie.
        keep: whether to use kept connections from a pool; else each request has its own.
        expect: text in the body of a good answer, because a page with status 200 may show an error.
    """

    name: str
    share: float = 1.0
    method: str = "GET"
    path: str = "/"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True
    expect: bytes = b""

    def request(self, host: str) -> bytes:
        """Return the request's bytes.

        Args:
            host: the value of the Host header.
        """
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        if not self.keep:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


ORDER = Kind(
    "order",
    method="POST",
    path="/api/orders",
    body=b'{"product": 1, "quantity": 1}',
    headers={"Content-Type": "application/json"},
)
# What people do in the example's shop. Orders go on kept connections and on new ones: they are what must not be lost.
SHOPPERS = (
    Kind("page", 4, expect=b"Harbour shop"),
    Kind("page-new", 3, expect=b"Harbour shop", keep=False),
    Kind("products", 1, path="/api/products", expect=b'"products"'),
    Kind("order", 1, ORDER.method, ORDER.path, ORDER.body, ORDER.headers),
    Kind("order-new", 1, ORDER.method, ORDER.path, ORDER.body, ORDER.headers, keep=False),
)


@dataclass(frozen=True)
class Plan:
    """A load.

    Args:
        url: http://HOST[:PORT]; the kinds have the paths.
        rate: requests a second, independent of answers (an open loop, like users); 0 uses `clients` instead.
        clients: the number of clients that each send the next request after an answer (a closed loop).
        seconds: its duration; None runs until it is stopped.
        mix: the kinds.
        timeout: seconds after which a request without a complete answer has failed.
        version_header: the answer's header with the version.
    """

    url: str
    rate: float = 0.0
    clients: int = 0
    seconds: float | None = None
    mix: Sequence[Kind] = SHOPPERS
    timeout: float = 10.0
    version_header: str = "X-Shop-Version"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"'{self.url}' is no URL to put load on", hint="give http://HOST or http://HOST:PORT")
        if (self.rate > 0) == (self.clients > 0):
            raise UsageError("a load has either a rate or a number of clients", hint="--rate=100 or --clients=8")
        if not self.mix or any(kind.share <= 0 for kind in self.mix):
            raise UsageError("a load needs at least one kind of request, and each a share above 0")

    @property
    def place(self) -> tuple[str, int]:
        """Return the host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def turns(self) -> Iterator[int]:
        """Yield the kinds' numbers for ever, evenly mixed by share. It is not random, so that runs are comparable."""
        total = sum(kind.share for kind in self.mix)
        credit = [0.0] * len(self.mix)
        while True:
            credit = [have + kind.share for have, kind in zip(credit, self.mix, strict=True)]
            turn = max(range(len(credit)), key=credit.__getitem__)
            credit[turn] -= total
            yield turn
