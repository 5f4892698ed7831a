"""An application that answers without end: neither the host's disk nor its memory is filled, and a check says why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, invoke

pytestmark = pytest.mark.load_sensitive("floods fill what time limits leave")

On = Callable[[str], Host]

MAX_KB = 4096  # of files, while the body alone may have 1024
# Each path floods in another way; what is not a flood is answered as it should be.
SERVER = """exec python3 - <<'PY'
import http.server, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        write = self.wfile.write
        if self.path == '/headers':
            write(b'HTTP/1.1 200 OK\\r\\n')
            while True: write(b'X-More: ' + b'x' * 8000 + b'\\r\\n')
        self.send_response(200)
        if self.path == '/length':
            self.send_header('Content-Length', str(10**12)); self.end_headers()
            while True: write(b'x' * 65536)
        if self.path == '/chunked':
            self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()
            while True: write(b'10000\\r\\n' + b'x' * 65536 + b'\\r\\n')
        if self.path == '/until-closed':
            self.send_header('Connection', 'close'); self.end_headers()
            while True: write(b'{"n": ' * 10000)
        if self.path == '/drips':
            self.send_header('Connection', 'close'); self.end_headers()
            while True: write(b'x'); self.wfile.flush(); time.sleep(0.1)
        body = open('VERSION', 'rb').read()
        if self.path == '/odd': body = b'{"n": 1}\\n\\x00\\xff\\xc3\\x28\\xf0\\x90' * 1000 + b'\\xe2\\x80\\xaeend\\n'
        self.send_header('Content-Length', str(len(body))); self.end_headers(); write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', %d), Answer).serve_forever()
PY"""


@contextmanager
def disk_use(host: Host, folder: str) -> Iterator[Callable[[], int]]:
    """The most kilobytes that were in a folder at once, looked at as often as can be."""
    host.check_output("rm -f /run/watched; touch /run/watching")
    watcher = threading.Thread(
        target=host.run,
        args=(
            "most=0; while [ -e /run/watching ]; do kb=$(du -sk %s 2>/dev/null | cut -f 1); "
            '[ "${kb:-0}" -le "$most" ] || most=$kb; done; echo "$most" >/run/watched',
            folder,
        ),
    )
    watcher.start()

    def most() -> int:
        host.check_output("rm -f /run/watching")
        watcher.join()
        return int(host.check_output("cat /run/watched"))

    try:
        yield most
    finally:
        host.check_output("rm -f /run/watching")


@pytest.fixture
def flooding(app: App) -> App:
    app.build("1.0.0", line=SERVER % app.port)
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    return app


def test_no_answer_of_an_application_fills_the_host(flooding: App, on: On) -> None:
    """A health check's body came to 791 MB in two seconds; with /tmp full, nothing on the host works any more."""
    base = f"http://127.0.0.1:{flooding.port}"
    floods = {path: {"type": "http", "url": f"{base}/{path}"} for path in ("length", "chunked", "until-closed")}
    checks: dict[str, dict[str, Any]] = {
        **floods,
        **{f"{path} matched": {**check, "body": "never"} for path, check in floods.items()},
        "filtered": {**floods["until-closed"], "json_path": ".n", "json_value": "1"},
        "headers": {"type": "http", "url": f"{base}/headers"},
        "drips": {"type": "http", "url": f"{base}/drips"},
        "odd": {"type": "http", "url": f"{base}/odd", "body": "end$"},
        "odd not matched": {"type": "http", "url": f"{base}/odd", "body": "nothing like it"},
        "writes": {"type": "command", "run": "yes | head -c 100M; echo the last word >&2; exit 3"},
        "writes one line": {"type": "command", "run": "head -c 100M /dev/zero"},
        "leaves": {"type": "command", "run": "sleep 300 & echo all is well"},
    }
    listed = [{"timeout": "2s", **check, "name": name} for name, check in checks.items()]
    listed = [{**check, "timeout": "10s"} if check["type"] == "command" else check for check in listed]
    flooding.write(health={**flooding.settings["health"], "checks": listed})
    began = time.monotonic()
    with disk_use(on("app1"), "/run/slipway") as most:
        asked = invoke("health", flooding.env, "--limit=app1", "--json")
        assert 0 < most() < MAX_KB
    assert time.monotonic() - began < 60
    found = {check["name"]: check for check in asked.json["hosts"]["app1"]["checks"]}
    told = {name: check["detail"] for name, check in found.items() if not check["ok"]}
    # Whoever asks for the status alone has it.
    assert {name for name in checks if name not in told} == {*floods, "odd", "writes one line", "leaves"}
    for name in (*(f"{path} matched" for path in floods), "filtered"):
        assert "larger than 1024 kB" in told[name], told
    assert "headers" in told["headers"], told
    assert "timed out" in told["drips"], told
    assert "nothing like it" in told["odd not matched"], told
    assert told["writes"].startswith("status 3: "), told
    assert "the last word" in told["writes"], told
