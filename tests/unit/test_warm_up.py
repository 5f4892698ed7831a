"""Warming up: the very script asks a server here, as it does on a host."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from playbooks.core.errors import ConfigError, StepFailed
from playbooks.environments.load import load_environment
from playbooks.fleet import script as scripts
from playbooks.settings.warm_up import WarmUp
from playbooks.steps.warm_up import Warmed, read_warm_up, require_warm, warm_up_call

PROJECT = Path(__file__).resolve().parent.parent.parent
ASKED: Counter[str] = Counter()


class Pages(http.server.BaseHTTPRequestHandler):
    """Counts who asks for what; one page is broken."""

    def do_GET(self) -> None:
        ASKED[self.path] += 1
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    ASKED.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_address[1]
        listening.shutdown()


def warmed(pages: WarmUp, port: int) -> Warmed:
    ask = warm_up_call(pages, port)
    words = ["/bin/sh", "-c", scripts.load(ask.step).given(ask.values).reading().decode(), "sh", *ask.words]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    return read_warm_up(scripts.parse("app1", ask.step, done.stdout, 0.0))


def test_each_page_is_asked_for_as_often_as_set(port: int) -> None:
    """A warm-up that asks for less, or of another server, leaves the first user with the cold caches (G3)."""
    pages = WarmUp.model_validate({"urls": ["http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/a?b=c"], "times": 5})
    found = warmed(pages, port)
    assert (found.wanted, found.answered, found.failed, found.problem) == (10, 10, 0, "")
    assert ASKED == {"/": 5, "/a?b=c": 5}
    assert require_warm(pages, found) == ""


def test_a_page_that_fails_is_told_and_fails_the_host_only_where_that_is_required(port: int) -> None:
    """A page that is broken on a new release is found before it has traffic, by those who ask for it."""
    pages = WarmUp.model_validate({"urls": ["http://127.0.0.1:{port}/broken"], "times": 3})
    found = warmed(pages, port)
    told = require_warm(pages, found)
    assert told == f"app1: warm-up: 3 of 3 requests failed: http://127.0.0.1:{port}/broken: HTTP 500"
    with pytest.raises(StepFailed, match="3 of 3 requests failed"):
        require_warm(pages.model_copy(update={"required": True}), found)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, True),
        ({"warm_up": {"urls": ["http://127.0.0.1:8000/"]}}, False),
        ({"port": 8000}, False),
        ({"balancer": {"hosts": "edge", "port": 8000}}, False),
    ],
)
def test_a_warm_up_of_an_unknown_port_is_refused(tmp_path: Path, settings: dict[str, object], refused: bool) -> None:
    """Every host asked port 0, and the deploy only warned that nothing answered."""
    every = {"app": "shop", "hosts": "app1", "warm_up": {"urls": ["http://127.0.0.1:{port}/"]}, **settings}
    variables = {f"slipway_{key}": value for key, value in every.items()}
    hosts = {"all": {"hosts": {"app1": {}}, "children": {"edge": {"hosts": {"edge1": {}}}}, "vars": variables}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    if not refused:
        load_environment(str(tmp_path), PROJECT)
        return
    with pytest.raises(ConfigError, match=r"slipway_warm_up.urls has \{port\}, and app1 has no port"):
        load_environment(str(tmp_path), PROJECT)
