"""The web application (WSGI): routes, answers, and what every answer has."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from shop.database import Database, DatabaseUnavailable
from shop.metrics import CONTENT_TYPE, Metrics
from shop.pages import products_page
from shop.settings import Settings
from shop.visits import count_visit

LOG = logging.getLogger(__name__)
THREADS = 200  # most of them wait
SHOPPERS = 12  # who are at the database at the same time
PATIENCE_SECONDS = 5.0  # for a place among them
HEALTH_THREADS = 4  # never taken by shoppers, so that health answers in time while the database hangs
MAX_BODY = 16_384  # bytes
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""  # why it is not ready, for the log


class Refused(Exception):
    """The request cannot be done; the message is for its sender."""

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        self.answer = as_json({"error": message}, status, **headers)


def as_json(value: object, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value, default=str).encode() + b"\n", headers=headers)


class Shop:
    """The application.

    Args:
        database: where products and orders are.
        version: of this release.
        static: folder of files that are sent as they are.
        settings: the visit counter's folder, and how long a page takes at the least.
    """

    def __init__(self, database: Database, version: str, static: Path, settings: Settings) -> None:
        self._database = database
        self._version = version
        self._host = socket.gethostname()
        self._data_dir = settings.data_dir
        self._work_seconds = settings.work_seconds
        self._metrics = Metrics(version)
        self._static = {f"/static/{path.name}": path.read_bytes() for path in static.glob("*.css")}
        self._waiting = threading.BoundedSemaphore(THREADS - HEALTH_THREADS)
        self._shoppers = threading.BoundedSemaphore(SHOPPERS)
        self._routes: dict[str, dict[str, Callable[[Environ], Answer]]] = {
            "/": {"GET": self._page},
            "/api/products": {"GET": self._products},
            "/api/orders": {"POST": self._order},
            "/health/live": {"GET": self._live},
            "/health/ready": {"GET": self._ready},
            "/metrics": {"GET": self._metrics_page},
            **{path: {"GET": self._file} for path in self._static},
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        began = time.perf_counter()
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        answer = self._answer(method, path, environ)
        seconds = time.perf_counter() - began
        # Only known names become labels: a scanner must not be able to fill the memory.
        route = path if path in self._routes else "other"
        verb = method if method in ("GET", "HEAD", "POST") else "other"
        self._metrics.request(route, verb, answer.status, seconds)
        quiet = path.startswith("/health/") and answer.status == HTTPStatus.OK
        fields = {"method": method, "path": path, "status": int(answer.status), "seconds": round(seconds, 4)}
        if answer.reason:
            LOG.warning("not ready: %s", answer.reason)
        else:
            LOG.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": fields})
        headers = {
            **HEADERS,
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "X-Shop-Version": self._version,
            **answer.headers,
        }
        start_response(f"{answer.status.value} {answer.status.phrase}", list(headers.items()))
        return [] if method == "HEAD" else [answer.body]

    def _answer(self, method: str, path: str, environ: Environ) -> Answer:
        try:
            return self._handler(method, path)(environ)
        except Refused as refused:
            return refused.answer
        except DatabaseUnavailable as error:
            LOG.error("no answer for %s: %s", path, error)  # noqa: TRY400  # expected, its trace says nothing
            return as_json({"error": "the shop is closed for a moment"}, HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception:
            LOG.exception("no answer for %s", path)
            return as_json({"error": "internal error"}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _handler(self, method: str, path: str) -> Callable[[Environ], Answer]:
        methods = self._routes.get(path)
        if methods is None:
            raise Refused(HTTPStatus.NOT_FOUND, "no such page")
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "no such method here", Allow=", ".join(methods))
        return handler

    def _ask(self, statement: str, **values: int) -> list[dict[str, Any]]:
        """Ask the database, a few at a time.

        Some wait meanwhile: those who waited in the socket for a restart come all at once. Were there so many that
        health checks had to queue, they are sent away.
        """
        if not self._waiting.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many at once", **{"Retry-After": "1"})
        try:
            if not self._shoppers.acquire(timeout=PATIENCE_SECONDS):
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many at once", **{"Retry-After": "1"})
            try:
                return self._work(statement, **values)
            finally:
                self._shoppers.release()
        finally:
            self._waiting.release()

    def _work(self, statement: str, **values: int) -> list[dict[str, Any]]:
        if self._work_seconds:
            time.sleep(self._work_seconds)
        return self._database.query(statement, **values)

    def _page(self, _: Environ) -> Answer:
        page = products_page(self._ask("products"), self._version, self._host, count_visit(self._data_dir))
        return Answer(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")

    def _products(self, _: Environ) -> Answer:
        return as_json({"version": self._version, "host": self._host, "products": self._ask("products")})

    def _order(self, environ: Environ) -> Answer:
        product, quantity = _read_order(environ)
        rows = self._ask("order", product=product, quantity=quantity)
        if not rows:
            raise Refused(HTTPStatus.NOT_FOUND, "no such product")
        self._metrics.order()
        return as_json(rows[0], HTTPStatus.CREATED)

    def _live(self, _: Environ) -> Answer:
        return as_json({"status": "ok", "version": self._version})

    def _ready(self, _: Environ) -> Answer:
        reason = self._database.why_not_ready()
        if reason is None:
            return as_json({"status": "ok", "version": self._version})
        body = {"status": "unavailable", "version": self._version, "reason": reason}
        return replace(as_json(body, HTTPStatus.SERVICE_UNAVAILABLE), reason=reason)

    def _metrics_page(self, _: Environ) -> Answer:
        return Answer(HTTPStatus.OK, self._metrics.text().encode(), CONTENT_TYPE)

    def _file(self, environ: Environ) -> Answer:
        return Answer(HTTPStatus.OK, self._static[environ["PATH_INFO"]], "text/css; charset=utf-8")


def _read_order(environ: Environ) -> tuple[int, int]:
    """Product and quantity out of a request's body."""
    # A form on another site can send a request, but not one of this type.
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
    body = environ["wsgi.input"].read(MAX_BODY + 1)
    try:
        order = json.loads(body) if len(body) <= MAX_BODY else None
    except (ValueError, RecursionError):
        order = None
    product, quantity = (order.get("product"), order.get("quantity", 1)) if isinstance(order, dict) else (None, None)
    if type(product) is not int or type(quantity) is not int or not 0 < product < 2**31 or not 1 <= quantity <= 99:
        raise Refused(HTTPStatus.BAD_REQUEST, 'expected {"product": ID, "quantity": 1 to 99}')
    return product, quantity
