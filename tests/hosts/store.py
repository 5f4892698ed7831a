"""Run a web server for artifacts that can fail like real ones, and that counts what it sends."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

CHUNK = 16 * 1024


@dataclass
class Store:
    """The server's content, behaviour and counts, which may change while it runs.

    Args:
        objects: the content by path.
        ranges: whether it supports range requests.
        cuts: how many more answers it breaks off.
        cut_after: the bytes of an answer after which it breaks off.
        pause: seconds before each chunk.
        header: a required header.
        query: a required query.
        redirects: the redirects by path.
        status: the statuses of the next answers, in place of artifacts.
        endless: whether its answers have no length and no end.
    """

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: int = 0
    cut_after: int = 0
    pause: float = 0.0
    header: tuple[str, str] | None = None
    query: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    status: list[int] = field(default_factory=list)
    endless: bool = False
    sent: int = 0
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: Path, *, sidecar: bool = True) -> str:
        """Serve a file, and return its URL."""
        content = path.read_bytes()
        self.objects[f"/{path.name}"] = content
        if sidecar:
            self.objects[f"/{path.name}.sha256"] = hashlib.sha256(content).hexdigest().encode()
        return f"{self.url}/{path.name}"


class _Handler(BaseHTTPRequestHandler):
    store: Store

    def do_GET(self) -> None:
        store = self.store
        place = urlsplit(self.path)
        with store.lock:
            store.requests.append((place.path, dict(self.headers.items())))
            status = store.status.pop() if store.status and not place.path.endswith(".sha256") else 0
        if status:
            self._say(status)
        elif place.path in store.redirects:
            self._say(302, Location=store.redirects[place.path])
        elif store.endless and not place.path.endswith(".sha256"):
            self._flood()
        elif place.path not in store.objects:
            self._say(404)
        elif (store.header and self.headers.get(store.header[0]) != store.header[1]) or place.query != store.query:
            self._say(403)
        else:
            self._send(store.objects[place.path])

    def _say(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "5"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"sorry")

    def _flood(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):  # the host had enough
            while True:
                self.wfile.write(bytes(CHUNK))

    def _send(self, content: bytes) -> None:
        store = self.store
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if not store.ranges or self.headers.get("If-Range", tag) != tag:
            wanted = ""
        first, _, last = wanted.partition("-")
        begin, end = int(first or 0), min(int(last or len(content)), len(content) - 1) + 1
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - begin))
        self.send_header("ETag", tag)
        self.end_headers()
        self._stream(content[begin:end])

    def _stream(self, content: bytes) -> None:
        store = self.store
        with store.lock:
            stop = store.cut_after if store.cuts and len(content) > store.cut_after else len(content)
            store.cuts -= stop < len(content)
            store.at_once += len(content) > 1
            store.most_at_once = max(store.most_at_once, store.at_once)
        try:
            for begin in range(0, stop, CHUNK):
                time.sleep(store.pause)
                chunk = content[begin : min(begin + CHUNK, stop)]
                self.wfile.write(chunk)
                with store.lock:
                    store.sent += len(chunk)
        except OSError:
            pass  # the host had enough
        finally:
            with store.lock:
                store.at_once -= len(content) > 1
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def serving(address: str) -> Iterator[Store]:
    """Run a store."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    with ThreadingHTTPServer((address, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        store.url = f"http://{address}:{server.server_address[1]}"
        yield store
        server.shutdown()
        thread.join()
